"""Whatever goes wrong on the way, the cluster comes to the state it would have come to anyway, and keeps its rules.

Many seeds: bench/convergence.py.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from keelback.testing.convergence import compare, play
from keelback.testing.convergence_work import steps


def test_a_seed_says_the_same_work_each_time() -> None:
    assert steps(5) == steps(5)
    assert steps(5) != steps(6)


@pytest.mark.parametrize("seed", [1, 951])
def test_faults_on_the_way_change_nothing_of_where_it_leads(seed: int) -> None:
    assert compare(seed) is None


def test_a_seed_with_faults_replays_request_by_request() -> None:
    first, second = (play(0, faults=0).recording for _ in range(2))
    assert first.asked == second.asked
    assert [(one.at, one.key) for one in first.writes] == [(one.at, one.key) for one in second.writes]


_REQUESTS = """
import random, sys

# Classes come to lie elsewhere, each time in another order.
chance = random.Random(sys.argv[1])
held = [bytes(chance.randrange(500, 5000)) for _ in range(20_000)]
chance.shuffle(held)
del held[10_000:]

from keelback.testing.cluster import Cluster

with Cluster(nodes=1) as cluster:
    recording = cluster.record()
    for verb in (cluster.stop_component, cluster.start_component):
        verb("controller-manager")
        cluster.advance(30.0)
    for one in recording.asked:
        print(one.at, one.client, one.verb, one.path)
"""


def test_it_replays_in_another_process_too() -> None:
    # A set of classes, or of tasks, has another order in each process, unless somebody sees to it.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-c", _REQUESTS]
    plays = [subprocess.Popen([*command, n], env=environment, stdout=subprocess.PIPE, text=True) for n in "12"]
    first, second = [play.communicate(timeout=60)[0] for play in plays]
    assert first.count("\n") > 50
    assert first == second
