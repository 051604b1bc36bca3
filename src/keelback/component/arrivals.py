"""In which order requests that have arrived are begun: few between two looks at the sockets, and each client in turn.

Whatever one look finds would otherwise be begun before the next: from a client with many connections that is a lot, and
who comes meanwhile waits for all of it. A client is told by its credentials as they came: to say who goes first they
need not be verified.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Final, Protocol

_CLIENTS: Final = 8
"""So many clients may have a request begun in one round, each one."""
_ALONE: Final = 32
"""So many requests of one client are begun in one round as long as nobody else asks: to look at the sockets in between
makes each a tenth dearer."""
_COMPANY_ROUNDS: Final = 1_000
"""For so many rounds after another client has asked, a client is not taken to be alone."""


class Arrival(Protocol):
    """Whose request has arrived: a connection."""

    def begin(self) -> None:
        """It is the request's turn. It may be answered before this returns."""
        ...


class ArrivalOrder:
    """Lets requests begin, in rounds of the event loop. A request that finds nobody before it begins at once."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        """`call_soon` is the loop's: what it is given is called once the sockets have been looked at."""
        self._call_soon = call_soon
        self._left = 1
        self._latest: Hashable = None
        self._company_rounds = 0
        self._begun: set[Hashable] = set()
        self._waiting: dict[Hashable, deque[Arrival]] = {}
        self._round_is_due = False

    @property
    def is_shared(self) -> bool:
        """Whether several clients ask."""
        return self._company_rounds > 0

    def came(self, client: Hashable, arrival: Arrival) -> None:
        """A client's request has arrived. It begins at once where nobody waits and the round has room, or where the
        client has had nothing of the round yet."""
        if client != self._latest:
            self._latest = client
            self._company_rounds = _COMPANY_ROUNDS
        elif not self._company_rounds and self._left > 1:
            # Nothing has to be known of a client that is alone but when to look at the sockets.
            self._left -= 1
            arrival.begin()
            return
        if self._left and not self._waiting:
            self._begin(client, arrival)
        elif client in self._begun or client in self._waiting or len(self._begun) >= _CLIENTS:
            self._waiting.setdefault(client, deque()).append(arrival)
        else:
            self._begin(client, arrival)
        if not self._round_is_due:
            self._round_is_due = True
            self._call_soon(self._next_round)

    def _next_round(self) -> None:
        self._begun.clear()
        self._round_is_due = bool(self._waiting)
        if self._company_rounds:
            self._company_rounds -= 1
            self._left = 1
        else:
            self._left = _ALONE
        if not self._waiting:
            return
        self._call_soon(self._next_round)
        while self._left and self._waiting:
            client = next(iter(self._waiting))
            waiting = self._waiting.pop(client)
            arrival = waiting.popleft()
            if waiting:
                self._waiting[client] = waiting
            self._begin(client, arrival)

    def _begin(self, client: Hashable, arrival: Arrival) -> None:
        self._begun.add(client)
        if self._left:
            self._left -= 1
        arrival.begin()
