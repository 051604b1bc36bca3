"""A short run of `python -m keelback.testing.linearizability`: the long one is for the command."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from keelback.testing import etcd, linearizability
from keelback.testing.linearizability import Outcome


def test_a_killed_server_stays_one_register_per_object(tmp_path: Path) -> None:
    _is_one_register(asyncio.run(linearizability.play(tmp_path, 2, random.Random(5), 300)))


@pytest.mark.skipif(not etcd.is_installed(), reason="etcd is not installed")
def test_so_does_one_over_an_etcd(tmp_path: Path) -> None:
    async def play() -> Outcome:
        async with etcd.etcd_cluster(tmp_path) as cluster:
            return await linearizability.play(tmp_path, 1, random.Random(1), 600, cluster.servers)

    outcome = asyncio.run(play())
    _is_one_register(outcome, rounds=1)


def _is_one_register(outcome: Outcome, rounds: int = 2) -> None:
    assert "\n".join(outcome.violations) == ""
    assert (outcome.rounds, outcome.gaps) == (rounds, 0)
    # Were everything refused, nothing would have been tried.
    assert sum(one.outcome == "ok" and one.verb == "update" for one in outcome.history.operations) > 5
    assert all(one.events for one in outcome.history.watches)
