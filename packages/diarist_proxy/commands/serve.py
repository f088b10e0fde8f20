"""`diarist serve`: uvicorn around the application, in one process or several."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from tempfile import TemporaryDirectory

import uvicorn
from fastapi import FastAPI

from diarist_proxy.settings import ProxySettings

SILENT_SECONDS = 30  # that a worker may not answer its supervisor, as on a busy machine, before it is replaced
STOP_SECONDS = 5  # that requests have to end after SIGTERM

logger = logging.getLogger(__name__)


def run(settings: ProxySettings) -> None:
    """Serve until a signal; worker processes read their settings from the environment.

    Raises:
        BadRequest: a setting cannot be used; says which.
        SystemExit: the end; 1 where the address is taken, of which the log says more.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn sends itself the signal again when it has ended
    with TemporaryDirectory(prefix="diarist-metrics-") as folder:
        if settings.workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # prometheus_client reads it when it is imported
        from diarist_proxy import serving

        serving.log_to_stderr(settings)
        app = serving.build(settings)  # here too where workers build their own: what cannot work is said once
        try:
            _serve(app if settings.workers == 1 else "diarist_proxy.serving:application", settings)
        except SystemExit as end:
            if end.code and not _can_listen(settings):
                logger.error(  # noqa: TRY400 - uvicorn has logged the cause
                    "cannot listen at %s:%d: choose another port with --port, DIARIST_PORT or PORT, or another address "
                    "with DIARIST_HOST",
                    settings.host,
                    settings.port,
                )
            raise SystemExit(1 if end.code else 0) from None


def _can_listen(settings: ProxySettings) -> bool:
    """Whether the address can be had: uvicorn's exit code is the same for whatever keeps it from starting."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError:
        return False
    return True


def _serve(app: FastAPI | str, settings: ProxySettings) -> None:
    uvicorn.run(
        app,
        factory=isinstance(app, str),
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_config=None,
        access_log=False,  # it writes whole URLs
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        timeout_worker_healthcheck=SILENT_SECONDS,
    )
