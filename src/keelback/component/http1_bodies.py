"""Bodies on their way out: cut into writes of a size that stays in the processor's cache, and compressed."""

from __future__ import annotations

import asyncio
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TypeAlias

from keelback.component.http import Body

# Larger buffers are fetched from the kernel and given back each time: page faults then cost more than encrypting.
WRITE_BYTES = 64 << 10

Sent: TypeAlias = bytes | memoryview


def ends_of(body: Body) -> list[int]:
    """Where each piece of a body ends; the last is its size."""
    if isinstance(body, bytes):
        return [len(body)]
    return list(accumulate(map(len, body))) or [0]


def writes(head: bytes, body: Body, ends: Sequence[int]) -> Iterator[Sent]:
    """The head and the body in writes of about WRITE_BYTES: small pieces are put together, large ones cut.

    `ends` is what `ends_of` says. Nothing is copied before it is asked for.
    """
    if ends[-1] <= WRITE_BYTES:
        # Two writes would be two TLS records, and often two packets.
        yield head + body if isinstance(body, bytes) else b"".join((head, *body))
        return
    if isinstance(body, bytes):
        yield head
        yield from _cut(body)
        return
    lead, start, written = head, 0, 0
    while start < len(body):
        end = bisect_left(ends, written + WRITE_BYTES, start) + 1
        joined = b"".join((lead, *body[start:end]))
        lead, start, written = b"", end, ends[min(end, len(ends)) - 1]
        if len(joined) <= 2 * WRITE_BYTES:
            yield joined
        else:
            yield from _cut(joined)


def _cut(body: bytes) -> Iterator[memoryview]:
    view = memoryview(body)
    for at in range(0, len(body), WRITE_BYTES):
        yield view[at : at + WRITE_BYTES]


async def gzipped(loop: asyncio.AbstractEventLoop, body: Body) -> bytes:
    """A body compressed, fast rather than well, in a thread."""
    # zlib lets go of the interpreter's lock: other requests go on meanwhile.
    return await loop.run_in_executor(None, _gzip, body)


def _gzip(body: Body) -> bytes:
    compressor = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    compressed = [compressor.compress(part) for part in writes(b"", body, ends_of(body))]
    return b"".join([*compressed, compressor.flush()])
