"""A body arrives as it is however it is cut, and no write is much larger than it should be."""

from __future__ import annotations

import asyncio
import gzip
import random

import pytest

from keelback.component.http import Body
from keelback.component.http1_bodies import WRITE_BYTES, gzipped, size_of, writes

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
CHANCE = random.Random(7)
BODIES: list[Body] = [
    b"",
    b"small",
    CHANCE.randbytes(3 * WRITE_BYTES + 1),
    [],
    [b"", b""],
    [b"a", b"bc", b""],
    [CHANCE.randbytes(CHANCE.randrange(3_000)) for _ in range(200)],
    [b"[", CHANCE.randbytes(5 * WRITE_BYTES), b",", b"x", b"]"],
    [CHANCE.randbytes(WRITE_BYTES) for _ in range(4)],
    [*(b"x" for _ in range(5_000)), *(CHANCE.randbytes(WRITE_BYTES) for _ in range(4))],
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_what_is_written_is_the_head_and_the_body(body: Body) -> None:
    whole = body if isinstance(body, bytes) else b"".join(body)
    size = size_of(body)
    written = list(writes(HEAD, body, size))
    assert size == len(whole)
    assert b"".join(written) == HEAD + whole
    assert all(len(one) <= 2 * WRITE_BYTES + len(HEAD) for one in written)


def test_a_small_answer_is_one_write() -> None:
    assert len(list(writes(HEAD, [b"a"] * 1_000, size_of([b"a"] * 1_000)))) == 1


def test_small_pieces_are_put_together() -> None:
    body = [b"x" * 1_000] * 1_000
    assert len(list(writes(HEAD, body, size_of(body)))) <= 1_000_000 // WRITE_BYTES + 1


def test_a_body_in_pieces_is_compressed_whole() -> None:
    async def compressed() -> bytes:
        return await gzipped(asyncio.get_running_loop(), [b"one", b"two" * WRITE_BYTES])

    assert gzip.decompress(asyncio.run(compressed())) == b"one" + b"two" * WRITE_BYTES
