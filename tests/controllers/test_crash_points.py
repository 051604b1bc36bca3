"""Controllers that crash at one of their writes carry on correctly. Every kind of write: bench/crash_points.py."""

from __future__ import annotations

import pytest

from keelback.testing import crash_points

pytestmark = pytest.mark.slow_clients


@pytest.mark.parametrize(
    ("controller", "verb", "resource", "is_carried_out"),
    [
        ("statefulset-controller", "create", "persistentvolumeclaims", True),
        ("job-controller", "patch", "jobs/status", False),
    ],
)
def test_a_crash_at_a_write_changes_nothing_of_where_it_leads(
    calm: crash_points.Played, controller: str, verb: str, resource: str, is_carried_out: bool
) -> None:
    found = [(one.client.rpartition("/")[2], one.verb, one.resource) for one in calm.writes]
    number = found.index((controller, verb, resource)) + 1
    crashed = crash_points.play(number, is_carried_out=is_carried_out)
    assert crashed.writes[number - 1].resource == resource
    assert crash_points.differences(calm, crashed) == []


def test_most_controllers_write_on_the_way(calm: crash_points.Played) -> None:
    assert len({one.client for one in calm.writes}) > 25
    assert len(crash_points.firsts(calm.writes)) < len(calm.writes)


@pytest.fixture(scope="module")
def calm() -> crash_points.Played:
    played = crash_points.play()
    assert played.broken == ()
    return played
