from __future__ import annotations

import base64
import logging
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import certifi
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from diarist import __version__, fetch
from diarist.errors import (
    AudioRefused,
    AudioTooLarge,
    AudioUndecodable,
    AudioUnreachable,
    BadRequest,
    Cancelled,
    DiaristError,
)
from diarist.fetch import Trust, decoded_base64, fetched, is_public, opened, redacted, redirection
from diarist.request import TranscriptionRequest
from diarist.settings import Settings
from fake_origin import BODY, SECRET, FakeOrigin, serving

SIGNED = "?X-Amz-Signature=c2lnbmF0dXJl&token=s3cr3t#t=1"


def settings(**changes: object) -> Settings:
    return Settings.model_validate({"fetch_allowed_networks": "127.0.0.0/8", "fetch_timeout_seconds": 60} | changes)


SOON = 15  # seconds; much less where nothing else runs, and the origins of these tests take 20 or for ever
CLOSED = settings(fetch_allowed_networks="")


@pytest.fixture(scope="module")
def origin() -> Iterator[FakeOrigin]:
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After each test, good or bad: no temporary file, no thread of the download, no socket."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert list(tmp_path.iterdir()) == []
    assert [thread.name for thread in threading.enumerate() if thread.name == "diarist-fetch-watch"] == []


def failure(url: str, using: Settings, kind: type[DiaristError], cancelled: Callable[[], bool] = fetch.never) -> str:
    """The message of the error that a download must end in; it never shows what must not be shown."""
    with pytest.raises(kind) as caught, fetched(url, using, cancelled=cancelled):
        pytest.fail("the file was handed over")
    assert type(caught.value) is kind
    message = str(caught.value)
    assert "s3cr3t" not in message
    assert SECRET not in message
    return message


@pytest.mark.parametrize("path", ["/audio", "/chunked", "/until-closed", "/to//audio", "/hops/4"])
def test_a_recording_arrives_whole(origin: FakeOrigin, path: str) -> None:
    with fetched(origin.url(path + SIGNED), settings()) as file:
        assert file.read_bytes() == BODY
        assert file.parent.stat().st_mode & 0o077 == 0  # nobody else may look
        folder = file.parent
    assert not folder.exists()


def test_the_file_goes_even_if_the_work_on_it_fails(origin: FakeOrigin, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the work failed"), fetched(origin.url("/audio"), settings()):  # noqa: PT012
        assert list(tmp_path.iterdir())
        raise RuntimeError("the work failed")


def test_the_origin_sees_our_name_and_nothing_of_the_environment(
    origin: FakeOrigin, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password s3cr3t\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    origin.seen.clear()
    with fetched(origin.url("/hops/1?a=b%20c"), settings()):
        pass
    assert [path for path, _ in origin.seen] == ["/hops/1?a=b%20c", "/hops/0", "/audio"]
    for _, headers in origin.seen:
        assert headers == {
            "Host": f"127.0.0.1:{origin.port}",
            "User-Agent": f"diarist/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",  # decimal
        "0x7f.0.0.1",
        "0x7f000001",
        "0177.0.0.1",  # octal
        "127.1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",  # noqa: S104 - refused, not bound
        "[::]",
        "[::1]",
        "[::127.0.0.1]",  # IPv4-compatible
        "[64:ff9b::7f00:1]",  # NAT64
        "[2002:7f00:1::1]",  # 6to4
        "[2001:0:53aa:64c:0:0:80ff:fffe]",  # Teredo
    ],
)
def test_no_spelling_of_loopback_is_reached(origin: FakeOrigin, host: str) -> None:
    origin.seen.clear()
    message = failure(origin.url("/audio" + SIGNED, host), CLOSED, AudioRefused)
    assert "DIARIST_FETCH_ALLOWED_NETWORKS" in message
    assert origin.seen == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"])
def test_an_operator_can_open_a_private_network(origin: FakeOrigin, host: str) -> None:
    using = settings(fetch_allowed_networks="10.0.0.0/8, 127.0.0.0/8, ::1/128")
    if host == "localhost":
        hosts = {item[4][0] for item in socket.getaddrinfo(host, origin.port, type=socket.SOCK_STREAM)}
        assert hosts <= {"127.0.0.1", "::1"}
    with fetched(origin.url("/audio", host), using) as file:
        assert file.read_bytes() == BODY


def test_an_opened_network_opens_no_other(origin: FakeOrigin) -> None:
    failure(origin.url("/audio"), settings(fetch_allowed_networks="10.0.0.0/8"), AudioRefused)


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # metadata: AWS, Azure, GCP
        "169.254.170.2",  # ECS credentials
        "100.100.100.200",  # Alibaba's metadata; carrier-grade NAT
        "192.0.0.192",  # Oracle's
        "168.63.129.16",  # Azure's wire server
        "192.88.99.1",
        "198.18.0.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "fe80::1",
        "fec0::1",
        "fd00:ec2::254",  # AWS metadata
        "ff02::1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2001:db8::1",
        "2002:a00:1::",
        "5f00::1",
        "100::1",
    ],
)
def test_no_special_address_is_public(address: str) -> None:
    assert not fetch._may_reach(ip_address(address), ())


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_ordinary_addresses_are_public(address: str) -> None:
    assert fetch._may_reach(ip_address(address), ())


class FakeDNS:
    """Stands for the name servers of the world: each look-up of a name gets the next of its answers."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): list(lists) for name, lists in answers.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, **_: object) -> list[Any]:
        self.asked.append(host)
        lists = self.answers.get(host)
        if not lists:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        addresses = lists.pop(0) if len(lists) > 1 else lists[0]
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeDNS]:
    def install(**answers: list[list[str]]) -> FakeDNS:
        fake = FakeDNS(**answers)
        monkeypatch.setattr(socket, "getaddrinfo", fake)
        return fake

    return install


def test_a_name_is_resolved_once_and_never_again_between_check_and_connection(
    origin: FakeOrigin, dns: Callable[..., FakeDNS]
) -> None:
    fake = dns(rebind_example=[["127.0.0.1"], ["127.0.0.2"]])
    with fetched(origin.url("/audio", "rebind.example"), settings(fetch_allowed_networks="127.0.0.1/32")) as file:
        assert file.read_bytes() == BODY
    assert fake.asked == ["rebind.example"]
    failure(origin.url("/audio", "rebind.example"), settings(fetch_allowed_networks="127.0.0.1/32"), AudioRefused)


def test_every_hop_resolves_and_checks_again(origin: FakeOrigin, dns: Callable[..., FakeDNS]) -> None:
    fake = dns(rebind_example=[["127.0.0.1"], ["127.0.0.2"]])
    using = settings(fetch_allowed_networks="127.0.0.1/32")
    failure(origin.url("/to//audio", "rebind.example"), using, AudioRefused)
    assert fake.asked == ["rebind.example", "rebind.example"]


def test_one_private_address_among_public_ones_is_enough_to_refuse(
    origin: FakeOrigin, dns: Callable[..., FakeDNS]
) -> None:
    dns(mixed_example=[["8.8.8.8", "10.0.0.1"]], metadata_google_internal=[["169.254.169.254"]])
    failure("http://mixed.example/audio", CLOSED, AudioRefused)
    failure("http://metadata.google.internal/computeMetadata/v1/", CLOSED, AudioRefused)


def test_the_next_address_is_tried_where_the_first_does_not_answer(
    origin: FakeOrigin, dns: Callable[..., FakeDNS]
) -> None:
    dns(two_example=[["127.0.0.9", "127.0.0.1"]])  # the server listens on the second only
    with fetched(origin.url("/audio", "two.example"), settings()) as file:
        assert file.read_bytes() == BODY


def test_a_redirect_into_a_private_network_is_refused(origin: FakeOrigin, dns: Callable[..., FakeDNS]) -> None:
    dns(public_example=[["127.0.0.1"]], private_example=[["10.0.0.7"]])
    using = settings(fetch_allowed_networks="127.0.0.1/32")
    inner = origin.url("/to/http://private.example/x" + SIGNED, "public.example")
    message = failure(origin.url(f"/to/{inner}", "public.example"), using, AudioRefused)
    assert "http://private.example/x is refused" in message
    assert "10.0.0.7" not in message


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://me:s3cr3t@127.0.0.1/x", "gopher://127.0.0.1/_x"]
)
def test_a_redirect_obeys_the_same_rules_as_the_first_url(origin: FakeOrigin, target: str) -> None:
    failure(origin.url(f"/to/{target}"), settings(), AudioRefused)


def test_five_redirects_are_followed_and_no_more(origin: FakeOrigin) -> None:
    origin.seen.clear()
    with fetched(origin.url("/hops/4"), settings()):
        pass
    assert len(origin.seen) == 6
    assert "more than 5 times" in failure(origin.url("/hops/5"), settings(), AudioUnreachable)


def test_a_redirect_that_cannot_be_read_is_an_error(origin: FakeOrigin) -> None:
    failure(origin.url("/bad-location"), settings(), AudioUnreachable)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://files.example/x.mp3",
        "gopher://127.0.0.1:25/_x",
        "data:audio/wav;base64,AAAA",
        "concat:/etc/passwd|/etc/hosts",
        "dict://127.0.0.1:11211/",
        "jar:http://127.0.0.1/x",
        "//127.0.0.1/x",
        "127.0.0.1/x",
        "/etc/passwd",
        "http://",
        "http:///x",
        "http://[::1",
        "http://１２７.0.0.1/",  # noqa: RUF001 - full-width digits
        "http://host:99999/",
        "http://files.example\\@127.0.0.1/",
        "http://files.example/\r\nX-Injected: 1",
        "http://me:s3cr3t@files.example/x",
        "http://me@files.example/x",
        "https://:s3cr3t@files.example/x",
        "",
    ],
)
def test_only_plain_http_urls_without_credentials_are_opened(url: str, dns: Callable[..., FakeDNS]) -> None:
    fake = dns(files_example=[["8.8.8.8"]])
    failure(url, CLOSED, AudioRefused)
    assert fake.asked == []


@pytest.mark.parametrize("status", [204, 206, 304, 400, 401, 403, 404, 410, 429, 500, 503])
def test_a_status_that_is_no_recording_is_told_without_its_body(origin: FakeOrigin, status: int) -> None:
    message = failure(origin.url(f"/status/{status}{SIGNED}"), settings(), AudioUnreachable)
    assert f"status {status}" in message
    assert f"127.0.0.1:{origin.port}/status/{status}" in message


@pytest.mark.parametrize("path", ["/short", "/chunked-short", "/not-http", "/endless-head"])
def test_a_broken_answer_is_an_error_and_never_a_short_file(origin: FakeOrigin, path: str) -> None:
    assert "did not answer in full" in failure(origin.url(path), settings(), AudioUnreachable)


def test_a_port_where_nobody_listens_and_a_name_nobody_knows(dns: Callable[..., FakeDNS]) -> None:
    with socket.socket() as bound:  # bound, but not listening
        bound.bind(("127.0.0.1", 0))
        dns(here_example=[["127.0.0.1"]])
        url = f"http://here.example:{bound.getsockname()[1]}/x{SIGNED}"
        assert "does not accept a connection" in failure(url, settings(), AudioUnreachable)
    assert "no address" in failure(f"http://nowhere.example/x{SIGNED}", settings(), AudioUnreachable)


def test_a_name_that_cannot_be_a_name_is_unreachable() -> None:
    failure(f"http://{'a' * 70}.example/x", settings(), AudioUnreachable)
    failure("http://a..b/x", settings(), AudioUnreachable)


def test_an_announced_size_over_the_limit_is_refused_before_the_download(origin: FakeOrigin) -> None:
    started = time.monotonic()
    message = failure(origin.url("/announced-large"), settings(max_bytes=1000), AudioTooLarge)
    assert str(10**15) in message
    assert "limit is 1000" in message
    assert time.monotonic() - started < SOON


@pytest.mark.parametrize("path", ["/endless", "/chunked", "/until-closed"])
def test_an_unannounced_size_over_the_limit_stops_the_download(origin: FakeOrigin, path: str) -> None:
    message = failure(origin.url(path), settings(max_bytes=100_000), AudioTooLarge)
    assert "limit is 100000" in message


def test_a_recording_of_exactly_the_limit_is_accepted(origin: FakeOrigin) -> None:
    for path in ("/audio", "/chunked"):
        with fetched(origin.url(path), settings(max_bytes=len(BODY))) as file:
            assert file.stat().st_size == len(BODY)
        failure(origin.url(path), settings(max_bytes=len(BODY) - 1), AudioTooLarge)


def test_a_compressed_answer_is_never_unpacked(origin: FakeOrigin) -> None:
    assert "compressed" in failure(origin.url("/gzip-bomb"), settings(), AudioUnreachable)


@pytest.mark.parametrize("path", ["/drip", "/drip-until-closed", "/drip-head", "/silent"])
def test_a_slow_answer_meets_the_deadline_wherever_it_waits(origin: FakeOrigin, path: str) -> None:
    started = time.monotonic()
    message = failure(origin.url(path + SIGNED), settings(fetch_timeout_seconds=0.5), AudioUnreachable)
    assert "did not answer in full within 0.5 s" in message
    assert time.monotonic() - started < SOON


@pytest.mark.parametrize("path", ["/drip", "/drip-head", "/silent", "/endless"])
def test_a_caller_who_goes_away_ends_the_download(origin: FakeOrigin, path: str) -> None:
    started = time.monotonic()
    url = origin.url(path)
    failure(url, settings(), Cancelled, cancelled=lambda: time.monotonic() - started > 0.3)
    assert time.monotonic() - started < SOON


def test_a_slow_name_server_meets_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(20) and [])
    started = time.monotonic()
    failure("http://slow.example/x", settings(fetch_timeout_seconds=0.4), AudioUnreachable)
    assert time.monotonic() - started < SOON
    release.set()


def test_nothing_signed_is_ever_logged(origin: FakeOrigin, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with fetched(origin.url("/audio" + SIGNED), settings()):
        pass
    inner = origin.url("/status/404" + SIGNED)
    failure(origin.url(f"/to/{inner}"), settings(), AudioUnreachable)
    failure(origin.url("/audio" + SIGNED), CLOSED, AudioRefused)
    assert f"fetched http://127.0.0.1:{origin.port}/audio: {len(BODY)} bytes" in caplog.text
    assert "its host is at 127.0.0.1" in caplog.text  # the operator may know
    assert "Signature" not in caplog.text
    assert "s3cr3t" not in caplog.text


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def _trusted(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    bundle = tmp_path_factory.mktemp("trust") / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setattr(certifi, "where", lambda: str(bundle))


@pytest.mark.usefixtures("_trusted")
def test_tls_checks_the_name_though_it_connects_to_the_address(
    authority: trustme.CA, dns: Callable[..., FakeDNS]
) -> None:
    names: list[str | None] = []

    def certificate(context: ssl.SSLContext) -> None:
        authority.issue_cert("audio.example").configure_cert(context)
        context.sni_callback = lambda _socket, name, _context: names.append(name)

    dns(audio_example=[["127.0.0.1"]], other_example=[["127.0.0.1"]])
    with serving(certificate) as secure:
        with fetched(secure.url("/audio", "audio.example", "https"), settings()) as file:
            assert file.read_bytes() == BODY
        assert secure.seen[0][1]["Host"] == f"audio.example:{secure.port}"
        assert "TLS failed" in failure(secure.url("/audio", "other.example", "https"), settings(), AudioUnreachable)
        message = failure(
            secure.url("/drip", "audio.example", "https"), settings(fetch_timeout_seconds=3), AudioUnreachable
        )
        assert "did not answer in full within" in message
    assert names == ["audio.example", "other.example", "audio.example"]


def test_an_operator_s_own_authority_is_trusted_where_openssl_s_variable_names_it(
    authority: trustme.CA,
    dns: Callable[..., FakeDNS],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    bundle = tmp_path_factory.mktemp("own") / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    dns(audio_example=[["127.0.0.1"]])
    with (
        serving(authority.issue_cert("audio.example").configure_cert) as secure,
        fetched(secure.url("/audio", "audio.example", "https"), settings()) as file,
    ):
        assert file.read_bytes() == BODY


def test_an_unknown_authority_is_not_trusted(authority: trustme.CA, dns: Callable[..., FakeDNS]) -> None:
    dns(audio_example=[["127.0.0.1"]])
    with serving(authority.issue_cert("audio.example").configure_cert) as secure:
        assert "TLS failed" in failure(secure.url("/audio", "audio.example", "https"), settings(), AudioUnreachable)
        assert secure.seen == []


@given(st.text(max_size=60) | st.from_regex(r"https?://[a-z:@\\\[\]/?#.0-9 %]{0,40}", fullmatch=True))
def test_any_text_can_be_redacted(text: str) -> None:
    shown = redacted(text)
    assert shown.isprintable()
    assert len(shown) < 300


@given(st.from_regex(r"[A-Za-z0-9%._~!$&'()*+,;=-]{1,20}", fullmatch=True), st.sampled_from(["http", "https", "ftp"]))
def test_no_secret_survives_redaction(text: str, scheme: str) -> None:
    secret = f"Q{text}Q"
    shown = redacted(f"{scheme}://me:{secret}@host.example/x?signature={secret}#{secret}")
    assert shown in {f"{scheme}://host.example/x", "(an unreadable URL)"}


RAW = bytes(range(256)) * 50


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(RAW).decode(),
        base64.encodebytes(RAW).decode(),
        base64.encodebytes(RAW).decode().replace("\n", "\r\n") + " \n",
        "data:audio/mpeg;base64," + base64.b64encode(RAW).decode(),
        " \ndata:audio/webm;codecs=opus;base64,\n" + base64.b64encode(RAW).decode(),
        "DATA:;BASE64," + base64.b64encode(RAW).decode(),
    ],
)
def test_base64_is_decoded_with_or_without_line_breaks_and_prefix(text: str) -> None:
    with decoded_base64(text, CLOSED) as file:
        assert file.read_bytes() == RAW
    assert not file.exists()


@given(st.binary(min_size=1, max_size=200), st.integers(1, 9), st.integers(1, 30))
def test_base64_does_not_depend_on_where_its_slices_end(raw: bytes, slice_size: int, line: int) -> None:
    text = base64.b64encode(raw).decode()
    text = "\n".join(text[start : start + line] for start in range(0, len(text), line))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch, "_BASE64_SLICE", slice_size)
        with decoded_base64(text, CLOSED) as file:
            assert file.read_bytes() == raw


@pytest.mark.parametrize(
    "text",
    ["AAA", "AAAAA", "A===", "=", "AA==AAAA", "AA=A", "AA-_", "AAA*", "AAÄ=", "data:audio/wav,AAAA", "http://x/y.mp3"],
)
@pytest.mark.parametrize("slice_size", [1, 4, 1 << 22])
def test_what_is_not_base64_is_refused_in_one_clear_error(
    text: str, slice_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_BASE64_SLICE", slice_size)
    with pytest.raises(BadRequest, match="is not base64") as caught, decoded_base64(text, CLOSED):
        pass
    assert caught.value.status == 400


@pytest.mark.parametrize("text", ["", " \n", "data:audio/wav;base64,"])
def test_empty_base64_is_an_error(text: str) -> None:
    with pytest.raises(AudioUndecodable, match="empty"), decoded_base64(text, CLOSED):
        pass


@pytest.mark.parametrize("size", [998, 999, 1000])
def test_the_limit_on_base64_counts_decoded_bytes(size: int) -> None:
    text = base64.encodebytes(bytes(size)).decode()
    with decoded_base64(text, settings(max_bytes=size)) as file:
        assert file.stat().st_size == size
    with pytest.raises(AudioTooLarge, match=f"{size} bytes, the limit is {size - 1}"):  # noqa: SIM117 - the claim
        with decoded_base64(text, settings(max_bytes=size - 1)):
            pass


def test_a_request_is_opened_by_whichever_input_it_has(origin: FakeOrigin) -> None:
    by_url = TranscriptionRequest(audio_file=origin.url("/audio"))
    by_text = TranscriptionRequest(audio_b64=base64.b64encode(BODY).decode())
    for request in (by_url, by_text):
        with opened(request, settings()) as file:
            assert file.read_bytes() == BODY


def test_a_caller_who_has_gone_gets_no_download(origin: FakeOrigin) -> None:
    origin.seen.clear()
    request = TranscriptionRequest(audio_file=origin.url("/audio"))
    with pytest.raises(Cancelled), opened(request, settings(), cancelled=lambda: True):
        pass
    assert origin.seen == []


TOKEN = {"Authorization": "Token s3cr3t"}


@pytest.fixture
def storage() -> Iterator[FakeOrigin]:
    """A second server on this machine, at an address that is not public either."""
    with serving() as running:
        yield running


def trust(origin: FakeOrigin, **changes: object) -> Trust:
    return replace(Trust(origin.url(""), lambda: TOKEN), **changes)  # type: ignore[arg-type]


def refusal(url: str, kind: type[DiaristError], trusted: Trust | None) -> DiaristError:
    with pytest.raises(kind) as caught, fetched(url, CLOSED, trust=trusted):
        pytest.fail("the file was handed over")
    assert "s3cr3t" not in str(caught.value)
    assert SECRET not in str(caught.value)
    return caught.value


def test_a_trusted_server_may_be_private_and_is_told_who_asks(origin: FakeOrigin) -> None:
    origin.seen.clear()
    with fetched(origin.url("/audio" + SIGNED), CLOSED, trust=trust(origin)) as file:
        assert file.read_bytes() == BODY
    assert origin.seen[0][1]["Authorization"] == TOKEN["Authorization"]


def test_trust_is_by_scheme_host_and_port(origin: FakeOrigin, storage: FakeOrigin) -> None:
    storage.seen.clear()
    refusal(storage.url("/audio"), AudioRefused, trust(origin))
    refusal(origin.url("/audio", host="localhost"), AudioRefused, trust(origin))
    assert not trust(origin).covers(origin.url("/audio", scheme="https"))
    assert not trust(origin).covers("http://[::1")
    assert trust(origin).covers(origin.url("/any?thing#at-all", host="127.0.0.1"))
    assert Trust("https://Label.example/ls/", dict).covers("https://label.example:443/data/x")
    assert storage.seen == []


def test_what_a_trusted_server_redirects_to_may_be_private_but_gets_no_headers(
    origin: FakeOrigin, storage: FakeOrigin
) -> None:
    with fetched(origin.url(f"/to/{storage.url('/audio' + SIGNED)}"), CLOSED, trust=trust(origin)) as file:
        assert file.read_bytes() == BODY
    assert "Authorization" not in storage.seen[0][1]


def test_only_the_first_hop_after_a_trusted_server_is_trusted(origin: FakeOrigin, storage: FakeOrigin) -> None:
    with serving() as inner:
        away = storage.url(f"/to/{inner.url('/audio')}")
        refusal(origin.url(f"/to/{away}"), AudioRefused, trust(origin))
        refusal(origin.url(f"/to/{storage.url('/audio')}"), AudioRefused, trust(origin, hands_over=False))
        assert inner.seen == []


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.170.2",
        "[fe80::1]",
        "100.100.100.200",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "168.63.129.16",
        "192.0.0.192",
        "0.0.0.0",  # noqa: S104 - a test of the address itself
        "224.0.0.1",
    ],
)
def test_no_redirect_of_a_trusted_server_reaches_a_cloud_s_metadata(origin: FakeOrigin, host: str) -> None:
    refusal(origin.url(f"/to/http://{host}/latest/meta-data/"), AudioRefused, trust(origin))


def test_no_other_server_can_send_the_token_to_the_trusted_one(origin: FakeOrigin, storage: FakeOrigin) -> None:
    back = storage.url(f"/to/{origin.url('/audio')}")
    for url in (back, origin.url(f"/to/{back}")):
        origin.seen.clear()
        with fetched(url, settings(), trust=trust(origin)):
            pass
        assert "Authorization" not in origin.seen[-1][1]
    refusal(origin.url(f"/to/{back}"), AudioRefused, trust(origin))


@pytest.mark.parametrize(
    ("path", "transient"),
    [
        *[(f"/status/{status}", True) for status in (408, 425, 429, 500, 502, 503, 504)],
        *[(f"/status/{status}", False) for status in (204, 400, 401, 403, 404, 410)],
        ("/short", True),
        ("/not-http", True),
        ("/bad-location", False),
        ("/gzip-bomb", False),
    ],
)
def test_an_error_says_whether_a_later_try_may_do_better(origin: FakeOrigin, path: str, transient: bool) -> None:
    with pytest.raises(AudioUnreachable) as caught, fetched(origin.url(path), settings()):
        pass
    assert caught.value.transient is transient


def test_a_server_that_is_away_or_too_slow_may_do_better_later(
    origin: FakeOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as bound:  # bound, but not listening
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/x"
        with pytest.raises(AudioUnreachable) as caught, fetched(url, settings()):
            pass
    assert caught.value.transient
    with pytest.raises(AudioUnreachable) as caught, fetched(origin.url("/silent"), settings(fetch_timeout_seconds=0.3)):
        pass
    assert caught.value.transient
    for code, transient in ((socket.EAI_AGAIN, True), (socket.EAI_NONAME, False)):
        monkeypatch.setattr(socket, "getaddrinfo", failing(socket.gaierror(code, "no")))
        with pytest.raises(AudioUnreachable) as caught, fetched("http://nowhere.example/x", settings()):
            pass
        assert caught.value.transient is transient


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:  # noqa: ANN401
        raise error

    return fail


def test_a_wrong_certificate_stays_wrong(authority: trustme.CA, dns: Callable[..., FakeDNS]) -> None:
    dns(audio_example=[["127.0.0.1"]])
    with serving(authority.issue_cert("audio.example").configure_cert) as secure:
        url = secure.url("/audio", "audio.example", "https")
        with pytest.raises(AudioUnreachable, match="TLS failed") as caught, fetched(url, settings()):
            pass
    assert not caught.value.transient


def test_a_trusted_server_s_words_tell_whether_its_error_lasts(origin: FakeOrigin) -> None:
    said: list[tuple[int, bytes]] = []

    def lasting(status: int, body: bytes) -> bool:
        said.append((status, body))
        return True

    error = refusal(origin.url("/status/500"), AudioUnreachable, trust(origin, lasting=lasting))
    assert not error.transient
    assert said == [(500, SECRET.encode())]


@pytest.mark.parametrize("trusted", [False, True])
def test_an_answer_that_breaks_off_goes_on_where_ranges_are_promised(origin: FakeOrigin, trusted: bool) -> None:
    origin.seen.clear()
    with fetched(origin.url("/cut-off"), settings(), trust=trust(origin) if trusted else None) as file:
        assert file.read_bytes() == BODY
    ranges = [headers.get("Range") for _, headers in origin.seen]
    assert ranges == ["bytes=0-" if trusted else None, "bytes=100000-", "bytes=160000-", "bytes=220000-"]
    assert all(("Authorization" in headers) is trusted for _, headers in origin.seen)


@pytest.mark.parametrize("path", ["/cut-off-and-changed", "/cut-off-for-good"])
def test_parts_of_two_recordings_are_never_joined_nor_a_short_one_taken_for_whole(
    origin: FakeOrigin, path: str
) -> None:
    message = failure(origin.url(path), settings(), AudioUnreachable)
    assert f"100000 of {len(BODY)} bytes came" in message


def test_the_limits_on_bytes_and_time_count_all_parts(origin: FakeOrigin) -> None:
    assert "limit is 120000" in failure(origin.url("/cut-off"), settings(max_bytes=120_000), AudioTooLarge)


def test_an_upload_whose_length_label_studio_hides_arrives_whole(origin: FakeOrigin) -> None:
    with fetched(origin.url("/upload"), CLOSED, trust=trust(origin)) as file:
        assert file.read_bytes() == BODY
    refusal(origin.url("/empty-upload"), AudioUndecodable, trust(origin))


def test_a_redirection_is_told_without_going_there(origin: FakeOrigin, storage: FakeOrigin) -> None:
    url = storage.url("/audio?X-Amz-Signature=s3cr3t")
    assert redirection(origin.url(f"/to/{url}"), CLOSED, trust(origin)) == url
    assert redirection(origin.url("/audio"), CLOSED, trust(origin)) is None
    with pytest.raises(AudioUnreachable, match="status 404"):
        redirection(origin.url("/status/404"), CLOSED, trust(origin))
    assert storage.seen == []


def test_a_url_is_public_where_all_its_addresses_are(dns: Callable[..., FakeDNS]) -> None:
    dns(public_example=[["8.8.8.8", "2606:4700::1111"]], mixed_example=[["8.8.8.8", "10.0.0.1"]])
    assert is_public("https://public.example/x" + SIGNED, settings())
    for url in ("https://mixed.example/x", "http://127.0.0.1/x", "http://nowhere.example/x", "s3://b/x", "http://["):
        assert not is_public(url, settings())
    assert not is_public("https://me:s3cr3t@public.example/x", settings())
