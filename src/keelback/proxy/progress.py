"""How far a proxy has come: the version of EndpointSlices that the kernel's rules already follow.

Every proxy watches the same slices, and versions of one resource can be compared (KEP-5504): so one proxy's version
tells another node whether a change has arrived there.
"""

from __future__ import annotations

import asyncio


class Progress:
    """A version that only grows, and those who wait for it. Belongs to one event loop."""

    def __init__(self) -> None:
        self.revision = 0
        """0 until rules have been written once."""
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def reach(self, revision: int) -> None:
        """The kernel follows every change up to this version."""
        if revision <= self.revision:
            return
        self.revision = revision
        for wanted, waiter in self._waiting:
            if wanted <= revision and not waiter.done():
                waiter.set_result(None)
        self._waiting = [entry for entry in self._waiting if not entry[1].done()]

    async def wait(self, revision: int) -> None:
        """Return when the kernel follows this version; whoever waits sets the bound."""
        if self.revision >= revision:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append((revision, waiter))
        try:
            await waiter
        finally:
            self._waiting = [entry for entry in self._waiting if entry[1] is not waiter]
