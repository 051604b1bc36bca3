from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from keelback.api import conditions
from keelback.apimachinery.meta import Condition

START = datetime(2026, 1, 1, tzinfo=UTC)


def condition(type: str, status: str, minutes: int, reason: str = "R", message: str = "") -> Condition:
    moment = START + timedelta(minutes=minutes)
    return Condition(type=type, status=status, reason=reason, message=message, last_transition_time=moment)


CHANGES = st.lists(
    st.builds(
        condition, st.sampled_from("ABC"), st.sampled_from(["True", "False"]), st.integers(0, 99), st.sampled_from("xy")
    )
)


@given(CHANGES, st.booleans())
def test_each_type_stands_once_with_its_latest_status(changes: list[Condition], in_place: bool) -> None:
    held: tuple[Condition, ...] = ()
    latest: dict[str, str] = {}
    for change in changes:
        held = (conditions.set_in_place if in_place else conditions.changed_to)(held, change)
        latest[change.type] = change.status
    assert {one.type: one.status for one in held} == latest
    assert len(held) == len(latest)


def test_the_time_of_transition_changes_only_with_the_status() -> None:
    held = (condition("A", "True", 0, "old"),)
    same_status = conditions.changed_to(held, condition("A", "True", 5, "new"))
    assert (same_status[0].reason, same_status[0].last_transition_time) == ("new", START)
    changed = conditions.changed_to(held, condition("A", "False", 5, "new"))
    assert changed[0].last_transition_time == START + timedelta(minutes=5)


def test_what_says_the_same_stays_as_it_was() -> None:
    held = (condition("A", "True", 0), condition("B", "True", 0))
    assert conditions.changed_to(held, condition("A", "True", 9, message="other words")) == held


def test_conditions_are_found_by_type() -> None:
    held = (condition("A", "True", 0), condition("B", "False", 0))
    assert conditions.find(held, "B") is held[1]
    assert conditions.find(held, "C") is None
    assert conditions.is_true(held, "A")
    assert not conditions.is_true(held, "B")
    assert conditions.without(held, "A") == (held[1],)
