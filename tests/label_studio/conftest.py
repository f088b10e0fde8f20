"""The real Label Studio, a real object storage, and the proxy as the process that it is in production."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import label_studio_environment
import proxy_environment
from conversations import Conversation, conversations
from label_studio_environment import LabelStudio
from proxy_environment import ObjectStorage, Proxy


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    """One Label Studio for all tests; each makes its own projects."""
    with label_studio_environment.running(tmp_path_factory.mktemp("label-studio")) as server:
        yield server


@pytest.fixture
def proxy(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Callable[..., Proxy]]:
    """Start proxies: `proxy(basic_auth_user="u", …)`; keywords are variables in lower case; ended with the test."""
    with ExitStack() as stack:

        def start(**settings: str) -> Proxy:
            given = {"label_studio_url": label_studio.url, "label_studio_api_key": label_studio.token, **settings}
            return stack.enter_context(proxy_environment.serving(tmp_path / "proxy", **given))

        yield start


@pytest.fixture(scope="session")
def shared_proxy(label_studio: LabelStudio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """One proxy with its settings' defaults for the tests that do nothing to it: its model is loaded once."""
    given = {"label_studio_url": label_studio.url, "label_studio_api_key": label_studio.token}
    with proxy_environment.serving(tmp_path_factory.mktemp("proxy"), **given) as server:
        yield server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStorage]:
    """A storage that speaks S3, as a process."""
    with proxy_environment.object_storage(tmp_path_factory.mktemp("s3")) as storage:
        yield storage


@pytest.fixture(scope="session")
def calls(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Conversation, ...]:
    """Ten short recordings of two people each, and who speaks when."""
    return conversations(recordings, tmp_path_factory.mktemp("calls"))
