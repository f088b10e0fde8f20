"""A process that works jobs until it is told to stop, as a worker of `diarist serve` does; run by the tests.

    python proxy_worker.py FOLDER DATABASE_URL_OR_DASH LEASE_SECONDS

It appends what happens to FOLDER/events, a JSON object a line. A job that is held runs until FOLDER/open is there. Its
handler looks first, as handlers must: the effect of a key is a file that is made once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diarist.errors import Cancelled
from diarist_proxy.jobs import JobContext, Jobs, leases
from diarist_proxy.store import Store
from proxy_databases import proxy_settings

CLOSE_SECONDS = 60.0  # how long running jobs have to stop: the test's machine may be a busy one


def main(folder: Path, database_url: str | None, lease_seconds: float) -> None:
    """Work until SIGTERM."""
    leases.LEASE_SECONDS, leases.BEAT_SECONDS = lease_seconds, 0.5

    def note(event: str, **values: object) -> None:
        line = json.dumps({"event": event, "pid": os.getpid(), **values}) + "\n"
        with (folder / "events").open("a") as file:
            file.write(line)

    def handle(payload: Mapping[str, Any], job: JobContext) -> str:
        key = payload["key"]
        remembered = job.recall("seen")
        job.remember("seen", str(os.getpid()))
        job.report("transcribe", 1, 2)
        note("start", key=key, attempt=job.attempt, remembered=remembered)
        # It writes nothing to the database now: paused in the middle of that, it would hold a lock.
        while payload["held"] and not (folder / "open").exists():
            if job.cancelled():
                raise Cancelled("told to stop")
            time.sleep(0.02)
        job.report("transcribe", 2, 2)
        try:
            (folder / f"effect-{key}").touch(exist_ok=False)
        except FileExistsError:
            note("found", key=key)
        else:
            note("effect", key=key)
        return "done"

    store = Store.open(proxy_settings(folder / "data", database_url, jobs_at_once=2, retry_seconds=60))
    jobs = Jobs(proxy_settings(folder / "data", database_url, jobs_at_once=2), store, {"work": handle})
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    jobs.launch()
    note("up")
    stop.wait()
    left = jobs.close(CLOSE_SECONDS)
    store.close()
    note("down", left=left)


if __name__ == "__main__":
    main(Path(sys.argv[1]), None if sys.argv[2] == "-" else sys.argv[2], float(sys.argv[3]))
