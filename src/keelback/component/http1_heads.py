"""What stands before a body: header names as they are read, heads as they are written."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
# The server says these itself; an answer passed on from elsewhere has that server's.
_OWN_HEADERS = frozenset(("content-length", "connection", "transfer-encoding", "keep-alive", "date"))
# Header names repeat: they are decoded once. Bounded, for clients choose them.
_names: dict[bytes, str] = {}
_canonical: dict[str, str] = {}


def header_name(name: bytes) -> str:
    """A header's name as requests have it: lower-case."""
    known = _names.get(name)
    if known is not None:
        return known
    text = name.decode("latin-1").lower()
    if len(_names) < 1000:
        _names[name] = text
    return text


def _learn_canonical(name: str) -> str:
    # Go's form, which people see in `curl -i` and `kubectl -v=8`.
    text = "-".join(part.capitalize() for part in name.split("-"))
    if len(_canonical) < 1000:
        _canonical[name] = text
    return text


def response_head(status: int, headers: Mapping[str, str], date: str, extra: str) -> bytes:
    """A response's status line and headers; `extra` are lines of the server's own."""
    lines = [
        f"{_canonical.get(name) or _learn_canonical(name)}: {value}\r\n"
        for name, value in headers.items()
        if name not in _OWN_HEADERS
    ]
    text = "".join(lines)
    if text.count("\n") != len(lines):
        # A line break in a value would let its author write headers of their own.
        # Only warnings are given as several lines, each of which is a header of its own.
        lines = [
            f"Warning: {one}\r\n" if line.startswith("Warning: ") else f"{one}\r\n"
            for line in lines
            for one in _separated(line)
        ]
        text = "".join(lines)
    line = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} Unknown\r\n"
    return f"{line}{text}Date: {date}\r\n{extra}\r\n".encode("latin-1", "replace")


def _separated(line: str) -> list[str]:
    """The values of a Warning header; of any other the whole line, its breaks made blanks."""
    if line.startswith("Warning: "):
        return [one.replace("\r", " ") for one in line.removeprefix("Warning: ").rstrip().split("\n")]
    return [line.replace("\r", " ").replace("\n", " ").rstrip()]
