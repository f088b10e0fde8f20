from __future__ import annotations

import base64
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fake_label_studio
import fake_origin
from diarist import audio
from diarist.errors import AudioRefused, AudioTooLarge, AudioUnreachable, BadRequest, Cancelled, LabelStudioError
from diarist.types import SAMPLE_RATE, Span
from diarist_proxy.label_studio.client import LabelStudioClient
from diarist_proxy.label_studio.recordings import Recordings, cropped
from diarist_proxy.label_studio.recordings.kept_files import KeptFiles
from diarist_proxy.settings import ProxySettings
from fake_label_studio import LEGACY_TOKEN, PAT, UPLOAD, FakeLabelStudio
from fake_origin import BODY, FakeOrigin
from truss_environment import eventually

# label-studio-sdk 2.1.2 reads the exchanged token with it.
pytestmark = pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated")

SIGNED = "?X-Amz-Signature=s3cr3t"
PUBLIC = "https://files.example/calls/1.mp3" + SIGNED


@pytest.fixture
def fake() -> Iterator[FakeLabelStudio]:
    with fake_label_studio.serving() as running:
        yield running


@pytest.fixture
def storage() -> Iterator[FakeOrigin]:
    with fake_origin.serving() as running:
        yield running


Make = Callable[..., Recordings]


@pytest.fixture
def make(fake: FakeLabelStudio, tmp_path: Path) -> Iterator[Make]:
    """Makes `Recordings` of the fake Label Studio."""
    clients = []

    def made(key: str | None = LEGACY_TOKEN, **changes: object) -> Recordings:
        given = {"label_studio_url": fake.url, "label_studio_api_key": key, "data_dir": tmp_path / "proxy"}
        settings = ProxySettings.model_validate({"fetch_timeout_seconds": 120} | given | changes)
        clients.append(LabelStudioClient(settings))
        return Recordings(settings, clients[-1])

    yield made
    for client in clients:
        client.close()


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert list(folder.iterdir()) == []


@pytest.fixture
def _public_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """files.example is a public server, as far as name servers say; nothing connects to it."""
    real = socket.getaddrinfo

    def answer(host: str, port: int, **more: Any) -> Any:  # noqa: ANN401
        if host == "files.example":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port))]
        return real(host, port, **more)

    monkeypatch.setattr(socket, "getaddrinfo", answer)


def content(recordings: Recordings, value: str, *, fetches_urls: bool = False) -> bytes:
    """The recording's bytes, which must be in a local file."""
    with recordings.opened(value, task=3, project=7, fetches_urls=fetches_urls) as recording:
        assert recording.url is None
        assert recording.path is not None
        return recording.path.read_bytes()


def failure(recordings: Recordings, value: str, kind: type[BadRequest]) -> BadRequest:
    with (
        pytest.raises(kind) as caught,
        recordings.opened(value, task=3, project=7, fetches_urls=False),
    ):
        pytest.fail("a recording was handed over")
    assert type(caught.value) is kind
    assert "s3cr3t" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("key", [LEGACY_TOKEN, PAT])
@pytest.mark.parametrize("fetches_urls", [False, True])
def test_an_upload_comes_with_the_token_and_as_a_file(
    make: Make, fake: FakeLabelStudio, key: str, fetches_urls: bool
) -> None:
    ours = make(key)
    assert content(ours, "/data/upload/7/call.wav", fetches_urls=fetches_urls) == UPLOAD
    assert content(ours, f" {fake.url}/data/upload/7/call.wav\n", fetches_urls=fetches_urls) == UPLOAD


def test_label_studio_may_live_under_a_prefix_that_its_paths_name_or_not(tmp_path: Path) -> None:
    with fake_label_studio.serving("/label") as fake:
        settings = ProxySettings.model_validate(
            {"label_studio_url": fake.url, "label_studio_api_key": LEGACY_TOKEN, "data_dir": tmp_path}
        )
        client = LabelStudioClient(settings)
        ours = Recordings(settings, client)
        fake.storages["s3://calls/a b+ä.wav"] = ""
        for value in ("/data/upload/7/call.wav", "/label/data/upload/7/call.wav", "s3://calls/a b+ä.wav"):
            assert content(ours, value) == UPLOAD
        client.close()


def test_a_presigned_url_of_a_private_storage_is_followed_without_the_token(
    make: Make, fake: FakeLabelStudio, storage: FakeOrigin
) -> None:
    fake.storages["s3://calls/a b+ä.wav"] = storage.url("/audio" + SIGNED)
    for fetches_urls in (False, True):
        assert content(make(), "s3://calls/a b+ä.wav", fetches_urls=fetches_urls) == BODY
    assert all("Authorization" not in headers for _, headers in storage.seen)
    assert all(token == f"Token {LEGACY_TOKEN}" for _, _, token in fake.seen)


def test_what_label_studio_streams_from_a_storage_is_taken_as_it_comes(make: Make, fake: FakeLabelStudio) -> None:
    fake.storages["gs://calls/1.wav"] = ""
    for fetches_urls in (False, True):
        assert content(make(), "gs://calls/1.wav", fetches_urls=fetches_urls) == UPLOAD


@pytest.mark.usefixtures("_public_files")
def test_an_endpoint_that_fetches_urls_gets_the_public_one_made_just_now(make: Make, fake: FakeLabelStudio) -> None:
    ours = make()
    fake.storages["azure-blob://calls/1.wav"] = PUBLIC
    with ours.opened("azure-blob://calls/1.wav", task=3, project=7, fetches_urls=True) as recording:
        assert (recording.url, recording.path) == (PUBLIC, None)
        assert "s3cr3t" not in repr(recording)
    fake.storages["azure-blob://calls/1.wav"] = PUBLIC + "2"
    with ours.opened("azure-blob://calls/1.wav", task=3, project=7, fetches_urls=True) as recording:
        assert recording.url == PUBLIC + "2"
    with ours.opened(PUBLIC, task=3, project=7, fetches_urls=True) as recording:
        assert recording.url == PUBLIC
    assert len(fake.seen) == 2


def test_a_private_url_is_refused_unless_an_operator_opened_its_network(make: Make, storage: FakeOrigin) -> None:
    failure(make(), storage.url("/audio" + SIGNED), AudioRefused)
    opened = make(fetch_allowed_networks="127.0.0.0/8")
    assert content(opened, storage.url("/audio" + SIGNED)) == BODY
    assert content(opened, storage.url("/audio" + SIGNED), fetches_urls=True) == BODY  # nobody else can reach it
    assert all("Authorization" not in headers for _, headers in storage.seen)


@pytest.mark.parametrize(
    "value",
    [
        "/api/projects/7/export?format=JSON",
        "/data/../api/projects/7/",
        "/data/%2e%2e/api/projects/7/",
        "/data//upload/7/call.wav",
        "/tasks/3/presign/../../../api/projects/7/",
        "/user/login/?next=http://10.0.0.1/",
    ],
)
def test_a_task_cannot_spend_the_token_on_anything_but_recordings(
    make: Make, fake: FakeLabelStudio, value: str
) -> None:
    for text in (value, fake.url + value):
        with pytest.raises(BadRequest), make().opened(text, task=3, project=7, fetches_urls=False):
            pass
    assert all(token is None for _, _, token in fake.seen)


@pytest.mark.parametrize(
    "value", ["file:///etc/passwd", "ftp://host/x", "http://169.254.169.254/x", "http://me:s3cr3t@h/"]
)
def test_what_no_task_may_name_is_refused(make: Make, value: str) -> None:
    failure(make(), value, AudioRefused)


@pytest.mark.parametrize("value", ["", "call.wav", "//127.0.0.1/x", "C:\\call.wav", "$undefined$"])
def test_what_names_no_recording_says_what_does(make: Make, value: str) -> None:
    assert "/data/upload/" in str(failure(make(), value, BadRequest))


def test_base64_in_the_task_is_decoded(make: Make) -> None:
    value = "data:audio/wav;base64," + base64.b64encode(UPLOAD).decode()
    assert content(make(), value, fetches_urls=True) == UPLOAD
    failure(make(max_bytes=100), value, AudioTooLarge)


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("/data/upload/7/gone.wav", "it was deleted"),
        ("/data/local-files/?d=x.wav", "a Local Files storage of the project must cover it"),
        ("s3://elsewhere/x.wav", "a cloud storage of the project must cover it"),
    ],
)
def test_a_recording_that_is_not_there_says_what_to_do_and_is_not_asked_for_again(
    make: Make, value: str, advice: str
) -> None:
    error = failure(make(), value, AudioUnreachable)
    assert advice in str(error)
    assert not error.transient


def test_label_studio_away_is_worth_another_try(make: Make, fake: FakeLabelStudio) -> None:
    fake.faults.append((503, b"restarting"))
    assert failure(make(), "/data/upload/7/call.wav", AudioUnreachable).transient
    fake.faults.append((502, b"restarting"))
    with pytest.raises(LabelStudioError) as caught, make(PAT).opened("s3://b/x", task=3, project=7, fetches_urls=False):
        pass
    assert caught.value.transient
    with pytest.raises(LabelStudioError, match="LABEL_STUDIO_API_KEY"):
        content(make(None), "/data/upload/7/call.wav")


def test_limits_and_cancelling_hold(make: Make, fake: FakeLabelStudio, storage: FakeOrigin) -> None:
    failure(make(max_bytes=1000), "/data/upload/7/call.wav", AudioTooLarge)
    fake.storages["s3://calls/slow"] = storage.url("/drip")
    assert failure(make(fetch_timeout_seconds=0.5), "s3://calls/slow", AudioUnreachable).transient
    with (
        pytest.raises(Cancelled),
        make().opened("s3://calls/slow", task=3, project=7, fetches_urls=False, cancelled=lambda: True),
    ):
        pass


def test_who_asks_again_soon_gets_the_same_file_without_a_download(make: Make, fake: FakeLabelStudio) -> None:
    ours = make()
    for _ in range(3):
        with ours.local("/data/upload/7/call.wav", task=3, project=7) as path:
            assert path.read_bytes() == UPLOAD
            assert path.parent.stat().st_mode & 0o077 == 0
    assert len(fake.seen) == 1
    with make().local("/data/upload/7/call.wav", task=3, project=7) as path:  # another process, or after a restart
        assert path.read_bytes() == UPLOAD
    assert len(fake.seen) == 1
    with ours.local("/data/upload/7/call.wav", task=4, project=7):  # another task may not be allowed to
        pass
    assert len(fake.seen) == 2


def test_many_who_ask_at_once_wait_for_one_download(make: Make, fake: FakeLabelStudio) -> None:
    ours, got = make(), []

    def ask() -> None:
        with ours.local("/data/upload/7/call.wav", task=3, project=7) as path:
            got.append(path.read_bytes())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert got == [UPLOAD] * 8
    assert len(fake.seen) == 1


def test_kept_files_are_bounded_and_a_dropped_one_can_still_be_read(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path / "kept", max_bytes=2500)

    def make(name: str) -> Path:
        made = tmp_path / name
        made.write_bytes(name.encode() * 1000)
        return made

    with kept.opened("a" * 64, lambda: make("a"), cancelled=lambda: False) as first:
        for position, name in enumerate("abcd"):
            with kept.opened(name * 64, lambda: make(name), cancelled=lambda: False):  # noqa: B023 - used at once
                os.utime(tmp_path / "kept" / (name * 64), (time.time() - 60 + position,) * 2)
        assert first.read_bytes() == b"a" * 1000
    kept.sweep()
    left = sorted(path.name[0] for path in (tmp_path / "kept").iterdir())
    assert left == ["c", "d"]
    old = time.time() - 10_000
    os.utime(tmp_path / "kept" / ("c" * 64), (old, old))
    kept.sweep()
    assert [path.name[0] for path in (tmp_path / "kept").iterdir()] == ["d"]


def test_kept_files_go_in_time_though_nobody_asks_again(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path / "kept", seconds=0.2)
    with kept.opened("a" * 64, lambda: _file(tmp_path), cancelled=lambda: False):
        pass
    assert eventually(lambda: not list((tmp_path / "kept").iterdir()), within=120)


def test_a_download_that_fails_keeps_nothing_and_the_next_one_tries_again(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path / "kept")

    def fail() -> Path:
        raise AudioUnreachable("away", transient=True)

    with pytest.raises(AudioUnreachable), kept.opened("a" * 64, fail, cancelled=lambda: False):
        pass
    assert list((tmp_path / "kept").iterdir()) == []
    with kept.opened("a" * 64, lambda: _file(tmp_path), cancelled=lambda: False) as path:
        assert path.read_bytes() == b"x"


def _file(folder: Path) -> Path:
    path = folder / "x"
    path.write_bytes(b"x")
    return path


def test_a_waiting_caller_who_goes_away_waits_no_longer(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path / "kept")
    started, release = threading.Event(), threading.Event()

    def slow() -> Path:
        started.set()
        release.wait(120)
        return _file(tmp_path)

    def first() -> None:
        with kept.opened("a" * 64, slow, cancelled=lambda: False):
            pass

    thread = threading.Thread(target=first)
    thread.start()
    assert started.wait(120)
    with pytest.raises(Cancelled), kept.opened("a" * 64, slow, cancelled=lambda: True):
        pass
    release.set()
    thread.join(120)


def test_a_region_is_heard_alone(sample: Path) -> None:
    whole = audio.decode(sample / "sample.wav", max_duration_seconds=100)
    with cropped(sample / "sample.wav", Span(6.5, 9.25)) as clip:
        alone = audio.decode(clip, max_duration_seconds=100)
        assert clip.read_bytes()[:4] == b"fLaC"
    assert not clip.exists()
    assert len(alone.samples) == 2.75 * SAMPLE_RATE
    np.testing.assert_allclose(alone.samples, whole.crop(Span(6.5, 9.25)), atol=1 / 32768)


def test_a_region_beyond_the_end_is_cut_to_the_recording_or_refused(sample: Path) -> None:
    with cropped(sample / "sample.wav", Span(29, 99)) as clip:
        assert audio.decode(clip, max_duration_seconds=100).duration == pytest.approx(1, abs=0.01)
    for span in (Span(40, 50), Span(3, 3)):
        with pytest.raises(BadRequest, match="draw it within"), cropped(sample / "sample.wav", span):
            pass
