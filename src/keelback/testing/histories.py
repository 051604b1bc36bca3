"""What clients of a store saw, and whether one order of all writes explains it (linearizability).

Each key is a register with compare-and-swap by revision, searched for an order as Wing and Gong (1993) do. Lists must
be the state at their revision, and every watcher must see every write after its start, once and in order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

UNSEEN = -1
"""The revision of a write that may have happened and that nobody has seen."""


class Operation(msgspec.Struct, frozen=True):
    """One request about one key. `ended` is when its answer came; where none came (`unknown`), when the server was
    surely dead. `expected` is the revision that an update or a delete demands; `value` and `revision` are what was
    written or read. Values are never written twice."""

    verb: Literal["create", "update", "delete", "get"]
    key: str
    started: float
    ended: float
    outcome: Literal["ok", "exists", "conflict", "missing", "unknown"]
    expected: int = 0
    value: str = ""
    revision: int = 0


class Listed(msgspec.Struct, frozen=True):
    """A list. `asked` is the exact revision that was asked for, 0 for the newest."""

    started: float
    ended: float
    asked: int
    revision: int
    items: Mapping[str, tuple[str, int]]
    """By key: value and revision."""


class Seen(msgspec.Struct, frozen=True):
    """An event of a watch. The value of a deletion is the last one."""

    type: str
    key: str
    value: str
    revision: int


@dataclass(slots=True)
class Watched:
    """What one watcher saw from a revision on, over all its reconnections, up to the revision `through`."""

    name: str
    after: int
    events: list[Seen] = field(default_factory=list)
    through: int = 0


@dataclass(slots=True)
class History:
    """All that the clients saw."""

    operations: list[Operation] = field(default_factory=list)
    lists: list[Listed] = field(default_factory=list)
    watches: list[Watched] = field(default_factory=list)


def violations(history: History) -> list[str]:
    """What no order of writes explains, in words."""
    log, problems = _log(history.watches)
    operations = _resolved(history, log)
    problems += _order_problems(operations)
    problems += _log_problems(operations, log, history.watches)
    for one in history.watches:
        problems += _watch_problems(one, log)
    for listed in history.lists:
        problems += _list_problems(listed, operations, log, history.watches)
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        by_key[operation.key].append(operation)
    problems += [f"no order explains what was seen of {key}" for key, own in by_key.items() if not is_register(own)]
    return problems


# The writes, as the watchers saw them.

_Log = dict[int, Seen]


def _log(watches: Iterable[Watched]) -> tuple[_Log, list[str]]:
    log: _Log = {}
    problems = []
    for watched in watches:
        for event in watched.events:
            known = log.setdefault(event.revision, event)
            if known != event:
                problems.append(f"watchers saw different things at {event.revision}: {known} and {event}")
    return log, problems


def _resolved(history: History, log: _Log) -> list[Operation]:
    """The operations, where writes of unknown outcome have the revision at which somebody saw them."""
    seen = {event.value: event.revision for event in log.values() if event.type != "DELETED"}
    for one in history.operations:
        if one.verb == "get" and one.outcome == "ok":
            seen.setdefault(one.value, one.revision)
    for listed in history.lists:
        for value, revision in listed.items.values():
            seen.setdefault(value, revision)
    return [
        msgspec.structs.replace(one, revision=seen.get(one.value, UNSEEN))
        if one.outcome == "unknown" and one.verb in ("create", "update")
        else one
        for one in history.operations
    ]


def _writes(operations: Iterable[Operation]) -> list[Operation]:
    """Those that were answered well and have a revision."""
    return [one for one in operations if one.outcome == "ok" and one.verb in ("create", "update")]


def _order_problems(operations: Sequence[Operation]) -> list[str]:
    """A write that began after another was acknowledged has the higher revision."""
    writes = _writes(operations)
    by_end = sorted(writes, key=lambda one: one.ended)
    problems, newest, at = [], 0, 0
    for one in sorted(writes, key=lambda one: one.started):
        while at < len(by_end) and by_end[at].ended < one.started:
            newest = max(newest, by_end[at].revision)
            at += 1
        if one.revision <= newest:
            problems.append(f"{one} began after revision {newest} was acknowledged")
    return problems


def _log_problems(operations: Sequence[Operation], log: _Log, watches: Sequence[Watched]) -> list[str]:
    """Acknowledged writes were seen, and what was seen was written."""
    problems = []
    for one in _writes(operations):
        event = log.get(one.revision)
        if event is None:
            if any(watched.after < one.revision <= watched.through for watched in watches):
                problems.append(f"no watcher saw {one}")
        elif (event.key, event.value) != (one.key, one.value) or event.type == "DELETED":
            problems.append(f"watchers saw {event} where {one} was acknowledged")
    written = {(one.key, one.value) for one in operations if one.verb in ("create", "update")}
    problems += [f"nobody wrote {event}" for event in log.values() if (event.key, event.value) not in written]
    return problems


def _watch_problems(watched: Watched, log: _Log) -> list[str]:
    """Everything once and in order."""
    revisions = [event.revision for event in watched.events]
    problems = [
        f"{watched.name} saw {later} after {earlier}"
        for earlier, later in zip([watched.after, *revisions], revisions, strict=False)
        if later <= earlier
    ]
    missed = {revision for revision in log if watched.after < revision <= watched.through} - set(revisions)
    return problems + [f"{watched.name} missed {log[revision]}" for revision in sorted(missed)]


def _list_problems(
    listed: Listed, operations: Sequence[Operation], log: _Log, watches: Sequence[Watched]
) -> Iterator[str]:
    """A list is the state at its revision, which is neither in its past nor in its future."""
    if listed.asked and listed.revision != listed.asked:
        yield f"a list at {listed.asked} was answered at {listed.revision}"
    for one in _writes(operations):
        if not listed.asked and one.ended < listed.started and one.revision > listed.revision:
            yield f"a list at {listed.revision} does not know of {one}, acknowledged before"
        if one.started > listed.ended and one.revision <= listed.revision:
            yield f"a list at {listed.revision} is from the future: {one}"
    first, through = _covered(watches)
    if not first <= listed.revision <= through:
        return
    state: dict[str, tuple[str, int]] = {}
    for revision in sorted(log):
        if revision <= listed.revision:
            event = log[revision]
            if event.type == "DELETED":
                state.pop(event.key, None)
            else:
                state[event.key] = (event.value, revision)
    known = {key: item for key, item in listed.items.items() if item[1] > first}
    if known != state:
        shown, there = dict(sorted(known.items())), dict(sorted(state.items()))
        yield f"a list at {listed.revision} shows {shown}, there was {there}"


def _covered(watches: Sequence[Watched]) -> tuple[int, int]:
    """Between which revisions every write was watched."""
    ordered = sorted(watches, key=lambda one: one.after)
    first = through = ordered[0].after if ordered else 0
    for one in ordered:
        if one.after <= through:
            through = max(through, one.through)
    return first, through


# One key: a register with compare-and-swap.


@dataclass(frozen=True, slots=True)
class _State:
    """The register: its value (None: there is none) and the revision of its last write."""

    revision: int = 0
    value: str | None = None


def is_register(operations: Sequence[Operation]) -> bool:
    """Whether the operations of one key have an order that each answer fits, and that keeps to their times.

    A write of unknown outcome may stand anywhere between its beginning and its end, or nowhere.
    """
    ordered = sorted(operations, key=lambda one: one.started)
    certain = [one for one in ordered if one.outcome != "unknown"]
    # Reads of unknown outcome say nothing.
    possible = [one for one in ordered if one.outcome == "unknown" and one.verb != "get"]
    return _Search(certain, possible).succeeds()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a search stands: what is done already, as bits, and what that has made of the register."""

    done: int = 0
    used: int = 0
    first: int = 0
    """No operation before this one is open."""
    latest_start: float = float("-inf")
    state: _State = _State()


class _Search:
    """Looks for an order, depth first; what was tried in vain is not tried again."""

    def __init__(self, certain: Sequence[Operation], possible: Sequence[Operation]) -> None:
        self._certain = certain
        self._possible = possible

    def succeeds(self) -> bool:
        """Whether there is an order."""
        tried: set[tuple[int, int, int, _State]] = set()
        places = [_Place()]
        while places:
            place = self._advanced(places.pop())
            if place.first == len(self._certain):
                return True
            mark = (place.first, place.done >> place.first, place.used, place.state)
            if mark not in tried:
                tried.add(mark)
                places.extend(self._next(place))
        return False

    def _advanced(self, place: _Place) -> _Place:
        first = place.first
        while first < len(self._certain) and place.done >> first & 1:
            first += 1
        return replace(place, first=first)

    def _closes(self, place: _Place, latest_start: float) -> bool:
        """Whether a possible write can no longer stand after an operation that began then."""
        return any(
            place.latest_start <= one.ended < latest_start
            for number, one in enumerate(self._possible)
            if not place.used >> number & 1
        )

    def _next(self, place: _Place) -> list[_Place]:
        deadline = float("inf")
        candidates = []
        for number in range(place.first, len(self._certain)):
            one = self._certain[number]
            if one.started > deadline:
                break
            if not place.done >> number & 1:
                deadline = min(deadline, one.ended)
                candidates.append((number, one))
        found = []
        for number, one in candidates:
            if one.started > deadline:
                continue
            state = _after(place.state, one)
            if state is None:
                continue
            latest = max(place.latest_start, one.started)
            then = replace(place, done=place.done | 1 << number, latest_start=latest, state=state)
            if state == place.state and not self._closes(place, latest):
                # What changes nothing and fits now may as well stand here.
                return [then]
            found.append(then)
        for number, one in enumerate(self._possible):
            if place.used >> number & 1 or one.started > deadline or one.ended < place.latest_start:
                continue
            state = _after(place.state, one)
            if state is not None:
                latest = max(place.latest_start, one.started)
                found.append(replace(place, used=place.used | 1 << number, latest_start=latest, state=state))
        return found


def _after(state: _State, one: Operation) -> _State | None:
    """The register after an operation with this outcome; None where it cannot have had it."""
    is_there = state.value is not None
    has_expected = is_there and one.expected in (0, state.revision)
    is_newer = one.revision == UNSEEN or one.revision > state.revision
    match one.verb, one.outcome:
        case "create", "ok" | "unknown":
            return _State(one.revision, one.value) if not is_there and is_newer else None
        case "update", "ok" | "unknown":
            return _State(one.revision, one.value) if has_expected and is_newer else None
        case "delete", "ok" | "unknown":
            return _State(state.revision) if has_expected else None
        case "get", "ok":
            return state if (state.value, state.revision) == (one.value, one.revision) else None
        case _, "exists":
            return state if is_there else None
        case _, "missing":
            return state if not is_there else None
        case _, "conflict":
            return state if not has_expected else None
    return None
