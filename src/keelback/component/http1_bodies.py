"""Bodies on their way out: cut into writes of a size that stays in the processor's cache, and compressed."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from typing import TypeAlias

from keelback.component.http import Body, Pieces

# Larger buffers are fetched from the kernel and given back each time: page faults then cost more than encrypting.
WRITE_BYTES = 64 << 10

Sent: TypeAlias = bytes | memoryview


def size_of(body: Body) -> int:
    """How many bytes a body has."""
    if isinstance(body, bytes):
        return len(body)
    return body.size_bytes if isinstance(body, Pieces) else sum(map(len, body))


def writes(head: bytes, body: Body, size: int) -> Iterator[Sent]:
    """The head and the body in writes of about WRITE_BYTES: small pieces are put together, large ones cut.

    `size` is what `size_of` says. Nothing is copied before it is asked for.
    """
    if size <= WRITE_BYTES:
        # Two writes would be two TLS records, and often two packets.
        yield head + body if isinstance(body, bytes) else b"".join((head, *body))
        return
    if isinstance(body, bytes):
        yield head
        yield from _cut(body)
        return
    lead = head
    # As many pieces at once as fill a write on average: to find out for each is much of what a long list costs.
    at_once = max(len(body) * WRITE_BYTES // size, 1)
    for start in range(0, len(body), at_once):
        joined = b"".join((lead, *body[start : start + at_once]))
        if len(joined) < WRITE_BYTES // 2:
            lead = joined
            continue
        lead = b""
        if len(joined) <= 2 * WRITE_BYTES:
            yield joined
        else:
            yield from _cut(joined)
    if lead:
        yield lead


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
    compressed = [compressor.compress(part) for part in writes(b"", body, size_of(body))]
    return b"".join([*compressed, compressor.flush()])
