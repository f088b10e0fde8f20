"""The commands that the proxy adds to `diarist`; how their arguments are spelled."""

from __future__ import annotations

import os
from typing import Annotated

import typer


def add_commands(app: typer.Typer) -> None:
    """Add them; what the entry point `diarist.commands` names."""
    from diarist_proxy.commands import label_studio

    app.command("serve")(serve)
    label_studio.register(app)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 for every one.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve, and work jobs.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="The model: local, a Truss server's URL, or baseten:<model id>.")
    ] = None,
) -> None:
    """Serve Label Studio's ML backend, and the jobs behind it.

    Everything can be set by variables, DIARIST_… or the names that label-studio-ml has (PORT, LABEL_STUDIO_URL,
    LABEL_STUDIO_API_KEY, BASIC_AUTH_USER, BASIC_AUTH_PASS, WORKERS, THREADS, LOG_LEVEL, MODEL_DIR); the options
    stand before the variables.

    \b
    LABEL_STUDIO_URL=http://localhost:8080 LABEL_STUDIO_API_KEY=… diarist serve
    diarist serve --host 0.0.0.0 --endpoint baseten:abcd1234
    curl http://127.0.0.1:9090/health

    \b
    Exit codes: 0 stopped by a signal, 1 could not start, 2 wrong use.
    """
    given = {"DIARIST_HOST": host, "DIARIST_PORT": port, "DIARIST_WORKERS": workers, "DIARIST_ENDPOINT": endpoint}
    os.environ.update({name: str(value) for name, value in given.items() if value is not None})  # for the workers too
    from diarist_proxy.commands.exit_codes import exit_codes, proxy_settings

    with exit_codes():
        from diarist_proxy.commands import serve as command

        command.run(proxy_settings())
