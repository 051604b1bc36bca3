"""Container logs in CRI's format (`2026-05-01T12:00:00.123456789Z stdout F text`): reading and following them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from keelback.component.http import query_flag
from keelback.concurrency.clock import Clock

_CHUNK = 1 << 16
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What of a log is wanted. -1 and None mean all."""

    follow: bool = False
    tail_lines: int = -1
    since: datetime | None = None
    timestamps: bool = False
    limit_bytes: int = -1
    stream: str = ""


def options_of(values: Mapping[str, str], now: datetime) -> LogOptions:
    """What the query of a kubelet's `containerLogs` asks of a log. Raises ValueError."""

    def number(name: str) -> int:
        text = values.get(name, "")
        if not text:
            return -1
        if not text.isdigit():
            raise ValueError(f"invalid {name}: {text!r}")
        return int(text)

    since = None
    seconds = number("sinceSeconds")
    try:
        if values.get("sinceTime"):
            since = datetime.fromisoformat(values["sinceTime"].replace("Z", "+00:00"))
    except ValueError as error:
        raise ValueError(f"invalid sinceTime: {error}") from error
    if seconds >= 0:
        since = now - timedelta(seconds=seconds)
    stream = values.get("stream", "")
    return LogOptions(
        follow=query_flag(values.get("follow")),
        tail_lines=number("tailLines"),
        since=since,
        timestamps=query_flag(values.get("timestamps")),
        limit_bytes=number("limitBytes"),
        stream="" if stream in ("", "All") else stream.lower(),
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One line, or a part of one, as the container wrote it."""

    time: str
    stream: str
    is_partial: bool
    text: bytes


def parse(raw: bytes) -> Line | None:
    """A line of the file; None where it is not one."""
    parts = raw.rstrip(b"\n").split(b" ", 3)
    if len(parts) < 3:
        return None
    tags = parts[2].split(b":")
    text = parts[3] if len(parts) == 4 else b""
    partial = tags[0] == b"P"
    return Line(parts[0].decode(), parts[1].decode(), partial, text if partial else text + b"\n")


def last_lines(path: Path, lines: int, size_bytes: int) -> str:
    """The text of the log's last lines, no more than `size_bytes` of it; empty where there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(_tail_offset(file, lines))
            text = b"".join(line.text for raw in file if (line := parse(raw)) is not None)
    except OSError:
        return ""
    return text[-size_bytes:].decode(errors="replace")


async def read(path: Path, options: LogOptions, clock: Clock, is_running: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The wanted text, piece by piece; when following, until the container has ended. Raises FileNotFoundError."""
    left = options.limit_bytes
    async for line in _lines(path, options, clock, is_running):
        piece = f"{line.time} ".encode() + line.text if options.timestamps else line.text
        if left >= 0:
            piece, left = piece[:left], left - len(piece)
        if piece:
            yield piece
        if options.limit_bytes >= 0 and left <= 0:
            return


async def _lines(path: Path, options: LogOptions, clock: Clock, is_running: Callable[[], bool]) -> AsyncIterator[Line]:
    file = path.open("rb")
    try:
        if options.tail_lines >= 0:
            file.seek(_tail_offset(file, options.tail_lines))
        rest = b""
        ended = is_aside = False
        while True:
            chunk = file.read(_CHUNK)
            if chunk:
                *whole, rest = (rest + chunk).split(b"\n")
                for raw in whole:
                    line = parse(raw)
                    if line is not None and _is_wanted(line, options):
                        yield line
                # Let others run between the chunks of a long log.
                await asyncio.sleep(0)
                continue
            if not options.follow:
                return
            if is_aside:
                file.close()
                file = path.open("rb")
                rest, is_aside = b"", False
                continue
            if _was_rotated(file, path):
                # It was written to until there was a new one: what came since the last look is read first.
                is_aside = True
                continue
            if ended:
                return
            # Once it has ended everything is written; read what came in between, then stop.
            ended = not is_running()
            if not ended:
                await clock.sleep(_POLL_SECONDS)
    finally:
        file.close()


def _is_wanted(line: Line, options: LogOptions) -> bool:
    if options.stream and line.stream != options.stream:
        return False
    if options.since is None:
        return True
    return _instant(line.time) >= options.since


def _instant(text: str) -> datetime:
    head, _, fraction = text.removesuffix("Z").partition(".")
    zone = "+00:00"
    for sign in "+-":
        if sign in fraction:
            fraction, _, offset = fraction.partition(sign)
            zone = sign + offset
    return datetime.fromisoformat(f"{head}.{(fraction + '000000')[:6]}{zone}")


def _was_rotated(file: BinaryIO, path: Path) -> bool:
    try:
        now = path.stat()
    except FileNotFoundError:
        return False
    return now.st_ino != os.fstat(file.fileno()).st_ino


def _tail_offset(file: BinaryIO, lines: int) -> int:
    """Where the last `lines` lines begin."""
    file.seek(0, os.SEEK_END)
    end = file.tell()
    if lines == 0:
        return end
    found = 0
    for start, block in _blocks_backwards(file, end):
        position = len(block)
        while (position := block.rfind(b"\n", 0, position)) >= 0:
            # The newline that ends the file ends the last line, it does not begin one.
            if start + position + 1 == end:
                continue
            found += 1
            if found == lines:
                return start + position + 1
    return 0


def _blocks_backwards(file: BinaryIO, end: int) -> Iterator[tuple[int, bytes]]:
    position = end
    while position > 0:
        start = max(0, position - _CHUNK)
        file.seek(start)
        yield start, file.read(position - start)
        position = start
