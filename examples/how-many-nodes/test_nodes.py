"""How many nodes the trace needs so that nobody waits for longer than a minute."""

from dataclasses import replace
from pathlib import Path

from keelback.testing import scenario, scenario_run

TRACE = scenario.read(Path(__file__).parent / "trace.yaml")


def longest_wait(nodes):
    """In seconds, with so many of the trace's nodes."""
    outcome = scenario_run.run(replace(TRACE, nodes=TRACE.nodes[:nodes]))
    return max(outcome.scheduling_seconds)


def test_seven_nodes_are_enough_and_six_are_not():
    """With six, pods wait for reports to end once a node is lost."""
    assert longest_wait(7) < 60
    assert longest_wait(6) > 60
