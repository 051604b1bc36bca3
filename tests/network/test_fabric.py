"""The fabric joins nodes, and only what is below it is touched."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.network import namespaces
from keelback.network.fabric import Attachment, Fabric, FabricPlan
from keelback.network.namespaces import Kind, Namespaces

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of one's own need root")
ONE = Attachment("one", IPv4Address("10.89.0.2"), IPv4Network("10.244.0.0/24"))
TWO = Attachment("two", IPv4Address("10.89.0.3"), IPv4Network("10.244.1.0/24"))


@given(st.integers(min_value=0, max_value=65000))
def test_every_node_has_an_address_of_its_own_beside_the_gateway(index: int) -> None:
    plan = FabricPlan()
    address = plan.node_address(index)
    assert address in plan.network
    assert address not in {plan.gateway, plan.network.broadcast_address, plan.network.network_address}
    assert plan.node_address(index + 1) > address


def test_a_full_fabric_says_so() -> None:
    with pytest.raises(IndexError):
        FabricPlan(IPv4Network("10.89.0.0/29")).node_address(5)


@given(st.text(min_size=1))
def test_link_names_fit_whatever_the_node_is_called(name: str) -> None:
    assert len(Attachment(name, ONE.address, ONE.pod_cidr).link) <= 15


@pytest.fixture
def fabric(tmp_path: Path) -> Iterator[Fabric]:
    fabric = Fabric(tmp_path / "fabric")
    fabric.create()
    yield fabric
    fabric.destroy()


@pytest.fixture
def nodes() -> Iterator[list[int]]:
    processes = [
        namespaces.within_new(Kind.NETWORK, lambda: subprocess.Popen(["sleep", "600"], cwd="/")) for _ in range(2)
    ]
    yield [process.pid for process in processes]
    for process in processes:
        process.kill()
        process.wait()


async def answers(pid: int, address: str) -> bool:
    """Whether anything at the address sends a packet back: a refusal is an answer."""
    try:
        connection = await namespaces.connect_in(Path(f"/proc/{pid}/ns/net"), address, 9, timeout_seconds=1)
    except ConnectionRefusedError:
        return True
    except (TimeoutError, OSError):
        return False
    connection.close()
    return True


@needs_root
@pytest.mark.skipif(platform.system() != "Linux", reason="network namespaces are Linux'")
def test_nodes_reach_the_gateway_and_one_another_until_cut_off(fabric: Fabric, nodes: list[int]) -> None:
    interfaces = set(os.listdir("/sys/class/net"))
    fabric.attach(ONE, nodes[0], [TWO])
    fabric.attach(TWO, nodes[1], [ONE])
    routes = namespaces.run(Namespaces.of(nodes[0], Kind.NETWORK), ["ip", "route", "show", str(TWO.pod_cidr)])
    assert str(TWO.address) in routes
    assert set(os.listdir("/sys/class/net")) == interfaces
    assert asyncio.run(answers(nodes[0], str(fabric.plan.gateway)))
    assert asyncio.run(answers(nodes[0], str(TWO.address)))
    fabric.set_connected(TWO.link, False)
    assert not asyncio.run(answers(nodes[0], str(TWO.address)))
    fabric.set_connected(TWO.link, True)
    assert asyncio.run(answers(nodes[0], str(TWO.address)))
    assert fabric.links() >= {ONE.link, TWO.link}
    fabric.create()
    fabric.attach(ONE, nodes[0])
    fabric.detach(TWO)
    assert TWO.link not in fabric.links()
