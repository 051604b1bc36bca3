"""URLs as Go's net/url reads them: what is one, what its parts are, and the words of each complaint.

Python's own parser takes nearly every text for a URL, so it cannot tell what users must be told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from keelback.apimachinery import go_addresses
from keelback.apimachinery.go_text import go_quoted


class UrlError(ValueError):
    """A text that is no URL; the message is Go's, with the operation and the text."""


@dataclass(frozen=True, slots=True)
class Url:
    """A URL's parts, unescaped but for the query."""

    scheme: str = ""
    opaque: str = ""
    user_info: str | None = None
    host: str = ""
    path: bytes = b""
    raw_path: str = ""
    """The path as it was written, where escaping `path` would give another text."""
    raw_query: str = ""
    force_query: bool = False
    raw_fragment: str = ""

    @property
    def hostname(self) -> str:
        """The host without its port and without brackets."""
        return _split_host(self.host)[0]

    @property
    def port(self) -> str:
        """The port's digits; empty if there is none."""
        return _split_host(self.host)[1]

    @property
    def escaped_path(self) -> str:
        if self.raw_path and _is_valid_path(self.raw_path) and _unescaped(self.raw_path, _Part.PATH) == self.path:
            return self.raw_path
        return "*" if self.path == b"*" else _escaped_path(self.path)

    def query(self) -> dict[str, list[str]]:
        """Every value of every key; malformed pairs are left out."""
        found: dict[str, list[str]] = {}
        for pair in self.raw_query.split("&"):
            if not pair or ";" in pair:
                continue
            key, _, value = pair.partition("=")
            try:
                name, content = _text(_unescaped(key, _Part.QUERY)), _text(_unescaped(value, _Part.QUERY))
            except _Problem:
                continue
            found.setdefault(name, []).append(content)
        return found


def parse(text: str) -> Url:
    """Any URL reference, relative ones too (Go's `url.Parse`). Raises UrlError."""
    before, _, fragment = text.partition("#")
    try:
        url = _parsed(before, must_be_absolute=False)
    except _Problem as problem:
        raise _error(before, problem) from None
    if not fragment:
        return url
    try:
        _unescaped(fragment, _Part.FRAGMENT)
    except _Problem as problem:
        raise _error(text, problem) from None
    return Url(
        url.scheme,
        url.opaque,
        url.user_info,
        url.host,
        url.path,
        url.raw_path,
        url.raw_query,
        url.force_query,
        fragment,
    )


def parse_request_uri(text: str) -> Url:
    """An absolute URI or an absolute path; `#` has no meaning in it (Go's `url.ParseRequestURI`). Raises UrlError."""
    try:
        return _parsed(text, must_be_absolute=True)
    except _Problem as problem:
        raise _error(text, problem) from None


class _Problem(ValueError):
    pass


class _Part(Enum):
    PATH = auto()
    HOST = auto()
    ZONE = auto()
    USER = auto()
    QUERY = auto()
    FRAGMENT = auto()


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HEX_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_PORT = re.compile(r"(?::[0-9]*)?", re.ASCII)
_USER_INFO = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_HOST_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~!$&'()*+,;=:[]<>\"")
_PATH_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~$&+,/:;=@")
_VALID_PATH_BYTES = _PATH_BYTES | frozenset(b"!'()*[]%")


def _error(text: str, problem: _Problem) -> UrlError:
    return UrlError(f"parse {go_quoted(text)}: {problem}")


def _parsed(text: str, *, must_be_absolute: bool) -> Url:
    if _CONTROL.search(text):
        raise _Problem("net/url: invalid control character in URL")
    if not text and must_be_absolute:
        raise _Problem("empty url")
    if text == "*":
        return Url(path=b"*")
    scheme, rest = _scheme(text)
    rest, query, force_query = _cut_query(rest)
    if not rest.startswith("/"):
        if scheme:
            return Url(scheme=scheme, opaque=rest, raw_query=query, force_query=force_query)
        if must_be_absolute:
            raise _Problem("invalid URI for request")
        if ":" in rest.partition("/")[0]:
            raise _Problem("first path segment in URL cannot contain colon")
    user_info, host = None, ""
    if rest.startswith("//") and (scheme or (not must_be_absolute and not rest.startswith("///"))):
        authority, slash, tail = rest[2:].partition("/")
        rest = slash + tail
        user_info, host = _authority(authority)
    path = _unescaped(rest, _Part.PATH)
    raw_path = "" if _escaped_path(path) == rest else rest
    return Url(scheme, "", user_info, host, path, raw_path, query, force_query)


def _scheme(text: str) -> tuple[str, str]:
    if text.startswith(":"):
        raise _Problem("missing protocol scheme")
    match = _SCHEME.match(text)
    return (match[0][:-1].lower(), text[match.end() :]) if match else ("", text)


def _cut_query(rest: str) -> tuple[str, str, bool]:
    if rest.endswith("?") and rest.count("?") == 1:
        return rest[:-1], "", True
    before, _, query = rest.partition("?")
    return before, query, False


def _authority(authority: str) -> tuple[str | None, str]:
    user_info, at, host = authority.rpartition("@")
    host = _host(host)
    if not at:
        return None, host
    if not _USER_INFO.fullmatch(user_info):
        raise _Problem("net/url: invalid userinfo")
    for part in user_info.split(":", 1):
        _unescaped(part, _Part.USER)
    return user_info, host


def _host(host: str) -> str:
    opening = host.rfind("[")
    if opening > 0:
        raise _Problem("invalid IP-literal")
    if opening == 0:
        return _ip_literal(host)
    colon = host.rfind(":")
    if colon != -1:
        _check_port(host[colon:])
    return _text(_unescaped(host, _Part.HOST))


def _ip_literal(host: str) -> str:
    """What stands in brackets is an IPv6 address (Go 1.24.8 and later, CVE-2025-47912)."""
    end = host.rfind("]")
    if end < 0:
        raise _Problem("missing ']' in host")
    port, name = host[end + 1 :], host[1:end]
    _check_port(port)
    zone = name.find("%25")
    parts = ((name, _Part.HOST),) if zone < 0 else ((name[:zone], _Part.HOST), (name[zone:], _Part.ZONE))
    address = "".join(_text(_unescaped(text, part)) for text, part in parts)
    try:
        is_ipv6 = go_addresses.parse(address).version == 6
    except go_addresses.AddressError as error:
        raise _Problem(f"invalid host: {error}") from None
    if not is_ipv6:
        raise _Problem("invalid IP-literal")
    return f"[{address}]{port}"


def _check_port(port: str) -> None:
    if not _PORT.fullmatch(port):
        raise _Problem(f"invalid port {go_quoted(port)} after host")


def _unescaped(text: str, part: _Part) -> bytes:
    malformed = _ESCAPE.search(text)
    raw = text.encode("utf-8", "surrogateescape")
    if part in (_Part.HOST, _Part.ZONE):
        _check_host_bytes(raw, part)
    elif malformed:
        raise _invalid_escape(text[malformed.start() : malformed.start() + 3])
    if part is _Part.QUERY:
        raw = raw.replace(b"+", b" ")
    return _HEX_ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), raw) if b"%" in raw else raw


def _check_host_bytes(raw: bytes, part: _Part) -> None:
    position = 0
    while position < len(raw):
        byte = raw[position]
        if byte != 0x25:
            if byte < 0x80 and byte not in _HOST_BYTES:
                raise _Problem(f"invalid character {go_quoted(chr(byte))} in host name")
            position += 1
            continue
        escape = raw[position : position + 3]
        match = _HEX_ESCAPE.fullmatch(escape)
        if match is None:
            raise _invalid_escape(escape.decode("utf-8", "replace"))
        value = int(match[1], 16)
        # Only bytes that are no ASCII may be escaped in a host; a zone may escape what a host may hold, and a space.
        illegal = value < 0x80 if part is _Part.HOST else value != 0x20 and value not in _HOST_BYTES
        if escape != b"%25" and illegal:
            raise _invalid_escape(escape.decode())
        position += 3


def _invalid_escape(escape: str) -> _Problem:
    return _Problem(f"invalid URL escape {go_quoted(escape)}")


def _escaped_path(path: bytes) -> str:
    return "".join(chr(byte) if byte in _PATH_BYTES else f"%{byte:02X}" for byte in path)


def _is_valid_path(raw_path: str) -> bool:
    return all(byte in _VALID_PATH_BYTES for byte in raw_path.encode("utf-8", "surrogateescape"))


def _split_host(host: str) -> tuple[str, str]:
    hostname, port = host, ""
    colon = host.rfind(":")
    if colon != -1 and _PORT.fullmatch(host[colon:]):
        hostname, port = host[:colon], host[colon + 1 :]
    if hostname.startswith("[") and hostname.endswith("]"):
        hostname = hostname[1:-1]
    return hostname, port


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
