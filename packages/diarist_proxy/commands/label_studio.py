"""`diarist label-studio`: how its arguments are spelled. What it does is in `corrections.py` and behind it.

Only typer is imported here, so that `--help` and `diarist transcribe` answer at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from diarist_proxy.label_studio.labeling.templates import ConfigChoice

label_studio = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Label Studio: connect projects, fill them, see what people made of the predictions.",
)

_Project = Annotated[
    int, typer.Option("--project", "-p", min=1, metavar="ID", help="The project's number in Label Studio.")
]
_ProxyUrl = Annotated[
    str | None,
    typer.Option(metavar="URL", help="The proxy as this command reaches it; default this machine, at PORT."),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the `diarist` command."""
    app.add_typer(label_studio, name="label-studio")


@label_studio.command()
def setup(
    title: Annotated[str, typer.Option(help="Name of the project; one of that name is used, or it is created.")] = (
        "Recordings"
    ),
    project: Annotated[
        int | None, typer.Option("--project", "-p", min=1, metavar="ID", help="Use this project.")
    ] = None,
    backend_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The proxy as Label Studio reaches it; default http://localhost:PORT."),
    ] = None,
    speakers: Annotated[
        int | None, typer.Option(min=1, max=50, metavar="N", help="Labels Speaker 1 to N; default 4.")
    ] = None,
    labels: Annotated[str | None, typer.Option(metavar="NAMES", help="Other labels, as in Agent,Customer.")] = None,
    dynamic: Annotated[
        bool,
        typer.Option("--dynamic", help='Each task has its own speakers: its data needs "speakers": [] at import.'),
    ] = False,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="A labeling config of your own, XML.")] = None,
    replace_config: Annotated[
        bool, typer.Option("--replace-config", help="Write the config over the one that the project has.")
    ] = False,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Let people have a region heard again (Auto-Annotation).")
    ] = False,
    in_order: Annotated[
        bool, typer.Option("--in-order", help="Give people tasks as imported; else the doubtful ones first.")
    ] = False,
    extra_params: Annotated[
        str | None, typer.Option(metavar="JSON", help='Options of the project, as in {"language": "en"}.')
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long Label Studio and the proxy may take to answer.")
    ] = 60,
) -> None:
    """Create a project with a good labeling config, or check one, and connect it to the proxy, which must run or start.

    LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY say which Label Studio. It may be run again: it changes what is wrong and
    leaves what is right. Where the proxy has BASIC_AUTH_USER and BASIC_AUTH_PASS, or DIARIST_PATH_SECRET, set them here
    too: they are written into the backend and into its webhook.

    \b
    diarist label-studio setup --title Calls --labels Agent,Customer
    diarist label-studio setup --project 7 --backend-url http://192.168.1.5:9090
    diarist label-studio setup --title Meetings --speakers 8 --extra-params '{"min_speakers": 3}'
    """
    from diarist_proxy.commands.exit_codes import exit_codes, proxy_settings

    with exit_codes() as terminal:
        from diarist_proxy.commands import projects as command

        choice = _config(speakers=speakers, labels=labels, dynamic=dynamic, interactive=interactive, own=config)
        settings = proxy_settings()
        command.set_up(
            settings,
            terminal,
            command.wanted(
                settings,
                title=title,
                project=project,
                backend_url=backend_url,
                config=choice,
                replaces_config=replace_config,
                interactive=interactive,
                in_order=in_order,
                extra_params=extra_params,
            ),
            seconds=wait,
        )


@label_studio.command()
def backfill(
    project: _Project,
    proxy_url: _ProxyUrl = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Queue the tasks and leave.")] = False,
) -> None:
    """Queue every task that has no prediction of the current model version, and show how far they are.

    Ctrl-C ends the showing, not the work: jobs are the proxy's. Run again, it goes on where it stopped.

    \b
    Exit codes: 0 all done, 1 some failed (each is named), 2 wrong use.
    """
    from diarist_proxy.commands.exit_codes import exit_codes, proxy_settings

    with exit_codes() as terminal:
        from diarist_proxy.commands import projects as command

        command.backfill(proxy_settings(), terminal, project, proxy_url=proxy_url, waits=not no_wait)


@label_studio.command()
def status(
    project: _Project,
    proxy_url: _ProxyUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count the jobs of a project, and say why some failed."""
    from diarist_proxy.commands.exit_codes import exit_codes, proxy_settings

    with exit_codes() as terminal:
        from diarist_proxy.commands import projects as command

        command.status(proxy_settings(), terminal, project, proxy_url=proxy_url, as_json=as_json)


@label_studio.command()
def export(
    project: _Project,
    formats: Annotated[
        str, typer.Option("--format", "-f", metavar="NAMES", help="rttm, stm, seglst, srt, jsonl; several with commas.")
    ] = "rttm,stm",
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", metavar="DIR", help="Where to write; default here.")
    ] = Path(),
) -> None:
    """Write the tasks that people corrected, for training and for scoring; prints the files' names.

    \b
    diarist label-studio export --project 7 -f rttm,stm,seglst,srt,jsonl -o corrected
    """
    from diarist_proxy.commands.exit_codes import exit_codes, proxy_settings

    with exit_codes() as terminal:
        from diarist_proxy.commands import corrections as command

        command.export(proxy_settings(), terminal, project, formats=formats, folder=output_dir)


@label_studio.command()
def report(
    project: Annotated[
        list[int],
        typer.Option("--project", "-p", min=1, metavar="ID", help="The project's number; several with several -p."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the counts.")] = False,
) -> None:
    """Compare what people submitted with the predictions that they began with, by model version.

    cpWER, DER (collar 0, overlap scored), the share of regions changed, and seconds of work for a minute of sound.
    """
    from diarist_proxy.commands.exit_codes import exit_codes, proxy_settings

    with exit_codes() as terminal:
        from diarist_proxy.commands import corrections as command

        command.report(proxy_settings(), terminal, project, as_json=as_json)


def _config(
    *, speakers: int | None, labels: str | None, dynamic: bool, interactive: bool, own: Path | None
) -> ConfigChoice | None:
    """The labeling config that the options ask for; None where they say nothing.

    Raises:
        BadRequest: they contradict each other, or there is no such file.
    """
    from diarist.errors import BadRequest
    from diarist_proxy.label_studio.labeling import templates as label_configs

    given = {"--speakers": speakers is not None, "--labels": labels is not None, "--dynamic": dynamic}
    named = [name for name, is_given in {**given, "--config": own is not None}.items() if is_given]
    if len(named) > 1:
        raise BadRequest(f"{' and '.join(named)} are several answers to what the labels are: give one of them")
    if own is not None:
        try:
            return label_configs.ConfigChoice(own=own.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise BadRequest(f"--config {own}: it cannot be read: {error}") from None
    if dynamic:
        return label_configs.ConfigChoice(dynamic=True, interactive=interactive)
    if speakers is None and labels is None and not interactive:
        return None
    number = 4 if speakers is None else speakers
    names = label_configs.named(labels) if labels is not None else label_configs.speakers(number)
    return label_configs.ConfigChoice(labels=names, interactive=interactive)
