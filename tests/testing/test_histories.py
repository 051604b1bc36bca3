"""The judge must find what is planted, and nothing where nothing is wrong."""

from __future__ import annotations

import random
from dataclasses import replace

import msgspec
import pytest

from keelback.testing.histories import History, Listed, Operation, Seen, Watched, is_register, violations


def operation(verb: str, started: float, ended: float, outcome: str = "ok", **rest: object) -> Operation:
    return msgspec.convert(
        {"verb": verb, "key": "k", "started": started, "ended": ended, "outcome": outcome, **rest}, Operation
    )


CREATED = operation("create", 0, 1, value="a", revision=2)
UPDATED = operation("update", 2, 3, expected=2, value="b", revision=3)


@pytest.mark.parametrize(
    ("operations", "has_order"),
    [
        ([CREATED, operation("get", 2, 3, value="a", revision=2)], True),
        # A stale read: the update was acknowledged before.
        ([CREATED, UPDATED, operation("get", 4, 5, value="a", revision=2)], False),
        # While the update runs, both are right; but time does not run backwards.
        ([CREATED, UPDATED, operation("get", 2, 3, value="a", revision=2)], True),
        (
            [
                CREATED,
                operation("update", 2, 9, expected=2, value="b", revision=3),
                operation("get", 3, 4, value="b", revision=3),
                operation("get", 5, 6, value="a", revision=2),
            ],
            False,
        ),
        # A lost update: two writers built on the same revision.
        ([CREATED, UPDATED, operation("update", 2, 3, expected=2, value="c", revision=4)], False),
        # Revisions do not fall.
        ([CREATED, operation("update", 2, 3, expected=2, value="b", revision=1)], False),
        # Nothing is refused without a reason.
        ([CREATED, operation("update", 2, 3, "conflict", expected=2, value="b")], False),
        ([CREATED, operation("update", 2, 3, "missing", expected=2, value="b")], False),
        ([CREATED, operation("create", 2, 3, "exists", value="b")], True),
        ([operation("create", 2, 3, "exists", value="b")], False),
        ([CREATED, operation("get", 2, 3, "missing")], False),
        ([CREATED, operation("delete", 2, 3, expected=2), operation("get", 4, 5, "missing")], True),
        ([CREATED, operation("delete", 2, 3, expected=2), operation("get", 4, 5, value="a", revision=2)], False),
        ([CREATED, operation("delete", 2, 3, expected=7)], False),
        # A write without an answer may have happened, or not,
        ([CREATED, operation("update", 2, 3, "unknown", expected=2, value="b", revision=3)], True),
        (
            [
                CREATED,
                operation("update", 2, 3, "unknown", expected=2, value="b", revision=3),
                operation("get", 4, 5, value="b", revision=3),
            ],
            True,
        ),
        # but not both, and not after the server died.
        (
            [
                CREATED,
                operation("update", 2, 3, "unknown", expected=2, value="b", revision=3),
                operation("get", 4, 5, value="b", revision=3),
                operation("get", 6, 7, value="a", revision=2),
            ],
            False,
        ),
        (
            [
                CREATED,
                operation("update", 2, 3, "unknown", expected=2, value="b", revision=3),
                operation("get", 4, 5, value="a", revision=2),
                operation("get", 6, 7, value="b", revision=3),
            ],
            False,
        ),
        # It may stand before what was refused because of it.
        (
            [
                operation("create", 0, 1, "unknown", value="a", revision=2),
                operation("create", 2, 3, "exists", value="b"),
                operation("get", 4, 5, value="a", revision=2),
            ],
            True,
        ),
    ],
)
def test_a_key_is_a_register_or_not(operations: list[Operation], has_order: bool) -> None:
    assert is_register(operations) is has_order


def honest() -> History:
    """What a store does that is one: some writes, lists and watchers, all at their moments."""
    chance = random.Random(4)
    history = History(watches=[Watched("w1", 1), Watched("w2", 1)])
    state: dict[str, tuple[str, int]] = {}
    for revision in range(2, 120):
        now = float(revision * 10)
        key = f"k{chance.randrange(3)}"
        value, is_there = f"v{revision}", key in state
        if is_there and chance.random() < 0.3:
            value, old = state.pop(key)
            history.operations.append(
                Operation("delete", key, now, now + 3, "ok", expected=old, value="", revision=old)
            )
            event = Seen("DELETED", key, value, revision)
        else:
            verb, expected = ("update", state[key][1]) if is_there else ("create", 0)
            history.operations.append(
                msgspec.convert(
                    {
                        "verb": verb,
                        "key": key,
                        "started": now,
                        "ended": now + 3,
                        "outcome": "ok",
                        "expected": expected,
                        "value": value,
                        "revision": revision,
                    },
                    Operation,
                )
            )
            state[key] = value, revision
            event = Seen("MODIFIED" if is_there else "ADDED", key, value, revision)
        for watched in history.watches:
            watched.events.append(event)
            watched.through = revision
        history.lists.append(Listed(now + 5, now + 6, 0, revision, dict(state)))
        history.lists.append(Listed(now + 5, now + 6, revision, revision, dict(state)))
    return history


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert violations(honest()) == []


def _stale_list(history: History) -> None:
    history.lists[50] = msgspec.structs.replace(
        history.lists[50], revision=history.lists[40].revision, items=history.lists[40].items
    )


def _list_of_another_revision(history: History) -> None:
    history.lists[51] = msgspec.structs.replace(history.lists[51], items=history.lists[45].items)


def _list_from_the_future(history: History) -> None:
    history.lists[50] = msgspec.structs.replace(
        history.lists[60], started=history.lists[50].started, ended=history.lists[50].ended
    )


def _missed_event(history: History) -> None:
    del history.watches[0].events[30]


def _doubled_event(history: History) -> None:
    history.watches[0].events.insert(30, history.watches[0].events[30])


def _swapped_events(history: History) -> None:
    events = history.watches[1].events
    events[30], events[31] = events[31], events[30]


def _event_of_nothing(history: History) -> None:
    events = history.watches[1].events
    events[30] = msgspec.structs.replace(events[30], value="never written")


def _lost_acknowledged_write(history: History) -> None:
    number = next(
        number for number, one in enumerate(history.operations) if number > 30 and one.verb in ("create", "update")
    )
    revision = history.operations[number].revision
    for watched in history.watches:
        watched.events = [event for event in watched.events if event.revision != revision]


def _stale_read(history: History) -> None:
    first = next(one for one in history.operations if one.verb == "update")
    history.operations.append(
        Operation("get", first.key, 9000.0, 9001.0, "ok", value=first.value, revision=first.revision)
    )


def _lost_update(history: History) -> None:
    first = next(one for one in history.operations if one.verb == "update")
    history.operations.append(msgspec.structs.replace(first, value="other", revision=500, started=8000, ended=8001))


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (_stale_list, "does not know of"),
        (_list_of_another_revision, "there was"),
        (_list_from_the_future, "is from the future"),
        (_missed_event, "w1 missed"),
        (_doubled_event, "w1 saw"),
        (_swapped_events, "w2 saw"),
        (_event_of_nothing, "watchers saw different things"),
        (_lost_acknowledged_write, "no watcher saw"),
        (_stale_read, "no order explains"),
        (_lost_update, "no order explains"),
    ],
)
def test_what_is_planted_is_found(plant, told: str) -> None:  # type: ignore[no-untyped-def]
    history = honest()
    plant(history)
    assert any(told in one for one in violations(history)), violations(history)


def test_a_watcher_answers_only_for_what_it_watched() -> None:
    history = honest()
    whole = history.watches[0]
    half = len(whole.events) // 2
    at = whole.events[half].revision
    history.watches[0] = replace(whole, events=whole.events[:half], through=whole.events[half - 1].revision)
    history.watches.append(replace(whole, name="w3", after=at, events=whole.events[half + 1 :]))
    assert violations(history) == []
