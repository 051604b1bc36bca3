"""What protobuf costs: CPU time to decode and to encode one pod, as it is stored: `python bench/protobuf.py [rounds]`.

The pod is that of `bench/apiserver.py` after a server has written it (2.9 KB of JSON). Decoding makes the JSON of a
body that a client sent; encoding makes the body of an answer. The least of the rounds, each of a thousand.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import stores_compared

from keelback.apimachinery import protobuf, protobuf_encoding
from keelback.bootstrap import pki
from keelback.concurrency.clock import SystemClock

EACH = 1_000


def least(work: Callable[[], object], rounds: int) -> float:
    """Microseconds of CPU."""
    spent = []
    for _ in range(rounds):
        before = time.process_time()
        for _ in range(EACH):
            work()
        spent.append((time.process_time() - before) / EACH * 1e6)
    return min(spent)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory() as folder:
        keys = pki.ensure_cluster_pki(Path(folder) / "pki", SystemClock().now())
        stored = asyncio.run(stores_compared.stored_pod(Path(folder), keys))
    body = protobuf_encoding.from_json(stored)
    print(f"a pod of {len(stored)} bytes in JSON, {len(body)} in protobuf")
    for what, work in (
        ("decode", lambda: protobuf.to_json(body)),
        ("encode", lambda: protobuf_encoding.from_json(stored)),
    ):
        print(f"{what}: {least(work, rounds):6.1f} µs CPU   aim 100")


if __name__ == "__main__":
    main()
