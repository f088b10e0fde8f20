"""URL or base64 -> a bounded, private, temporary file; an answer -> a presigned URL. The only code that opens a URL.

A caller's URL is hostile until shown otherwise (OWASP, Server-Side Request Forgery Prevention): it may name a
service inside the operator's network, redirect there, resolve there only at the second look-up, or never end.
So the address is checked where the connection is made: `_dial` resolves the host, checks every address, and
connects to the very one it checked, for every redirect hop; Host header, SNI and certificate still use the name.
A host may name one server that it trusts by its origin (`Trust`): the Label Studio that a task came from.

Why not requests-hardened 1.3.0, which does much of this: its filter is a module function that only knows
loopback and public (an operator must be able to open 10.0.0.0/8), it checks the first address only, and neither
it nor requests bounds the time of a whole download: a byte now and then resets their read timeout. urllib3's pool
below them also writes path and query to the debug log, and a query may be a signature. urllib3's connections,
used directly, have no pool, proxy, cookie, netrc or redirect to switch off.
"""

from __future__ import annotations

import binascii
import logging
import os
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from http.client import HTTPException
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.parse import urljoin

import certifi
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import HTTPResponse
from urllib3.util import Url, parse_url

from diarist import __version__
from diarist.errors import AudioRefused, AudioTooLarge, AudioUndecodable, AudioUnreachable, BadRequest, Cancelled
from diarist.request import KnownSpeaker, TranscriptionRequest
from diarist.settings import Network, Settings

MAX_REDIRECTS = 5
MAX_RESUMES = 1000  # of one download; Label Studio sends 8 MB at a time of what it reads from a bucket
CONNECT_TIMEOUT_SECONDS = 10.0  # for one address, and again for its TLS handshake

_log = logging.getLogger(__name__)

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = {301, 302, 303, 307, 308}
_TRY_LATER = {408, 425, 429}  # and every 5xx
_READ_BYTES = 1 << 16
_EXPLANATION_BYTES = 4096  # of a trusted server's error, for `Trust.lasting`
_BASE64_SLICE = 1 << 22  # characters decoded at once
_DATA_URL = re.compile(r"\s*data:[^,]{0,200};base64,", re.IGNORECASE)
_WHITESPACE = " \t\r\n"

# Special-purpose ranges that `is_global` lets through in some supported Python (gh-113171), or that reach
# inside: IANA's special-purpose address registries. Azure's 168.63.129.16 is a public address in form only.
_NOT_PUBLIC: tuple[Network, ...] = (
    IPv4Network("192.0.0.0/24"),  # IETF protocol assignments; Oracle Cloud's metadata
    IPv4Network("192.88.99.0/24"),  # 6to4 relay anycast
    IPv4Network("168.63.129.16/32"),  # Azure's wire server
    IPv6Network("2001::/23"),  # Teredo, ORCHID, benchmarking
    IPv6Network("2002::/16"),  # 6to4: holds any IPv4 address
    IPv6Network("3fff::/20"),  # documentation
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all of IPv6 that is handed out to the public
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address that is reached

_ANYWHERE: tuple[Network, ...] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
# Where an object store of one's own stands. Not among them: link-local addresses, and those of cloud metadata that
# look like private ones (Alibaba's, and AWS's by IPv6).
_INSIDE: tuple[Network, ...] = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("127.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    *IPv4Network("100.64.0.0/10").address_exclude(IPv4Network("100.100.100.200/32")),
    IPv6Network("::1/128"),
    *IPv6Network("fc00::/7").address_exclude(IPv6Network("fd00:ec2::/32")),
)


def never() -> bool:
    """The `cancelled` of a caller that never goes away."""
    return False


def redacted(url: str) -> str:
    """A URL as it may be shown: without query, fragment and credentials.

    >>> redacted("https://user:password@files.example:8443/calls/1.mp3?signature=secret#t=3")
    'https://files.example:8443/calls/1.mp3'
    >>> redacted("not a URL at all"), redacted("data:audio/wav;base64,AAAA")
    ('(an unreadable URL)', '(a URL without a host)')
    """
    parts = _parsed(url)
    if parts is None:
        return "(an unreadable URL)"
    if not parts.host:
        return "(a URL without a host)"
    scheme = f"{parts.scheme}://" if parts.scheme else ""
    port = "" if parts.port is None else f":{parts.port}"
    path = parts.path or ""
    return f"{scheme}{parts.host}{port}{path[:200]}{'…' if len(path) > 200 else ''}"  # noqa: PLR2004 - enough to know it


@dataclass(frozen=True, slots=True)
class Trust:
    """A server that an operator named: it may be at any address, and it is told who asks.

    Where it redirects to is trusted for one hop, since that is a presigned URL of its storage: it may be in a private
    network, but not link-local, and it gets no headers. Any further hop is judged as every caller's URL is.
    """

    origin: str  # "http://label-studio:8080"; a path is ignored
    headers: Callable[[], Mapping[str, str]] = field(repr=False)  # asked anew for each request, and sent to no other
    hands_over: bool = True  # whether what it redirects to is trusted
    lasting: Callable[[int, bytes], bool] = lambda _status, _body: False  # whether an error stays, by its first bytes

    def covers(self, url: str) -> bool:
        """Whether a URL is one of that server: the same scheme, host and port."""
        return _origin(url) is not None and _origin(url) == _origin(self.origin)


Source = TranscriptionRequest | KnownSpeaker
"""What names a recording or a clip, by `audio_file` or by `audio_b64`."""


def opened(
    source: Source, settings: Settings, *, cancelled: Callable[[], bool] = never
) -> AbstractContextManager[Path]:
    """The recording of a request as a local file, removed at the end; see `fetched` and `decoded_base64`."""
    if source.audio_file is not None:
        return fetched(source.audio_file, settings, cancelled=cancelled)
    return decoded_base64(source.audio_b64 or "", settings)


@contextmanager
def fetched(
    url: str, settings: Settings, *, cancelled: Callable[[], bool] = never, trust: Trust | None = None
) -> Iterator[Path]:
    """Download a recording to a private temporary file, which is removed in every case.

    `cancelled` is polled ten times a second, from a second thread. Nothing is tried twice, but every address
    of a host is tried in turn, and an answer that breaks off goes on where the server can send ranges of it.

    Raises:
        AudioRefused: scheme, credentials, or an address that is neither public nor in `fetch_allowed_networks`.
        AudioUnreachable: no such host, no connection, an error status, a broken or a too slow answer; transient
            where a later try may find the server well again.
        AudioTooLarge: over `max_bytes`, announced or sent.
        Cancelled: `cancelled` became true.
    """
    with TemporaryDirectory(prefix="diarist-") as folder:
        path = Path(folder) / "recording"
        with path.open("wb") as file, _Watch(url, settings.fetch_timeout_seconds, cancelled) as watch:
            size = _download(url, file, settings, watch, trust)
        _log.info("fetched %s: %d bytes", redacted(url), size)
        yield path


@contextmanager
def decoded_base64(text: str, settings: Settings) -> Iterator[Path]:
    """Decode base64 (RFC 4648 section 4, line breaks allowed, `data:…;base64,` in front too) to a temporary file.

    Raises:
        BadRequest: a character outside the alphabet, or wrong padding.
        AudioTooLarge: over `max_bytes`; found before anything is decoded.
        AudioUndecodable: nothing in it.
    """
    prefix = _DATA_URL.match(text, 0, 300)
    start = prefix.end() if prefix else 0
    num_characters = len(text) - start - sum(text.count(space, start) for space in _WHITESPACE)
    num_bytes = num_characters * 3 // 4 - text.count("=", max(start, len(text) - 16))
    if num_bytes > settings.max_bytes:
        raise _too_large(f"audio_b64 holds {num_bytes} bytes", settings)
    if num_characters == 0:
        raise AudioUndecodable("audio_b64 is empty")
    with TemporaryDirectory(prefix="diarist-") as folder:
        path = Path(folder) / "recording"
        with path.open("wb") as file:
            for part in _decoded_slices(text, start):
                file.write(part)
        yield path


def check(url: str) -> None:
    """Refuse what `deliver` could never use, as far as the text can tell; addresses are checked when connecting.

    Raises:
        AudioRefused: not http or https, no host, or credentials.
    """
    _checked(url)


def deliver(url: str, content: bytes, settings: Settings) -> None:
    """PUT JSON text to a presigned URL, by the rules of `fetched` for addresses and time; once, and without redirects.

    Raises:
        AudioRefused: as for `fetched`.
        AudioUnreachable: as for `fetched`; or a status that is not of the 2xx.
    """
    with (
        _Watch(url, settings.fetch_timeout_seconds, never) as watch,
        _answer(_Hop(url, settings), watch, method="PUT", content=content) as answer,
    ):
        if answer.status // 100 != 2:  # noqa: PLR2004 - success, of which storages use several
            message = f"{redacted(url)} answered with status {answer.status}, where 2xx is needed"
            raise AudioUnreachable(message, transient=_may_pass(answer.status))
    _log.info("delivered to %s: %d bytes", redacted(url), len(content))


def _decoded_slices(text: str, start: int) -> Iterator[bytes]:
    """Decode a part at a time: a second copy of a long text is never in memory."""
    padding = text.find("=", start)
    if padding >= 0 and "".join(text[padding:].split()) not in {"=", "=="}:
        raise _not_base64()
    carry = b""
    try:
        for position in range(start, len(text), _BASE64_SLICE):
            part = text[position : position + _BASE64_SLICE].encode("ascii")
            carry += part.translate(None, _WHITESPACE.encode())
            whole = len(carry) - len(carry) % 4
            yield binascii.a2b_base64(carry[:whole], strict_mode=True)
            carry = carry[whole:]
        yield binascii.a2b_base64(carry, strict_mode=True)  # what is left over is an error, or nothing
    except (UnicodeEncodeError, binascii.Error):
        raise _not_base64() from None


def _not_base64() -> BadRequest:
    message = (
        "audio_b64 is not base64: the alphabet is A-Z, a-z, 0-9, + and /, padded with = to a multiple of four "
        "characters; line breaks and a leading data:audio/…;base64, are allowed"
    )
    return BadRequest(message)


def redirection(url: str, settings: Settings, trust: Trust, *, cancelled: Callable[[], bool] = never) -> str | None:
    """Where a URL of a trusted server leads, without going there; None where the server sends the recording itself.

    Raises:
        AudioRefused, AudioUnreachable, Cancelled: as for `fetched`.
    """
    with _Watch(url, settings.fetch_timeout_seconds, cancelled) as watch:
        hop = _Hop(url, settings, trust)
        with _answer(hop, watch) as answer:
            following = hop.after(answer)
            if following is None:
                _check_status(hop, answer, watch)
            return None if following is None else following.url


def is_public(url: str, settings: Settings, *, cancelled: Callable[[], bool] = never) -> bool:
    """Whether anybody may download from a URL's host: http or https, no credentials, and only public addresses.

    Raises:
        Cancelled: as for `fetched`.
    """
    try:
        parts = _checked(url)
        with _Watch(url, settings.fetch_timeout_seconds, cancelled) as watch:
            addresses = _resolve(str(parts.host).strip("[]"), _port(parts), url=url, watch=watch)
    except (AudioRefused, AudioUnreachable):
        return False
    return all(_may_reach(ip_address(address[0]), ()) for _, address in addresses)


@dataclass(frozen=True, slots=True)
class _Hop:
    """One URL on the way to a recording, and what may be done to get it."""

    url: str
    settings: Settings
    trust: Trust | None = None
    handed: bool = False  # it came from the trusted server

    @property
    def trusted(self) -> bool:
        """Whether it is a URL of the trusted server."""
        return self.trust is not None and self.trust.covers(self.url)

    @property
    def networks(self) -> tuple[Network, ...]:
        """Those that it may lead into although they are not public."""
        if self.trusted:
            return _ANYWHERE
        return self.settings.fetch_allowed_networks + (_INSIDE if self.handed else ())

    def headers(self) -> Mapping[str, str]:
        """What is sent to this server, and to no other."""
        return self.trust.headers() if self.trust is not None and self.trusted else {}

    def after(self, answer: HTTPResponse) -> _Hop | None:
        """The hop that an answer redirects to."""
        if answer.status not in _REDIRECTS or not answer.headers.get("Location"):
            return None
        following = _next_hop(self.url, answer.headers["Location"])
        if self.trust is None or not self.trusted:  # nobody else may send us there with its headers
            return _Hop(following, self.settings)
        return replace(self, url=following, handed=self.trust.hands_over)


def _origin(url: str) -> tuple[str, str, int] | None:
    parts = _parsed(url)
    if parts is None or not parts.host or parts.scheme not in _PORTS:
        return None
    return parts.scheme, parts.host, _port(parts)


def _port(parts: Url) -> int:
    return parts.port or _PORTS[str(parts.scheme)]


def _download(url: str, file: BinaryIO, settings: Settings, watch: _Watch, trust: Trust | None) -> int:
    """Follow redirects to the recording and write it; its size in bytes."""
    hop = _Hop(url, settings, trust)
    for _ in range(MAX_REDIRECTS + 1):
        # Label Studio says how long an upload is only where a range is asked for; else one cut off would look whole.
        with _answer(hop, watch, extra={"Range": "bytes=0-"} if hop.trusted else None) as answer:
            following = hop.after(answer)
            if following is not None:
                hop = following
                continue
            _check_status(hop, answer, watch)
            whole = _Whole.of(answer, named=hop.trusted)
            try:
                size = _save(hop, answer, file, watch)
            except AudioUnreachable:
                watch.check()
                if whole is None or not watch.size:
                    raise
            else:
                if whole is None or size == whole.size:
                    return size
        return _resumed(hop, whole, file, watch)
    raise AudioUnreachable(f"{redacted(url)} is redirected more than {MAX_REDIRECTS} times")


def _check_status(hop: _Hop, answer: HTTPResponse, watch: _Watch) -> None:
    if answer.status == HTTPStatus.OK or (hop.trusted and _place(answer)[:1] == (0,)):
        return
    if hop.trusted and answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise AudioUndecodable(f"{redacted(hop.url)} is empty: it has 0 bytes")
    transient = _may_pass(answer.status)
    if transient and hop.trust is not None and hop.trusted:
        with _network_errors(hop.url, watch):
            transient = not hop.trust.lasting(answer.status, answer.read1(_EXPLANATION_BYTES))
    message = f"{redacted(hop.url)} answered with status {answer.status}, where 200 is needed"
    raise AudioUnreachable(message, transient=transient)


def _may_pass(status: int) -> bool:
    return status in _TRY_LATER or status >= 500  # noqa: PLR2004 - the server's own errors


def _place(answer: HTTPResponse) -> tuple[int, ...]:
    """Start and size of the whole, of an answer that is a part (RFC 9110, 14.4: `Content-Range: bytes 5-9/10`)."""
    if answer.status != HTTPStatus.PARTIAL_CONTENT:
        return ()
    found = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", answer.headers.get("Content-Range", ""))
    return (int(found[1]), int(found[2])) if found else ()


@dataclass(frozen=True, slots=True)
class _Whole:
    """The recording that parts belong to."""

    size: int
    marks: tuple[str, str]

    @classmethod
    def of(cls, answer: HTTPResponse, *, named: bool) -> _Whole | None:
        """What an answer that starts at the start says; None where its server does not promise ranges of it.

        `named` says that a recording never changes under its name, so that no mark is needed.
        """
        size = answer.headers.get("Content-Length", "")
        sizes = _place(answer)[1:] or ((int(size),) if size.isdecimal() else ())
        promised = answer.headers.get("Accept-Ranges") == "bytes" and (named or any(_marks(answer)))
        return cls(sizes[0], _marks(answer)) if promised and sizes else None

    def goes_on(self, answer: HTTPResponse, start: int) -> bool:
        """Whether an answer is a part of it that starts there."""
        return _place(answer) == (start, self.size) and _marks(answer) == self.marks


def _marks(answer: HTTPResponse) -> tuple[str, str]:
    return answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", "")


def _resumed(hop: _Hop, whole: _Whole, file: BinaryIO, watch: _Watch) -> int:
    """Get the rest of a recording whose answer broke off.

    Label Studio breaks off after 20 s when it sends what is in a bucket (RESOLVER_PROXY_TIMEOUT), and answers
    a range with 8 MB at most.
    """
    for _ in range(MAX_RESUMES):
        start = watch.size
        _log.info("%s broke off after %d of %s bytes: asking for the rest", redacted(hop.url), start, whole.size)
        with _answer(hop, watch, extra={"Range": f"bytes={start}-"}) as answer:
            if not whole.goes_on(answer, start):
                break
            with suppress(AudioUnreachable):
                _save(hop, answer, file, watch)
        watch.check()
        if watch.size == whole.size:
            return watch.size
        if watch.size == start:
            break
    message = f"{redacted(hop.url)} did not answer in full: {watch.size} of {whole.size} bytes came"
    raise AudioUnreachable(message, transient=True)


def _next_hop(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise AudioUnreachable(f"{redacted(url)} redirects to a URL that cannot be read") from None


@contextmanager
def _answer(
    hop: _Hop,
    watch: _Watch,
    *,
    method: str = "GET",
    content: bytes | None = None,
    extra: Mapping[str, str] | None = None,
) -> Iterator[HTTPResponse]:
    """Ask for a URL; the answer's head has arrived, its body has not."""
    url = hop.url
    parts = _checked(url)
    host, port = str(parts.host).strip("[]"), _port(parts)
    headers = {**_HEADERS, **(_CONTENT_HEADERS if content is not None else {}), **(extra or {}), **hop.headers()}
    connection: _HTTP | _HTTPS
    if parts.scheme == "https":
        tls = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE") or certifi.where())  # as httpx does
        connection = _HTTPS(host, port, timeout=CONNECT_TIMEOUT_SECONDS, ssl_context=tls)
    else:
        connection = _HTTP(host, port, timeout=CONNECT_TIMEOUT_SECONDS)
    connection.dial = partial(_dial, host, port, url=url, allowed=hop.networks, watch=watch)
    try:
        with _network_errors(url, watch):
            connection.connect()
            connection.sock.settimeout(hop.settings.fetch_timeout_seconds)  # from here on the watch ends it
            connection.request(method, parts.request_uri, body=content, headers=headers, preload_content=False)
            answer = connection.getresponse()
        with answer:
            yield answer
    finally:
        connection.close()


@contextmanager
def _network_errors(url: str, watch: _Watch) -> Iterator[None]:
    try:
        yield
    except (HTTPError, HTTPException, OSError) as error:
        watch.check()
        reason = "TLS failed" if isinstance(error, ssl.SSLError) else "the connection broke off"
        message = f"{redacted(url)} did not answer in full: {reason} ({type(error).__name__}, {watch.size} bytes came)"
        certificate = isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error)
        raise AudioUnreachable(message, transient=not certificate) from None


_HEADERS = {
    "User-Agent": f"diarist/{__version__}",
    "Accept": "*/*",
    "Accept-Encoding": "identity",  # so that the limit on bytes is one on what travels, too
    "Connection": "close",
}


_CONTENT_HEADERS = {
    "Content-Type": "application/json",
    "x-ms-blob-type": "BlockBlob",  # Azure's Put Blob requires it; other storages do not know it
}


def _save(hop: _Hop, answer: HTTPResponse, file: BinaryIO, watch: _Watch) -> int:
    url, settings = hop.url, hop.settings
    if answer.headers.get("Content-Encoding", "").lower() not in {"", "identity"}:
        raise AudioUnreachable(f"{redacted(url)} sent a compressed answer, though none was accepted")
    announced = answer.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > settings.max_bytes:
        raise _too_large(f"{redacted(url)} holds {announced} bytes", settings)
    while True:
        with _network_errors(url, watch):
            part = answer.read1(_READ_BYTES)
        watch.check()  # an answer cut by the watch looks like one that ended
        if not part:
            return watch.size
        watch.size += len(part)
        if watch.size > settings.max_bytes:
            raise _too_large(f"{redacted(url)} holds at least {watch.size} bytes", settings)
        file.write(part)


def _too_large(what: str, settings: Settings) -> AudioTooLarge:
    return AudioTooLarge(f"{what}, the limit is {settings.max_bytes} (DIARIST_MAX_BYTES)")


def _parsed(url: str) -> Url | None:
    """Split a URL exactly as the connection will; `None` where parsers are known to disagree, or to fail."""
    if not url.isprintable() or "\\" in url:
        return None
    try:
        return parse_url(url.strip())
    except HTTPError:
        return None


def _checked(url: str) -> Url:
    """The parts of a URL that may be asked for, as far as its text can tell.

    Raises:
        AudioRefused: not http or https, no host, or credentials.
    """
    parts = _parsed(url)
    if parts is None or not parts.host or parts.scheme not in _PORTS:
        message = f"{redacted(url)} is refused: an http:// or https:// URL with a host is needed"
        raise AudioRefused(message)
    if parts.auth is not None:
        message = f"{redacted(url)} is refused: it holds credentials; use a signed URL instead"
        raise AudioRefused(message)
    return parts


def _dial(host: str, port: int, *, url: str, allowed: tuple[Network, ...], watch: _Watch) -> socket.socket:
    """Connect to a host, at an address that has been checked, and to no other."""
    addresses = _resolve(host, port, url=url, watch=watch)
    for _, address in addresses:
        if not _may_reach(ip_address(address[0]), allowed):
            _log.warning("refused %s: its host is at %s", redacted(url), address[0])
            message = (
                f"{redacted(url)} is refused: its address is not public; an operator can open a private network "
                "with DIARIST_FETCH_ALLOWED_NETWORKS"
            )
            raise AudioRefused(message)
    for family, address in addresses:
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(watch.at_most(CONNECT_TIMEOUT_SECONDS))
            connection.connect(address)
            watch.guard(connection)
        except OSError:
            connection.close()
            watch.check()
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise AudioUnreachable(f"{redacted(url)} does not accept a connection", transient=True)


_Address = tuple[str, int] | tuple[str, int, int, int]  # what `socket.connect` takes


def _resolve(host: str, port: int, *, url: str, watch: _Watch) -> list[tuple[socket.AddressFamily, _Address]]:
    """Every address of a host, in the resolver's order.

    The look-up runs in a thread of its own, since nothing can interrupt it and its name server may be the
    caller's; the resolver's own timeouts end it.
    """
    answers: queue.SimpleQueue[list[Any] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=look_up, name="diarist-resolve", daemon=True).start()
    while True:
        with suppress(queue.Empty):
            answer = answers.get(timeout=watch.at_most(_POLL_SECONDS))
            break
        watch.check()
    if isinstance(answer, Exception) or not answer:
        later = isinstance(answer, socket.gaierror) and answer.errno == socket.EAI_AGAIN
        raise AudioUnreachable(f"{redacted(url)} cannot be reached: its host has no address", transient=later)
    return [(family, address) for family, _, _, _, address in answer]


def _may_reach(address: IPv4Address | IPv6Address, allowed: tuple[Network, ...]) -> bool:
    if any(address in network for network in allowed):
        return True
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return _may_reach(address.ipv4_mapped, allowed)
        if address in _NAT64:
            return _may_reach(IPv4Address(int(address) & 0xFFFFFFFF), allowed)
        if address not in _GLOBAL_UNICAST:
            return False
    special = address.is_multicast or any(address in network for network in _NOT_PUBLIC)
    return address.is_global and not special


class _HTTP(HTTPConnection):
    """A connection that gets its socket from `dial` instead of resolving its host by itself."""

    dial: Callable[[], socket.socket]

    def _new_conn(self) -> socket.socket:
        return self.dial()


class _HTTPS(HTTPSConnection):
    """The same, with TLS on top."""

    dial: Callable[[], socket.socket]

    def _new_conn(self) -> socket.socket:
        return self.dial()


_POLL_SECONDS = 0.1


class _Watch:
    """Ends a download that takes too long or that nobody wants any more, wherever it waits.

    A timeout on the socket bounds one read only. So a thread holds a second handle of each socket, and
    shutting that down wakes whoever reads from the first.
    """

    def __init__(self, url: str, timeout_seconds: float, cancelled: Callable[[], bool]) -> None:
        self.size = 0  # bytes received so far, for the message
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._ends = time.monotonic() + timeout_seconds
        self._cancelled = cancelled
        self._sockets: list[socket.socket] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="diarist-fetch-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        for handle in self._sockets:
            handle.close()

    def guard(self, connection: socket.socket) -> None:
        """Watch over a connected socket, too."""
        self._sockets.append(connection.dup())
        self.check()  # the thread may have made its round already

    def at_most(self, seconds: float) -> float:
        """The time left, but no more than this many seconds."""
        return max(0.001, min(seconds, self._ends - time.monotonic()))

    def check(self) -> None:
        """Raise where the download must not go on.

        Raises:
            Cancelled: the caller has gone.
            AudioUnreachable: the time is over.
        """
        if self._cancelled():
            raise Cancelled("the caller went away during the download")
        if time.monotonic() >= self._ends:
            message = (
                f"{redacted(self._url)} did not answer in full within {self._timeout_seconds:g} s "
                f"(DIARIST_FETCH_TIMEOUT_SECONDS); {self.size} bytes came"
            )
            raise AudioUnreachable(message, transient=True)

    def _run(self) -> None:
        while not self._done.wait(_POLL_SECONDS):
            if self._cancelled() or time.monotonic() >= self._ends:
                for handle in tuple(self._sockets):
                    with suppress(OSError):  # closed by the other side already
                        handle.shutdown(socket.SHUT_RDWR)
                return
