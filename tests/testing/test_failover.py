"""A short run of `python -m keelback.testing.failover`: the long one is for the command."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from keelback.testing import etcd, failover
from keelback.testing.histories import Operation


@pytest.mark.slow
@pytest.mark.skipif(not etcd.is_installed(), reason="etcd is not installed")
def test_servers_and_members_may_fail_and_no_write_is_lost(tmp_path: Path) -> None:
    names = ("a server killed", "the leader cut off")
    found = asyncio.run(failover.play(tmp_path, names, random.Random(5), quiet_answers=50))
    outcome = found.outcome
    assert "\n".join(outcome.violations) == ""
    assert (outcome.rounds, outcome.gaps) == (2, 0)
    assert sum(one.outcome == "ok" and one.verb == "update" for one in outcome.history.operations) > 20
    assert all(one.events for one in outcome.history.watches)


def test_a_standstill_is_the_longest_time_between_acknowledged_writes() -> None:
    def write(ended: float, outcome: str = "ok") -> Operation:
        return Operation("update", "a", ended - 0.1, ended, outcome)  # type: ignore[arg-type]

    operations = [write(1.0), write(2.0), write(4.5, "unknown"), write(6.0), write(9.0)]
    assert failover.standstill(operations, 1.5, 8.0) == 4.0
