"""Ports of 127.0.0.1 for servers that are started later, or again."""

from __future__ import annotations

import socket

_held: list[socket.socket] = []


def free_port() -> int:
    """A port that nobody listens on, and that the kernel gives to nobody else as long as this process lives.

    A socket that is bound and never listens keeps it. The server that it is for may bind it all the same, since
    servers set SO_REUSEADDR; until then, whoever connects is refused.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _held.append(held)
    return int(held.getsockname()[1])
