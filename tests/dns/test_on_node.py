"""The whole server in a network namespace of its own, on the address that pods ask."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from dnslib import DNSRecord

from keelback.api.core_v1 import Service, ServicePort, ServiceSpec
from keelback.apimachinery.meta import ObjectMeta
from keelback.concurrency.clock import SystemClock
from keelback.dns import DNSConfig, run
from keelback.network import namespaces
from keelback.network.namespaces import Namespaces
from keelback.testing.api import Administrator, administrator

pytestmark = [
    pytest.mark.containers,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]


@pytest.fixture
def netns() -> Iterator[Path]:
    path = Path(f"/run/netns/kbdns{os.getpid() % 100000}")
    subprocess.run(["ip", "netns", "add", path.name], check=True)
    yield path
    subprocess.run(["ip", "netns", "del", path.name], check=False)


def ask(name: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        try:
            client.connect(("10.96.0.10", 53))
            client.send(DNSRecord.question(name).pack())
            found = DNSRecord.parse(client.recv(512)).rr
            return str(found[0].rdata) if found else ""
        except OSError:
            return ""


def test_a_node_answers_on_the_clusters_address_after_every_start(netns: Path) -> None:
    async def scenario(api: Administrator) -> None:
        spec = ServiceSpec(cluster_ip="10.96.0.20", ports=(ServicePort(name="http", port=80),))
        await api.put(Service(metadata=ObjectMeta(name="web", namespace="shop"), spec=spec))
        for _ in range(2):
            serving = asyncio.create_task(run(api.client, DNSConfig(resolv_conf=Path("/none")), SystemClock()))
            async with asyncio.timeout(10):
                while await asyncio.to_thread(ask, "web.shop.svc.cluster.local") != "10.96.0.20":
                    assert not serving.done()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    async def main() -> None:
        async with administrator("shop") as api:
            await scenario(api)

    namespaces.within(Namespaces.network(netns), lambda: asyncio.run(main()))
