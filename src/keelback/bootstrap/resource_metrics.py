"""How the metrics API of a cluster reaches its kubelets: as the service account metrics-server, with nothing more."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from keelback.apimachinery import errors
from keelback.auth import users
from keelback.auth.users import AUTHENTICATED_GROUP, MASTERS_GROUP, UserInfo
from keelback.bootstrap.service_account_clients import ServiceAccountToken, ServiceAccountTransport
from keelback.client import Client
from keelback.client.https import HTTPSTransport, client_context
from keelback.component.http import Request
from keelback.concurrency.clock import Clock
from keelback.metrics import access
from keelback.metrics.observed import MeasuredNode
from keelback.metrics.server import ResourceMetrics

_SIMULATED_LABEL: Final = "node.keelback.dev/simulated"
_PATH: Final = "/metrics/resource"
_KUBELET_PORT: Final = 10250
_SECONDS: Final = 10.0


async def run(
    usage: ResourceMetrics,
    client_for: Callable[[UserInfo, str], Client],
    ca_pem: bytes,
    make_socket: Callable[[], socket.socket] | None,
    clock: Clock,
) -> None:
    """Keep the API's figures fresh from real kubelets, until cancelled; `client_for` acts as anybody."""
    maker = client_for(UserInfo("system:metrics-setup", groups=(MASTERS_GROUP, AUTHENTICATED_GROUP)), "keelback")
    await access.ensure(maker)
    kubelets = KubeletReader(maker, ca_pem, make_socket, clock)
    try:
        await usage.run(client_for(account(), access.ACCOUNT), kubelets.fetch)
    finally:
        await kubelets.close()


def account() -> UserInfo:
    """Who reads nodes and pods for the metrics API."""
    groups = (*users.service_account_groups(access.NAMESPACE), AUTHENTICATED_GROUP)
    return UserInfo(users.service_account_user_name(access.NAMESPACE, access.ACCOUNT), groups=groups)


class KubeletReader:
    """Reads the metrics of real nodes' kubelets. `maker` may ask for the account's tokens."""

    def __init__(
        self, maker: Client, ca_pem: bytes, make_socket: Callable[[], socket.socket] | None, clock: Clock
    ) -> None:
        self._token = ServiceAccountToken(access.ACCOUNT, maker, clock)
        self._context = client_context(ca_pem.decode())
        self._make_socket = make_socket
        self._clock = clock
        self._kubelets: dict[str, tuple[str, ServiceAccountTransport]] = {}

    async def fetch(self, node: MeasuredNode) -> bytes:
        """The text of the node's metrics. Raises StatusError, OSError or TimeoutError where there is none."""
        if _SIMULATED_LABEL in node.metadata.labels:
            # Its address is made up: whoever has it on some network must not be called.
            raise ConnectionError("the node's containers are simulated elsewhere: nobody serves what they use")
        transport = await self._transport(node)
        answer = await transport.send(Request("GET", _PATH), timeout_seconds=_SECONDS)
        if answer.status != 200:
            why = answer.content()[:200].decode(errors="replace").strip()
            raise errors.StatusError(f"the kubelet answered {answer.status}: {why}", code=answer.status)
        return answer.content()

    async def _transport(self, node: MeasuredNode) -> ServiceAccountTransport:
        name = node.metadata.name
        address = next((one.address for one in node.status.addresses if one.type == "InternalIP"), name)
        endpoint = node.status.daemon_endpoints.kubelet_endpoint
        server = f"https://{address}:{(endpoint.port if endpoint else 0) or _KUBELET_PORT}"
        known = self._kubelets.get(name)
        if known is not None and known[0] == server:
            return known[1]
        if known is not None:
            await known[1].close()
        inner = HTTPSTransport(server, self._context, make_socket=self._make_socket, clock=self._clock)
        made = ServiceAccountTransport(inner, self._token)
        self._kubelets[name] = (server, made)
        return made

    async def close(self) -> None:
        """Give up all connections."""
        for _, transport in self._kubelets.values():
            await transport.close()
        self._kubelets.clear()
