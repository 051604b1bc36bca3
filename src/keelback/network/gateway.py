"""What a fabric's gateway address offers to nodes besides the API server: a way out for image pulls, and name service.

It runs in a process of the machine's own network namespace, with sockets that belong to the fabric.
"""

from __future__ import annotations

import asyncio
import socket

from keelback.network import egress, name_relay, namespaces
from keelback.network.egress import EgressProxy
from keelback.network.fabric import Fabric
from keelback.network.name_relay import NameRelay


def egress_url(fabric: Fabric) -> str:
    """What nodes are told as their `HTTPS_PROXY`."""
    return f"http://{fabric.plan.gateway}:{egress.PORT}"


async def serve(fabric: Fabric, resolv_conf: str) -> None:
    """Serve until cancelled. `resolv_conf` is the text of the machine's own `/etc/resolv.conf`.

    `OSError` when the fabric is not there, or somebody serves its gateway already.
    """
    gateway, clients = str(fabric.plan.gateway), fabric.plan.network
    proxy = namespaces.listen_in(fabric.path, gateway, egress.PORT)
    streams = namespaces.listen_in(fabric.path, gateway, name_relay.PORT)
    with namespaces.socket_in(fabric.path, kind=socket.SOCK_DGRAM) as datagrams:
        datagrams.bind((gateway, name_relay.PORT))
        async with asyncio.TaskGroup() as group:
            group.create_task(EgressProxy(clients).serve(proxy))
            group.create_task(NameRelay(clients, name_relay.name_servers(resolv_conf)).serve(datagrams, streams))
