"""The models in a process of their own: `python -m diarist.child` speaks newline-delimited JSON with its parent.

What comes in on standard input, one object a line:

* `{"id": …, "body": …, "path": …}`: a request as `diarist.request` has it; the recording may lie in the file `path`,
  and then the body names none.
* `{"id": …, "cancel": true}`: nobody waits for that answer any more.
* the end of the input: the parent has gone, and this process ends at once.

What goes out: first `{"type": "ready", "model_version": …}`, or `{"type": "failed", "status", "error", "expected"}`
and the end; then the events of the requests as a Truss streams them, each with its `id`. The log goes to
standard error, and so does whatever a library prints.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

from diarist import engines
from diarist.errors import DiaristError
from diarist.service import Reply, TranscriptionService, reply_to
from diarist.settings import Settings

logger = logging.getLogger(__name__)

Message = Mapping[str, Any]


class Channel:
    """The way out to the parent; safe to use from many threads."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def send(self, event: Message) -> None:
        """Write one event; where nobody reads any more, the process ends."""
        line = json.dumps(event, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        try:
            with self._lock:
                self._out.write(line)
                self._out.flush()
        except OSError:
            end()


class Requests:
    """Takes requests from the parent to the service, each in a thread of its own."""

    def __init__(self, service: TranscriptionService, channel: Channel) -> None:
        self._service = service
        self._channel = channel
        self._gone: dict[str, threading.Event] = {}

    def take(self, message: Message) -> None:
        """Start a request, or tell the one that is under way that nobody waits for it."""
        name = str(message["id"])
        if message.get("cancel"):
            if gone := self._gone.get(name):
                gone.set()
            return
        self._gone[name] = threading.Event()
        threading.Thread(target=self._answer, args=(name, message), name=f"child-{name}", daemon=True).start()

    def _answer(self, name: str, message: Message) -> None:
        @contextmanager
        def watch() -> Iterator[threading.Event]:
            yield self._gone[name]

        body, path = message.get("body"), message.get("path")
        if isinstance(body, Mapping):
            body = {**body, "stream": True}
        result = self._service.handle(body, request_id=name, watch=watch, recording=Path(path) if path else None)
        for event in (_refusal(result),) if isinstance(result, Reply) else result:
            self._channel.send({**event, "id": name})
        del self._gone[name]


def _refusal(reply: Reply) -> Message:
    """What was refused before the work began, as an event."""
    retry = reply.headers.get("Retry-After")
    return {"type": "error", "status": reply.status, **reply.body, "retry_after": float(retry) if retry else None}


def main() -> None:
    """Load the models, and answer until the parent closes our input."""
    channel = Channel(_standard_output())
    settings = Settings()
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("diarist").setLevel(settings.log_level.upper())
    messages: SimpleQueue[Message] = SimpleQueue()
    threading.Thread(target=_listen, args=(messages,), name="child-input", daemon=True).start()
    try:
        stages = engines.load(settings)
    except Exception as error:
        logger.exception("the models cannot be loaded")
        reply = reply_to(error, "loading")
        expected = isinstance(error, DiaristError)
        channel.send({"type": "failed", "status": reply.status, "expected": expected, **reply.body})
        end(1)
    requests = Requests(TranscriptionService(settings, stages), channel)
    logger.info("loaded %s", stages.model_version)
    channel.send({"type": "ready", "model_version": stages.model_version})
    while True:
        requests.take(messages.get())


def _standard_output() -> BinaryIO:
    """Standard output for the channel alone: from here on, what is printed goes to standard error."""
    sys.stdout.flush()
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return out


def _listen(messages: SimpleQueue[Message]) -> None:
    """Pass on what comes in. Its end is looked for while the models load or work, too."""
    for line in sys.stdin.buffer:
        messages.put(json.loads(line))
    end()


def end(status: int = 0) -> None:
    """End at once: a model's thread cannot be interrupted, and the interpreter would wait for it."""
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
