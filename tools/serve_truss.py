"""Serve a staged Truss with the real inference server, on 127.0.0.1 only.

Usage, with the Python of the server's environment: serve_truss.py ROOT PORT   (ROOT as stage_truss.py wrote it)

The server's own `main.py` binds every interface, hence this launcher. It starts the same application.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import sys
from pathlib import Path

GRACE_SECONDS = 5  # for requests under way when the server is told to end; the platform's own is an hour


def serve(root: Path, port: int) -> None:
    """Run the server until it is interrupted."""
    app = root / "app"
    os.chdir(app)  # the server reads config.yaml, data/ and model/ beside itself
    sys.path.insert(0, str(app))
    sys.path.append(str(root / "packages"))  # the server itself looks only at /packages
    import uvicorn  # noqa: PLC0415 - these live in the server's environment and folder, found just now
    from _truss_shared import log_config  # noqa: PLC0415
    from truss_server import TrussServer  # noqa: PLC0415

    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except OSError as error:
        sys.exit(f"port {port} cannot be had ({error.strerror}): choose another, as in make truss-serve PORT=8081")
    truss = TrussServer(port, "config.yaml")
    server = uvicorn.Server(
        uvicorn.Config(
            truss.create_application(),
            http="h11",
            loop="uvloop",
            log_config=log_config.make_log_config("INFO"),
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )
    truss._server = server  # noqa: SLF001 - the server stops itself through it when the model cannot load
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn has ended in order, then raises Ctrl-C again
        asyncio.run(server.serve(sockets=[listening]))
    if truss._model.load_failed:  # noqa: SLF001
        sys.exit(1)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # a model's thread cannot be interrupted, and the interpreter would wait for it


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="Serve a staged Truss on 127.0.0.1.")
    parser.add_argument("root", type=Path, help="folder that stage_truss.py wrote")
    parser.add_argument("port", type=int)
    arguments = parser.parse_args()
    serve(arguments.root.resolve(), arguments.port)


if __name__ == "__main__":
    main()
