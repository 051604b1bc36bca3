"""In which order requests that have arrived are begun."""

from __future__ import annotations

from collections.abc import Callable

from keelback.component.arrivals import ArrivalOrder


class Loop:
    """Rounds of a loop, by hand."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []
        self.begun: list[str] = []
        self.order = ArrivalOrder(self.due.append)

    def came(self, client: str, name: str = "") -> None:
        self.order.came(client, Request(self, name or client))

    def round(self) -> list[str]:
        """What has begun since the last."""
        due, self.due[:] = list(self.due), []
        for callback in due:
            callback()
        begun, self.begun = self.begun, []
        return begun


class Request:
    def __init__(self, loop: Loop, name: str) -> None:
        self._loop = loop
        self._name = name

    def begin(self) -> None:
        self._loop.begun.append(self._name)


def a_shared_loop() -> Loop:
    """One of which two clients have asked something before."""
    loop = Loop()
    for client in ("flood", "tenant"):
        loop.came(client)
        loop.round()
    loop.round()
    assert not loop.due
    return loop


def test_a_request_that_comes_alone_begins_at_once() -> None:
    loop = Loop()
    loop.came("flood")
    assert loop.begun == ["flood"]


def test_a_client_that_is_alone_needs_no_round() -> None:
    loop = Loop()
    loop.came("flood")
    for _ in range(1_001):
        loop.came("flood")
        loop.round()
    while loop.due:
        loop.round()
    loop.begun.clear()
    for _ in range(10):
        loop.came("flood")
    assert loop.begun == ["flood"] * 10
    assert not loop.due


def test_of_a_flood_one_request_is_begun_in_a_round_and_who_comes_meanwhile_is_next() -> None:
    loop = a_shared_loop()
    for number in range(32):
        loop.came("flood", f"flood-{number}")
    assert loop.begun == ["flood-0"]
    assert loop.round() == ["flood-0", "flood-1"]
    assert loop.round() == ["flood-2"]
    loop.came("tenant")
    assert loop.begun == ["tenant"]
    assert loop.round() == ["tenant", "flood-3"]


def test_clients_that_all_flood_take_turns() -> None:
    loop = a_shared_loop()
    for number in range(3):
        for client in ("a", "b", "c"):
            loop.came(client, f"{client}{number}")
    begun: list[str] = []
    while loop.due:
        begun += loop.round()
    assert begun == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


def test_many_clients_that_come_at_once_do_not_fill_a_round() -> None:
    loop = a_shared_loop()
    for number in range(1_000):
        loop.came(f"client-{number}")
    assert len(loop.begun) <= 8
    begun = loop.begun.copy()
    loop.begun.clear()
    while loop.due:
        begun += loop.round()
    assert begun == [f"client-{number}" for number in range(1_000)]


def test_a_client_alone_has_no_more_begun_in_a_round_than_a_bound() -> None:
    loop = Loop()
    loop.came("flood")
    while loop.due:
        loop.round()
    for _ in range(1_000):
        loop.came("flood")
        loop.round()
    while loop.due:
        loop.round()
    loop.begun.clear()
    for _ in range(100):
        loop.came("flood")
    assert len(loop.begun) <= 32
    while loop.due:
        assert len(loop.round()) <= 64
