"""Until when a pod must go on serving: until no node's Service rules send new connections to it any more.

The slice says first that the endpoint terminates; then this node's rules must follow that version, and then those of
every other node that is Ready, which is asked at its proxy's own port. No answer is a reason to go on waiting: the
kubelet, which asks here, sets the bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeAlias

from keelback.api import conditions
from keelback.apimachinery import errors
from keelback.client import Client
from keelback.client.store import Key
from keelback.concurrency.clock import Clock
from keelback.proxy.config import ProxyConfig
from keelback.proxy.observed import EndpointSlice, Node
from keelback.proxy.progress import Progress

Ask: TypeAlias = Callable[[str, int, int], Awaitable[int]]
"""Whether the proxy at an address and port follows a version: the HTTP status of its answer. Raises OSError."""

_APPEAR_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 0.1
_ANSWER_SECONDS: Final = 15.0
_NOT_FOUND: Final = 404


class EndpointDrain:
    """Asked by the node's kubelet; told by its proxy, which may be made anew meanwhile."""

    def __init__(self, config: ProxyConfig, client: Client, clock: Clock, ask: Ask | None = None) -> None:
        self._config = config
        self._client = client
        self._clock = clock
        self._ask = ask or ask_over_http
        self._progress = Progress()
        self._slices_of: Callable[[Key], Sequence[EndpointSlice]] = lambda key: ()

    def follow(self, progress: Progress, slices_of: Callable[[Key], Sequence[EndpointSlice]]) -> None:
        """From now on this proxy is the node's."""
        self._progress, self._slices_of = progress, slices_of

    async def wait_left(self, uid: str, services: Sequence[Key]) -> bool:
        """Return when no node sends new connections for these Services to the pod; the caller sets the bound.

        False, at once, where that cannot be known: no rules here, or other nodes have another kind of proxy.
        """
        if not self._progress.revision:
            return False
        revision = await self._wait_terminating(uid, services)
        await self._progress.wait(revision)
        if not self._config.health_port:
            return False
        addresses = await self._others()
        return all(await asyncio.gather(*(self._wait_other(address, revision) for address in addresses)))

    async def _wait_terminating(self, uid: str, services: Sequence[Key]) -> int:
        """The version at which the last of the slices says so."""
        until = self._clock.monotonic() + _APPEAR_SECONDS
        while True:
            found = [leaving(uid, self._slices_of(key)) for key in services]
            # A slice that never had the pod (another address family, say) never names it.
            is_late = self._clock.monotonic() > until
            if all(revision or (is_late and revision is None) for revision in found):
                return max((revision or 0 for revision in found), default=0)
            await self._clock.sleep(self._config.debounce_seconds)

    async def _others(self) -> list[str]:
        while True:
            try:
                nodes = await self._client.list(Node, resource_version="0")
            except (errors.StatusError, OSError, TimeoutError):
                await self._clock.sleep(_AGAIN_SECONDS)
                continue
            return peers(nodes.items or (), self._config.node_name)

    async def _wait_other(self, address: str, revision: int) -> bool:
        while True:
            try:
                status = await self._ask(address, self._config.health_port, revision)
            except (OSError, TimeoutError, ValueError):
                status = 0
            if status in {200, _NOT_FOUND}:
                return status != _NOT_FOUND
            await self._clock.sleep(_AGAIN_SECONDS)


def leaving(uid: str, slices: Iterable[EndpointSlice]) -> int | None:
    """The version at which every slice that has the pod says that it terminates; 0 before, None where none has it."""
    found = None
    for one in slices:
        for endpoint in one.endpoints or ():
            if endpoint.target_ref is not None and endpoint.target_ref.uid == uid:
                if not endpoint.conditions.terminating:
                    return 0
                found = max(found or 0, int(one.metadata.resource_version))
    return found


def peers(nodes: Iterable[Node], own: str) -> list[str]:
    """The addresses of the other nodes that are Ready: one that is not, serves nobody or cannot be asked."""
    addresses = []
    for node in nodes:
        is_ready = conditions.is_true(node.status.conditions, "Ready")
        internal = [one.address for one in node.status.addresses if one.type == "InternalIP"]
        if node.metadata.name != own and is_ready and internal:
            addresses.append(internal[0])
    return addresses


async def ask_over_http(address: str, port: int, revision: int) -> int:
    """Ask a proxy, which answers when it follows the version. Raises OSError, TimeoutError, ValueError."""
    async with asyncio.timeout(_ANSWER_SECONDS):
        reader, writer = await asyncio.open_connection(address, port)
        try:
            host = f"[{address}]" if ":" in address else address
            request = f"GET /programmed?revision={revision} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            writer.write(request.encode())
            line = await reader.readline()
        finally:
            writer.close()
    return int(line.split()[1]) if len(line.split()) > 1 else 0
