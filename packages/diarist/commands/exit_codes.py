"""What every command does around its work: errors as one line each, and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from diarist.commands.terminal import Terminal


@contextmanager
def exit_codes() -> Iterator[Terminal]:
    """Turn errors into one line and an exit code: 2 for wrong use, 1 where something failed."""
    from diarist.commands.terminal import Terminal
    from diarist.errors import BadRequest, DiaristError

    terminal = Terminal()
    try:
        yield terminal
    except BadRequest as error:
        terminal.error("diarist", error)
        raise typer.Exit(2) from None
    except DiaristError as error:
        terminal.error("diarist", error)
    if terminal.failed:
        raise typer.Exit(1)
