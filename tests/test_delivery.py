"""An answer is put where the request wants it, by the rules for fetching, and is never lost."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator

import pytest

from diarist import fetch
from diarist.errors import AudioRefused, AudioUnreachable
from diarist.pipeline import Stages
from diarist.service import Reply, TranscriptionService
from diarist.settings import Settings
from fake_origin import SECRET, FakeOrigin, serving
from test_service import FakeGpu, ask, idle, still_there

SIGNED = "?X-Amz-Signature=s3cr3t"
TEXT = b'{"language": "en"}'


def settings(**changes: object) -> Settings:
    return Settings.model_validate({"fetch_allowed_networks": "127.0.0.0/8", "fetch_timeout_seconds": 60} | changes)


@pytest.fixture(scope="module")
def storage() -> Iterator[FakeOrigin]:
    with serving() as running:
        yield running


def service(work: Callable[[], None] = idle, **changes: object) -> TranscriptionService:
    return TranscriptionService(settings(**changes), FakeGpu(work).stages())


# --- the request ------------------------------------------------------------------------------------------


def test_a_storage_gets_the_whole_text_and_what_it_asks_for(storage: FakeOrigin) -> None:
    content = b"x" * 3_000_000
    fetch.deliver(storage.url("/store/big" + SIGNED), content, settings())
    assert storage.stored["/store/big" + SIGNED] == content
    _, headers = storage.seen[-1]
    assert headers["Content-Type"] == "application/json"
    assert headers["Content-Length"] == "3000000"
    assert headers["x-ms-blob-type"] == "BlockBlob"
    assert "Cookie" not in headers


@pytest.mark.parametrize("status", [201, 204])
def test_every_success_is_one(storage: FakeOrigin, status: int) -> None:
    fetch.deliver(storage.url(f"/status/{status}"), TEXT, settings())


@pytest.mark.parametrize("path", ["/status/403", "/status/500", "/status/304", "/to//store/elsewhere"])
def test_every_other_status_is_a_failure_and_no_redirect_is_followed(storage: FakeOrigin, path: str) -> None:
    with pytest.raises(AudioUnreachable, match=r"answered with status \d{3}, where 2xx is needed") as caught:
        fetch.deliver(storage.url(path + SIGNED), TEXT, settings())
    assert "s3cr3t" not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert not [path for path in storage.stored if "elsewhere" in path]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"])
def test_a_private_address_gets_nothing(storage: FakeOrigin, host: str) -> None:
    before = len(storage.seen)
    with pytest.raises(AudioRefused, match="its address is not public"):
        fetch.deliver(storage.url("/store", host), TEXT, settings(fetch_allowed_networks=""))
    assert len(storage.seen) == before


def test_a_storage_that_never_answers_is_given_up(storage: FakeOrigin) -> None:
    started = time.monotonic()
    with pytest.raises(AudioUnreachable, match=r"did not answer in full within 0\.5 s"):
        fetch.deliver(storage.url("/silent" + SIGNED), TEXT, settings(fetch_timeout_seconds=0.5))
    assert time.monotonic() - started < 15  # the storage itself takes 20


# --- the service ------------------------------------------------------------------------------------------


def test_a_delivered_answer_leaves_the_rest_in_the_reply(storage: FakeOrigin) -> None:
    reply = ask(service(), result_url=storage.url("/store/1" + SIGNED))
    assert reply.status == 200
    delivered = json.loads(storage.stored["/store/1" + SIGNED])
    assert {"model_output", "turns", "language", "duration", "notes"} <= set(delivered)
    assert "result_delivered" not in delivered
    assert reply.body["result_delivered"] is True
    assert {"model_output", "turns", "embeddings"}.isdisjoint(reply.body)
    assert all(reply.body[key] == delivered[key] for key in reply.body if key != "result_delivered")


def test_a_text_format_is_delivered_with_its_metadata(storage: FakeOrigin) -> None:
    reply = ask(service(), output="vtt", result_url=storage.url("/store/2"))
    delivered = json.loads(storage.stored["/store/2"])
    assert delivered["output"].startswith("WEBVTT")
    assert delivered["format"] == reply.body["format"] == "vtt"
    assert "output" not in reply.body


@pytest.mark.parametrize("path", ["/status/403", "/to//store/3"])
def test_an_answer_that_cannot_be_delivered_is_in_the_reply(
    storage: FakeOrigin, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    reply = ask(service(), result_url=storage.url(path + SIGNED))
    assert reply.status == 200
    assert reply.body["model_output"] == []
    assert reply.body["result_delivered"] is False
    assert reply.body["notes"][-1].startswith("the result was not delivered: http://127.0.0.1")
    for text in (str(reply.body), caplog.text):
        assert "s3cr3t" not in text
        assert SECRET not in text


def test_nothing_is_delivered_into_a_private_network(storage: FakeOrigin) -> None:
    before = len(storage.seen)
    reply = ask(service(fetch_allowed_networks=""), result_url=storage.url("/store/4"))
    assert (reply.status, reply.body["result_delivered"]) == (200, False)
    assert "its address is not public" in reply.body["notes"][-1]
    assert len(storage.seen) == before


def test_errors_are_delivered_with_their_status(storage: FakeOrigin) -> None:
    reply = ask(service(), audio_b64="AAAA", result_url=storage.url("/store/5"))
    assert reply.status == 422
    assert json.loads(storage.stored["/store/5"]) == {**reply.body, "status": 422}


def test_a_failure_of_the_models_is_delivered_without_its_cause(storage: FakeOrigin) -> None:
    def fail() -> None:
        raise RuntimeError("CUDA error")

    reply = ask(service(fail), result_url=storage.url("/store/6"))
    assert reply.status == 500
    delivered = json.loads(storage.stored["/store/6"])
    assert delivered["status"] == 500
    assert "CUDA" not in delivered["error"]


def test_an_error_that_cannot_be_delivered_is_still_the_reply(storage: FakeOrigin) -> None:
    reply = ask(service(), audio_b64="AAAA", result_url=storage.url("/status/500"))
    assert reply.status == 422
    assert set(reply.body) == {"error"}


@pytest.mark.parametrize("url", ["ftp://files.example/x", "https://user:s3cr3t@files.example/x", "nowhere"])
def test_a_url_that_can_never_be_used_is_refused_before_the_work(url: str) -> None:
    def work() -> None:
        raise AssertionError("the models were asked")

    reply = ask(service(work), result_url=url)
    assert reply.status == 400
    assert "is refused" in reply.body["error"]
    assert "s3cr3t" not in reply.body["error"]


def test_a_stream_ends_with_what_a_reply_would_hold(storage: FakeOrigin) -> None:
    body = {"audio_b64": "AAAA", "stream": True, "result_url": storage.url("/store/7")}
    events = service().handle(body, request_id="r", watch=still_there)
    assert not isinstance(events, Reply)
    *_, last = events
    assert last["type"] == "error"
    assert json.loads(storage.stored["/store/7"])["status"] == 422


def test_a_real_answer_is_delivered(storage: FakeOrigin, embedded: Stages) -> None:
    reply = ask(TranscriptionService(settings(), embedded), result_url=storage.url("/store/8"))
    assert reply.body["result_delivered"] is True
    assert json.loads(storage.stored["/store/8"])["model_version"] == embedded.model_version
