"""What every command of the proxy does around its work: settings, log, errors as one line and an exit code."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from diarist.commands import exit_codes as common
from diarist.commands.terminal import Terminal
from diarist.errors import BadRequest, DiaristError, ModelMissing
from diarist_proxy.settings import ProxySettings


@contextmanager
def exit_codes() -> Iterator[Terminal]:
    """Errors as one line and an exit code, as every command of diarist has them: 2 for wrong use, 1 for the rest."""
    with common.exit_codes() as terminal:
        try:
            yield terminal
        except ModuleNotFoundError as error:
            if str(error.name).startswith("diarist"):
                raise
            message = (
                f"{error.name} is not installed, which the proxy needs: run `make proxy`, or install diarist[proxy]"
            )
            raise ModelMissing(message) from None
        except OSError as error:
            raise DiaristError(str(error)) from None


def proxy_settings() -> ProxySettings:
    """The proxy's settings from the environment; the log is for those who ask for it.

    Raises:
        BadRequest: a value is not allowed; the message names its variable.
    """
    try:
        settings = ProxySettings()
    except ValidationError as error:
        problems = (
            f"{'_'.join(str(part) for part in item['loc']).upper() or 'settings'}: {item['msg']}"
            for item in error.errors()
        )
        raise BadRequest("; ".join(problems)) from None
    level = settings.log_level if "log_level" in settings.model_fields_set else "warning"
    logging.basicConfig(level=level.upper(), format="%(levelname)s %(name)s: %(message)s")
    for name in ("httpx", "httpcore", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they write whole URLs, and a path may be a secret
    return settings
