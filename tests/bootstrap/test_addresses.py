"""The addresses of a cluster: what flags give which, and which flags cannot work."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.bootstrap.addresses import ClusterAddresses, plan_addresses
from keelback.bootstrap.cluster_state import ClusterError
from keelback.bootstrap.components import APIServerOptions, ControllerManagerOptions


def planned(
    services: str = "10.96.0.0/16", pods: str = "", mask: int = 24, *, simulated: bool = False, nodes: int = 1
) -> ClusterAddresses:
    return plan_addresses(
        APIServerOptions(service_cluster_ip_range=services),
        ControllerManagerOptions(cluster_cidr=pods, node_cidr_mask_size=mask),
        simulated=simulated,
        nodes=nodes,
        taken=IPv4Network("10.89.0.0/16"),
    )


def test_without_flags_they_are_where_kubeadm_and_its_networks_have_them():
    addresses = planned()
    assert (addresses.service_ip, addresses.dns_ip) == ("10.96.0.1", "10.96.0.10")
    assert [addresses.node_pods(index) for index in (0, 2)] == ["10.244.0.0/24", "10.244.2.0/24"]


def test_flags_move_them_all():
    addresses = planned("172.30.4.0/24", "192.168.128.0/20", 26)
    assert (addresses.service_ip, addresses.dns_ip) == ("172.30.4.1", "172.30.4.10")
    assert [addresses.node_pods(index) for index in (0, 5)] == ["192.168.128.0/26", "192.168.129.64/26"]
    assert addresses.most_nodes == 64


def test_thousands_of_simulated_nodes_have_room():
    assert planned(simulated=True, nodes=5000).node_pods(4999) == "10.147.135.0/24"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"services": "10.96.0.0"}, "too small"),
        ({"services": "10.96.0.0/29"}, "too small"),
        ({"services": "10.0.0.0/8"}, "too large"),
        ({"services": "10.96.0.1/16"}, "has host bits set"),
        ({"services": "everywhere"}, "a range is written as"),
        ({"services": ""}, "a range is written as"),
        ({"services": "10.96.0.0/16,fd00::/112"}, "one IPv4 range"),
        ({"services": "fd00::/112"}, "one IPv4 range"),
        (
            {"services": "10.244.8.0/24"},
            "service-cluster-ip-range 10.244.8.0/24 and cluster-cidr 10.244.0.0/16 overlap",
        ),
        ({"services": "10.89.8.0/24"}, "the network between the nodes 10.89.0.0/16 overlap"),
        ({"pods": "10.89.0.0/17"}, "the network between the nodes"),
        ({"pods": "10.1.0.0/23", "nodes": 3}, "room for 2 node(s) of /24 each, not for 3"),
        ({"mask": 8}, "node-cidr-mask-size 8"),
        ({"mask": 31}, "node-cidr-mask-size 31"),
    ],
)
def test_what_cannot_work_is_said_by_the_flags_name(flags, said):
    with pytest.raises(ClusterError) as refused:
        planned(**flags)
    assert said in str(refused.value)


@given(prefix=st.integers(12, 24), extra=st.integers(0, 6), data=st.data())
def test_no_two_nodes_share_an_address(prefix, extra, data):
    addresses = planned("192.168.0.0/24", f"172.16.0.0/{prefix}", prefix + extra)
    index = data.draw(st.integers(0, addresses.most_nodes - 1))
    other = data.draw(st.integers(0, addresses.most_nodes - 1))
    one, two = IPv4Network(addresses.node_pods(index)), IPv4Network(addresses.node_pods(other))
    assert one.subnet_of(addresses.pods)
    assert index == other or not one.overlaps(two)
