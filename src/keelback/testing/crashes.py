"""Killing every process of a cluster at any moment under writes: what was acknowledged must be there afterwards.

For a test of a few rounds, and for `bench/crashes.py`, which plays as many as one likes.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from keelback.api.core_v1 import ConfigMap
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta
from keelback.bootstrap.processes import Process
from keelback.client import Client, kubeconfig
from keelback.testing.commands import Cluster

WRITERS: Final = 4
IMAGE: Final = "localhost/keelback-sample:latest"
_RECORDS: Final = ("control-plane.json", "node-*/agent.json", "node-*/containerd.json")
_SHORTEST_SECONDS: Final = 0.05
_LONGEST_SECONDS: Final = 0.8
_GOODBYE_SECONDS: Final = 0.1
_LABELS: Final = {"keelback": "crashes"}


@dataclass
class Outcome:
    """What the rounds have shown so far."""

    rounds: int = 0
    acknowledged: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    killed: int = 0
    up_seconds: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        slowest = max(self.up_seconds, default=0.0)
        return (
            f"{self.rounds} rounds, {self.killed} processes killed, {len(self.acknowledged)} writes acknowledged, "
            f"{len(self.lost)} of them lost, slowest start {slowest:.1f} s"
        )


def play(cluster: Cluster, chance: random.Random) -> Iterator[Outcome]:
    """Round after round without end: write, kill everything, start again, look. What was told grows."""
    outcome = Outcome()
    numbers = itertools.count()
    while True:
        asyncio.run(_write_and_kill(cluster, chance, numbers, outcome))
        began = time.monotonic()
        cluster.keelback("up")
        outcome.up_seconds.append(time.monotonic() - began)
        outcome.lost |= outcome.acknowledged - asyncio.run(_found(cluster))
        outcome.rounds += 1
        yield outcome


async def _write_and_kill(cluster: Cluster, chance: random.Random, numbers: Iterator[int], outcome: Outcome) -> None:
    client = _client(cluster)
    writers = [asyncio.create_task(_write(client, numbers, outcome.acknowledged)) for _ in range(WRITERS)]
    await asyncio.sleep(chance.uniform(_SHORTEST_SECONDS, _LONGEST_SECONDS))
    victims = _processes(cluster)
    chance.shuffle(victims)
    for victim in victims:
        victim.send(signal.SIGKILL)
    outcome.killed += len(victims)
    # With nobody left to answer, every writer ends.
    await asyncio.gather(*writers)
    for victim in victims:
        await victim.wait_gone(10.0)
    await _close(client)


async def _write(client: Client, numbers: Iterator[int], acknowledged: set[str]) -> None:
    while True:
        name = f"written-{next(numbers)}"
        metadata = ObjectMeta(name=name, namespace="default", labels=_LABELS)
        try:
            await client.create(ConfigMap(metadata=metadata, data={"a": "b"}))
        except (errors.StatusError, OSError, TimeoutError):
            return
        acknowledged.add(name)


async def _found(cluster: Cluster) -> set[str]:
    client = _client(cluster)
    try:
        listed = await client.list(ConfigMap, "default", label_selector="keelback=crashes")
        return {one.metadata.name for one in listed.items or ()}
    finally:
        await _close(client)


async def _close(client: Client) -> None:
    await client.transport.close()
    # TLS says goodbye in a few turns of the loop, which ends with the caller.
    await asyncio.sleep(_GOODBYE_SECONDS)


def _client(cluster: Cluster) -> Client:
    return Client(kubeconfig.transport(kubeconfig.load(Path(cluster.environment["KUBECONFIG"]))))


def _processes(cluster: Cluster) -> list[Process]:
    """Those of Keelback, and every node's containerd; the containers' own keepers are not killed: they are the pods."""
    found = []
    for pattern in _RECORDS:
        for path in sorted(Path("/run/keelback", cluster.name).glob(pattern)):
            name = str(path.relative_to(Path("/run/keelback", cluster.name)))
            try:
                found.append(Process.of(cluster.record(name)))
            except ProcessLookupError:
                continue
    assert os.getpid() not in {one.pid for one in found}
    return found
