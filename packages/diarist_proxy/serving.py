"""Putting the proxy together: the services, the doors' routes and the jobs' handlers, for each worker process."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

from fastapi import FastAPI

from diarist_proxy.app import create_app
from diarist_proxy.endpoint import baseten_routes, connect
from diarist_proxy.jobs import Jobs
from diarist_proxy.jobs import routes as job_routes
from diarist_proxy.label_studio import labeling, routes
from diarist_proxy.label_studio.client import LabelStudioClient
from diarist_proxy.label_studio.corrections import gauges
from diarist_proxy.label_studio.labeling import options
from diarist_proxy.label_studio.own_logic import Services
from diarist_proxy.label_studio.projects import Projects
from diarist_proxy.label_studio.recordings import Recordings
from diarist_proxy.label_studio.work import Work
from diarist_proxy.metrics import Metrics
from diarist_proxy.settings import ProxySettings
from diarist_proxy.store import Store

EXIT_SECONDS = 2.0  # that a worker whose jobs do not stop has left

logger = logging.getLogger(__name__)


def build(settings: ProxySettings) -> FastAPI:
    """The application of one worker process.

    Raises:
        BadRequest: a setting cannot be used; says which, and what is allowed.
    """
    options.merged(settings, None, labeling.parse(labeling.GOOD_CONFIG), {}, None)  # refuses options that are none
    store, counted = Store.open(settings), Metrics()
    endpoint, client = connect(settings, store), LabelStudioClient(settings)
    services = Services(
        settings=settings,
        store=store,
        projects=Projects(settings, store, client, endpoint),
        client=client,
        recordings=Recordings(settings, client),
        endpoint=endpoint,
    )
    work = Work(services)
    jobs = Jobs(settings, store, work.handlers, counted, work.failed)
    work.attach(jobs)
    gauges.add(counted, store.corrections)
    counted.gauge(
        "diarist_jobs", "jobs by state", ["state"], lambda: [({"state": s}, n) for s, n in jobs.counts().items()]
    )
    routers = (job_routes.router(jobs), routes.router(work, services, jobs), baseten_routes.router(settings, store))

    @contextmanager
    def lifespan() -> Iterator[None]:
        if settings.label_studio_api_key is None:
            logger.warning("LABEL_STUDIO_API_KEY is not set: no task of Label Studio can be read or predicted")
        jobs.launch()
        if settings.endpoint == "local":
            endpoint.wake()  # costs nothing but memory, and tells the version before Label Studio asks
        try:
            yield
        finally:
            left = jobs.close()
            endpoint.close()
            client.close()
            store.close()
            if left:
                _exit_anyhow(left)

    return create_app(settings, routers=routers, lifespan=lifespan, counted=counted, own_check=[baseten_routes.WEBHOOK])


def application() -> FastAPI:
    """What each of several worker processes calls: the application of the environment's settings."""
    settings = ProxySettings()
    log_to_stderr(settings)
    _end_with_parent()
    return build(settings)


def log_to_stderr(settings: ProxySettings) -> None:
    """Write the log of this process, as a host does once."""
    layout = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=settings.log_level.upper(), format=layout, force=True)
    for name in ("httpx", "httpcore", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they write whole URLs, and a query may be a signature


def _end_with_parent() -> None:
    """End this worker when the process that started it is killed: it would hold the port, and nobody could stop it."""

    def watch(parent: BaseProcess) -> None:
        parent.join()
        logger.warning("the process that started this worker has ended, and so does this one")
        os.kill(os.getpid(), signal.SIGTERM)

    if (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=watch, args=(parent,), name="diarist-parent", daemon=True).start()


def _exit_anyhow(left: int) -> None:
    """Leave although threads still work: Python would wait for them, and whoever stops us would not.

    Their jobs are begun again by another process or by the next start.
    """
    logger.warning("%d jobs did not stop in time: they are begun again", left)
    timer = threading.Timer(EXIT_SECONDS, os._exit, [0])
    timer.daemon = True
    timer.start()
