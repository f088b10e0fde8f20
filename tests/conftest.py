"""Fixtures that several test files share."""

from __future__ import annotations

import os
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from diarist import audio, engines
from diarist.models import ModelStore
from diarist.pipeline import Stages
from diarist.settings import Settings
from diarist.types import Waveform

_BESIDE_THE_REPOSITORY = Path(__file__).parents[2] / "shared" / "audio"


# The same examples every time, however slow the machine: a change is what makes a test fail. To look for new ones:
# HYPOTHESIS_PROFILE=default make test
hypothesis_settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(scope="session", autouse=True)
def _offline() -> None:
    """Refuse connections beyond this machine, for the rest of this process: the suite proves itself offline."""
    sys.addaudithook(_refuse_strangers)


def _refuse_strangers(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.connect" or not isinstance(arguments[1], tuple):  # a path is a socket of this machine
        return
    host = arguments[1][0].removeprefix("::ffff:")  # IPv4 written as IPv6
    if host != "localhost" and not ip_address(host).is_loopback:
        raise PermissionError(f"the tests are offline, and something connects to {host}")


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recordings: `DIARIST_RECORDINGS`, or the one beside the repository.

    Its absence is a failure where `CI` or the variable is set, since there it was promised.
    """
    named = os.environ.get("DIARIST_RECORDINGS")
    folder = Path(named) if named else _BESIDE_THE_REPOSITORY
    if folder.is_dir():
        return folder
    message = f"no folder of recordings at {folder}: name one in DIARIST_RECORDINGS"
    if named or os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def store() -> ModelStore:
    """The real weights, fetched by `make models` before the tests."""
    return ModelStore(Settings())


@pytest.fixture(scope="session")
def sample(store: ModelStore) -> Path:
    """The folder of the 30 s sample call: sample.wav, sample.rttm, sample.stm."""
    return store.folder("sample")


@pytest.fixture(scope="session")
def embedded() -> Stages:
    """The embedded engines, loaded once for all tests."""
    return engines.load(Settings(profile="embedded"))


@pytest.fixture(scope="session")
def jfk(recordings: Path) -> Waveform:
    """Eleven seconds of one voice: "And so my fellow Americans …"."""
    return audio.decode(recordings / "misc" / "jfk.flac", max_duration_seconds=60)
