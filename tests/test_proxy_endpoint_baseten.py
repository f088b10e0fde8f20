"""The model on Baseten: the real Truss server behind a gateway that speaks the documented protocol."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from diarist.errors import AudioTooLarge, AudioUndecodable, BadRequest, Cancelled, EndpointError, EndpointUnavailable
from diarist_proxy.endpoint import Recording, baseten_async, connect
from diarist_proxy.endpoint.baseten import BasetenEndpoint, read_webhook, verify_signature
from diarist_proxy.endpoint.baseten_platform import Address
from diarist_proxy.endpoint.object_store import ObjectStore
from diarist_proxy.settings import ProxySettings
from endpoint_calls import Asked, KeptCall, text_of
from fake_baseten import KEY, MODEL, WEBHOOK_SECRET, FakeBaseten, signature
from fake_baseten import serving as gateway_serving
from truss_environment import Server, eventually, server_python, serving, stage

BUCKET = "calls"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = stage(tmp_path_factory.mktemp("truss") / "root")
    settings = {"DIARIST_FETCH_ALLOWED_NETWORKS": "127.0.0.1/32"}
    with serving(root, tmp_path_factory.mktemp("server"), python=server_python(), settings=settings) as server:
        yield server


@pytest.fixture
def gateway(server: Server) -> Iterator[FakeBaseten]:
    with gateway_serving(f"http://127.0.0.1:{server.port}") as gateway:
        yield gateway


@pytest.fixture
def speech(recordings: Path) -> Recording:
    return Recording(path=recordings / "librispeech" / "1688" / "1688-142285-0000.flac")


@pytest.fixture
def half_a_minute(sample: Path) -> Recording:
    """Nearly a megabyte."""
    return Recording(path=sample / "sample.wav")


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    """An S3 of this machine (moto), whose bucket the settings of the cloud's own tools lead to."""
    moto = ThreadedMotoServer(port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host.replace('0.0.0.0', '127.0.0.1')}:{port}"  # noqa: S104 - what it says of itself
    moto.stop()


@pytest.fixture
def objects(storage: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The bucket, empty at the end of each test as at its start."""
    for name, value in {
        "AWS_ENDPOINT_URL": storage, "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "nobody",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=storage, region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    yield client
    assert names(client) == []
    client.delete_bucket(Bucket=BUCKET)


def names(client: Any) -> list[str]:  # noqa: ANN401 - boto3 makes its classes at run time
    return [item["Key"] for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


class Inbox:
    """What the proxy's route does with a webhook: check its signature, and keep its body."""

    def __init__(self) -> None:
        self.port = 0
        self.bodies: dict[str, Mapping[str, Any]] = {}
        self.refused = 0

    def take_result(self, request_id: str) -> Mapping[str, Any] | None:
        return self.bodies.pop(request_id, None)


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    inbox = Inbox()

    class Route(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            good = self.path == "/baseten/webhook"
            good = good and verify_signature(body, self.headers["X-BASETEN-SIGNATURE"] or "", WEBHOOK_SECRET)
            if good:
                name, said = read_webhook(body)
                inbox.bodies[name] = said
            else:
                inbox.refused += 1
            self.send_response(200 if good else 401)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Route) as http:
        inbox.port = http.server_address[1]
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield inbox
        http.shutdown()


def settings(gateway: FakeBaseten, **more: Any) -> ProxySettings:  # noqa: ANN401 - settings of any type
    return ProxySettings(endpoint=f"baseten:{MODEL}@{gateway.url}", baseten_api_key=SecretStr(KEY), **more)


@contextmanager
def connected(settings: ProxySettings, inbox: Inbox | None = None) -> Iterator[BasetenEndpoint]:
    endpoint = connect(settings, inbox)
    assert isinstance(endpoint, BasetenEndpoint)
    try:
        yield endpoint
    finally:
        endpoint.close()


@pytest.fixture
def asynchronous(gateway: FakeBaseten, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ProxySettings]:
    """Settings for async_predict, with a quick look at what has come."""
    monkeypatch.setattr(baseten_async, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(baseten_async, "STATUS_SECONDS", 0.2)

    def make(**more: Any) -> ProxySettings:  # noqa: ANN401
        return settings(gateway, baseten_mode="async", **more)

    return make


@pytest.fixture
def by_webhook(asynchronous: Callable[..., ProxySettings], inbox: Inbox) -> ProxySettings:
    url = f"http://localhost:{inbox.port}"
    return asynchronous(public_url=url, baseten_webhook_secret=SecretStr(WEBHOOK_SECRET))


# Synchronous


@pytest.mark.parametrize(
    ("more", "called"),
    [
        ({}, "environments/production predict"),
        ({"baseten_environment": "development"}, "development predict"),
        ({"baseten_environment": "deployment/q1w2e3"}, "deployment/q1w2e3 predict"),
        ({"baseten_region": "eu"}, "regional predict"),
    ],
)
def test_each_environment_is_called_by_its_own_path(
    gateway: FakeBaseten, speech: Recording, more: dict[str, str], called: str
) -> None:
    gateway.regional = "baseten_region" in more
    told = KeptCall()
    with connected(settings(gateway, **more)) as endpoint:
        answer = endpoint.transcribe(speech, {}, told)
        assert endpoint.model_version() == answer["model_version"]
    assert len(text_of(answer)) > 20
    assert {"segment", "transcribe"} <= set(told.stages)  # streamed through the gateway
    assert gateway.calls == [called]


def test_addresses_are_those_of_the_platform() -> None:
    def address(**more: str) -> str:
        found = Address.of(ProxySettings(endpoint="baseten:abcd1234", **more))  # type: ignore[arg-type]
        return f"{found.base}{found.prefix}/predict"

    assert address() == "https://model-abcd1234.api.baseten.co/environments/production/predict"
    assert (
        address(baseten_environment="staging") == "https://model-abcd1234.api.baseten.co/environments/staging/predict"
    )
    assert address(baseten_region="eu") == "https://model-abcd1234-eu.api.baseten.co/predict"
    with pytest.raises(BadRequest, match="without a model id"):
        Address.of(ProxySettings(endpoint="baseten:"))


def test_a_wrong_key_is_told_and_not_tried_again(gateway: FakeBaseten, speech: Recording) -> None:
    wrong = ProxySettings(endpoint=f"baseten:{MODEL}@{gateway.url}", baseten_api_key=SecretStr("wrong"))
    with connected(wrong) as endpoint, pytest.raises(EndpointError, match="check BASETEN_API_KEY") as refused:
        endpoint.transcribe(speech, {}, KeptCall())
    assert not refused.value.transient
    with pytest.raises(BadRequest, match="set BASETEN_API_KEY"):
        connect(ProxySettings(endpoint="baseten:abcd1234"))


def test_an_environment_that_there_is_not_is_told(gateway: FakeBaseten, speech: Recording) -> None:
    with (
        connected(settings(gateway, baseten_environment="staging")) as endpoint,
        pytest.raises(EndpointError, match="DIARIST_BASETEN_ENVIRONMENT"),
    ):
        endpoint.transcribe(speech, {}, KeptCall())


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_platform_that_is_busy_or_draining_may_be_tried_again(
    gateway: FakeBaseten, speech: Recording, status: int
) -> None:
    gateway.answers = [(status, {"error": "Error making prediction"}, {})]
    with connected(settings(gateway)) as endpoint:
        with pytest.raises(EndpointUnavailable, match="Error making prediction"):
            endpoint.transcribe(speech, {}, KeptCall())
        assert text_of(endpoint.transcribe(speech, {}, KeptCall()))


def test_waking_asks_for_a_replica_once_in_a_while_and_learns_the_version(gateway: FakeBaseten) -> None:
    with connected(settings(gateway)) as endpoint:
        assert endpoint.model_version() is None
        endpoint.wake()
        endpoint.wake()
        assert eventually(lambda: endpoint.model_version() is not None, within=120)
    assert gateway.calls == ["environments/production wake", "environments/production predict"]


def test_a_failed_wake_is_nobodys_error(gateway: FakeBaseten) -> None:
    with connected(settings(gateway, baseten_environment="staging")) as endpoint:
        endpoint.wake()
        assert eventually(lambda: len(gateway.sizes) >= 2, within=120)


# Large recordings


def test_a_recording_over_the_limit_is_made_smaller_and_keeps_its_times(
    gateway: FakeBaseten, half_a_minute: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connected(settings(gateway)) as endpoint:
        whole = endpoint.transcribe(half_a_minute, {}, KeptCall())
        gateway.most_bytes = 200_000
        monkeypatch.setattr("diarist_proxy.endpoint.baseten.MOST_BYTES", 200_000)
    told = KeptCall()
    with connected(settings(gateway)) as endpoint:
        small = endpoint.transcribe(half_a_minute, {}, told)
    assert "compress" in told.stages
    assert gateway.sizes[-1] <= 200_000
    assert small["duration"] == pytest.approx(whole["duration"], abs=0.05)
    assert small["speakers"] == whole["speakers"]
    assert text_of(small)[:20] == text_of(whole)[:20]
    assert [turn["start"] for turn in small["turns"]][:3] == pytest.approx(
        [turn["start"] for turn in whole["turns"]][:3], abs=0.3
    )


def test_a_recording_that_cannot_be_made_small_enough_is_told_both_numbers(
    gateway: FakeBaseten, half_a_minute: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diarist_proxy.endpoint.baseten.MOST_BYTES", 40_000)
    with connected(settings(gateway)) as endpoint, pytest.raises(AudioTooLarge) as refused:
        endpoint.transcribe(half_a_minute, {}, KeptCall())
    message = str(refused.value)
    assert str(half_a_minute.path.stat().st_size if half_a_minute.path else 0) in message
    assert "as Opus" in message
    assert "DIARIST_OBJECT_STORE" in message
    assert gateway.calls == []


@pytest.mark.usefixtures("objects")
def test_with_an_object_store_a_large_recording_goes_by_url_and_is_removed(
    gateway: FakeBaseten, half_a_minute: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diarist_proxy.endpoint.baseten.MOST_BYTES", 40_000)
    told = KeptCall()
    with connected(settings(gateway, object_store=f"s3://{BUCKET}/proxy")) as endpoint:
        answer = endpoint.transcribe(half_a_minute, {}, told)
    assert "upload" in told.stages
    assert answer["speakers"] == ["SPEAKER_00", "SPEAKER_01"]
    assert gateway.sizes[-1] < 2000


def test_a_storage_that_refuses_or_is_away_says_so_without_a_signature(
    objects: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    path = tmp_path / "recording"
    path.write_bytes(b"x")
    with pytest.raises(EndpointError, match="check DIARIST_OBJECT_STORE") as refused:
        ObjectStore("s3://another/prefix").upload(path)
    assert not refused.value.transient
    store = ObjectStore(f"s3://{BUCKET}")
    name = store.new_result()
    assert store.read(name) is None
    store.delete(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(EndpointUnavailable, match="is it there") as away:
        ObjectStore(f"s3://{BUCKET}").upload(path)
    assert "Signature" not in str(refused.value) + str(away.value)


# Asynchronous


def test_an_asynchronous_answer_comes_by_the_signed_webhook(
    gateway: FakeBaseten, inbox: Inbox, by_webhook: ProxySettings, speech: Recording
) -> None:
    call = KeptCall()
    with connected(by_webhook, inbox) as endpoint:
        answer = endpoint.transcribe(speech, {}, call)
        assert endpoint.model_version() == answer["model_version"]
    assert len(text_of(answer)) > 20
    assert gateway.calls == ["environments/production async_predict"]
    assert gateway.sizes[-1] <= 262_144
    assert call.recall("baseten.request") == ""  # nothing is waited for any more


def test_a_process_that_stops_leaves_its_request_to_the_next_attempt(
    gateway: FakeBaseten, inbox: Inbox, by_webhook: ProxySettings, speech: Recording
) -> None:
    class JobsCall(KeptCall):
        withdrawn = False  # the process stops, and nobody cancelled the job

    gateway.held.clear()
    call = JobsCall()
    with connected(by_webhook, inbox) as endpoint:
        stopped = Asked(endpoint, speech, call)
        assert eventually(lambda: "queue" in call.stages, within=120), stopped
        call.gone.set()
        assert stopped.ended(within=120)
        assert isinstance(stopped.error, Cancelled)
        assert [request.status for request in gateway.requests.values()] == ["QUEUED"]
        gateway.held.set()
        assert text_of(endpoint.transcribe(speech, {}, KeptCall(kept=call.kept)))
    assert len(gateway.requests) == 1


def test_a_webhook_signed_by_a_stranger_brings_nothing(inbox: Inbox) -> None:
    body = json.dumps({"request_id": "r1", "data": {}, "errors": []}).encode()
    good = signature(body, WEBHOOK_SECRET)
    assert verify_signature(body, good, WEBHOOK_SECRET)
    assert verify_signature(body, f"v1=00,{good}", WEBHOOK_SECRET)  # while the secret is replaced
    assert verify_signature(body, f"{good}, v1=é", WEBHOOK_SECRET)
    for header in ("", "v1=", good.removeprefix("v1="), signature(body, "stranger"), f"v2={good[3:]}"):
        assert not verify_signature(body, header, WEBHOOK_SECRET)
    assert not verify_signature(body + b" ", good, WEBHOOK_SECRET)
    for wrong in (b"", b"[]", b"{}", b'{"request_id": 1}', b"\xff"):
        with pytest.raises(BadRequest):
            read_webhook(wrong)


def test_a_restart_goes_on_waiting_and_does_not_pay_twice(
    gateway: FakeBaseten, inbox: Inbox, by_webhook: ProxySettings, speech: Recording
) -> None:
    gateway.held.clear()
    call = KeptCall()
    with connected(by_webhook, inbox) as endpoint:
        first = Asked(endpoint, speech, call)
        assert eventually(lambda: "queue" in call.stages, within=120), first
        remembered = dict(call.kept)
        again = KeptCall(kept=remembered)  # what the job finds after the proxy was killed
        second = Asked(endpoint, speech, again)
        gateway.held.set()
        assert eventually(lambda: first.answer is not None or second.answer is not None, within=120)
        call.gone.set()
        again.gone.set()
        assert first.ended()
        assert second.ended()
    assert len(gateway.requests) == 1


@pytest.mark.usefixtures("objects")
def test_behind_a_nat_the_model_puts_its_answer_into_the_object_store(
    gateway: FakeBaseten, asynchronous: Callable[..., ProxySettings], half_a_minute: Recording
) -> None:
    told = KeptCall()
    with connected(asynchronous(object_store=f"s3://{BUCKET}/proxy")) as endpoint:
        answer = endpoint.transcribe(half_a_minute, {}, told)
    assert answer["speakers"] == ["SPEAKER_00", "SPEAKER_01"]
    assert "upload" in told.stages  # a megabyte is over the limit of 256 KiB
    (request,) = gateway.requests.values()
    assert request.webhook is None


@pytest.mark.usefixtures("objects")
def test_an_unreadable_recording_comes_back_as_the_models_own_refusal(
    asynchronous: Callable[..., ProxySettings], tmp_path: Path
) -> None:
    page = tmp_path / "page.wav"
    page.write_text("<!doctype html>")
    with (
        connected(asynchronous(object_store=f"s3://{BUCKET}/proxy")) as endpoint,
        pytest.raises(AudioUndecodable, match="the file is not audio"),
    ):
        endpoint.transcribe(Recording(path=page), {}, KeptCall())


def test_without_an_object_store_the_refusal_comes_by_the_webhook(
    inbox: Inbox, by_webhook: ProxySettings, tmp_path: Path
) -> None:
    page = tmp_path / "page.wav"
    page.write_text("<!doctype html>")
    with connected(by_webhook, inbox) as endpoint, pytest.raises(BadRequest, match="the file is not audio"):
        endpoint.transcribe(Recording(path=page), {}, KeptCall())


def test_an_answer_that_was_lost_on_its_way_is_told_and_may_be_asked_for_again(
    gateway: FakeBaseten,
    inbox: Inbox,
    by_webhook: ProxySettings,
    speech: Recording,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(baseten_async, "ARRIVAL_SECONDS", 0.5)
    gateway.deliver = False
    call = KeptCall()
    with connected(by_webhook, inbox) as endpoint:
        with pytest.raises(EndpointUnavailable, match=r"WEBHOOK_FAILED.*DIARIST_PUBLIC_URL"):
            endpoint.transcribe(speech, {}, call)
        gateway.deliver = True
        assert text_of(endpoint.transcribe(speech, {}, call))
    assert len(gateway.requests) == 2


def test_who_cancels_takes_the_request_out_of_the_queue(
    gateway: FakeBaseten, inbox: Inbox, by_webhook: ProxySettings, speech: Recording
) -> None:
    gateway.held.clear()
    with connected(by_webhook, inbox) as endpoint:
        asked = Asked(endpoint, speech)
        assert eventually(lambda: "queue" in asked.call.stages, within=120), asked
        asked.call.gone.set()
        assert asked.ended(within=120)
    assert isinstance(asked.error, Cancelled)
    assert [request.status for request in gateway.requests.values()] == ["CANCELED"]


@pytest.mark.parametrize("status", ["EXPIRED", "CANCELED"])
def test_a_request_that_the_platform_gave_up_may_be_asked_for_again(
    gateway: FakeBaseten, inbox: Inbox, by_webhook: ProxySettings, speech: Recording, status: str
) -> None:
    gateway.held.clear()
    with connected(by_webhook, inbox) as endpoint:
        asked = Asked(endpoint, speech)
        assert eventually(lambda: "queue" in asked.call.stages, within=120), asked
        for request in gateway.requests.values():
            request.status = status
        assert asked.ended(within=120)
    assert isinstance(asked.error, EndpointUnavailable)
    assert asked.call.recall("baseten.request") == ""


def test_a_platform_that_is_away_may_be_asked_again(
    gateway: FakeBaseten, inbox: Inbox, by_webhook: ProxySettings, speech: Recording
) -> None:
    call = KeptCall()
    gateway.answers = [(503, {"error": "the async service is not set up here"}, {})]
    with connected(by_webhook, inbox) as endpoint:
        with pytest.raises(EndpointUnavailable, match="not set up"):
            endpoint.transcribe(speech, {}, call)
        assert text_of(endpoint.transcribe(speech, {}, call))
    assert len(gateway.requests) == 1


def test_a_status_that_cannot_be_had_for_a_moment_ends_no_wait(
    gateway: FakeBaseten,
    inbox: Inbox,
    by_webhook: ProxySettings,
    speech: Recording,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway.held.clear()
    gateway.status_away = True
    with connected(by_webhook, inbox) as endpoint:
        patient = Asked(endpoint, speech)
        assert eventually(lambda: gateway.statuses_refused >= 3, within=120), patient
        gateway.status_away = False
        assert eventually(lambda: "queue" in patient.call.stages, within=120), patient
        gateway.status_away = True
        monkeypatch.setattr(baseten_async, "AWAY_SECONDS", 0)
        assert patient.ended(within=120)
        assert isinstance(patient.error, EndpointUnavailable)
        assert patient.call.recall("baseten.request")  # the next attempt goes on waiting
        gateway.status_away = False
        gateway.held.set()
        assert text_of(endpoint.transcribe(speech, {}, patient.call))
    assert len(gateway.requests) == 1


def test_an_asynchronous_request_needs_a_way_back(gateway: FakeBaseten, inbox: Inbox) -> None:
    with pytest.raises(BadRequest, match="need a way back"):
        connect(settings(gateway, baseten_mode="async"), inbox)
    with pytest.raises(BadRequest, match="must start with https"):
        connect(
            settings(
                gateway,
                baseten_mode="async",
                public_url="http://proxy.example",
                baseten_webhook_secret=SecretStr(WEBHOOK_SECRET),
            ),
            inbox,
        )
    with pytest.raises(BadRequest, match="it must be s3://"):
        connect(settings(gateway, object_store="ftp://bucket"))
