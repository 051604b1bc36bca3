"""A short run of `python -m keelback.testing.linearizability`: the long one is for the command."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from keelback.testing import linearizability


def test_a_killed_server_stays_one_register_per_object(tmp_path: Path) -> None:
    outcome = asyncio.run(linearizability.play(tmp_path, 2, random.Random(5), 300))
    assert "\n".join(outcome.violations) == ""
    assert (outcome.rounds, outcome.gaps) == (2, 0)
    # Were everything refused, nothing would have been tried.
    assert sum(one.outcome == "ok" and one.verb == "update" for one in outcome.history.operations) > 5
    assert all(one.events for one in outcome.history.watches)
