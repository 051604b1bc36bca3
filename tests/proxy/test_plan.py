"""Which endpoints a client of a Service gets, on one node."""

from __future__ import annotations

import pytest

from keelback.api.core_v1 import (
    ClientIPConfig,
    LoadBalancerIngress,
    LoadBalancerStatus,
    ServicePort,
    ServiceStatus,
    SessionAffinityConfig,
)
from keelback.api.discovery_v1 import EndpointConditions, EndpointHints, EndpointPort, ForNode, ForZone
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.proxy.config import ProxyConfig
from keelback.proxy.observed import Endpoint, EndpointSlice, Service, ServiceSpec
from keelback.proxy.plan import Backend, Frontend, Rule, local_endpoint_count, plan

CONFIG = ProxyConfig("node-a", ("172.18.0.2",), pod_cidrs=("10.244.0.0/24",), zone="east")
HTTP = ServicePort(name="http", port=80, node_port=30080)
TERMINATING = EndpointConditions(ready=False, serving=True, terminating=True)
NOT_READY = EndpointConditions(ready=False, serving=False)
CLUSTER_IP = Frontend("10.96.0.20", "tcp", 80)
NODE_PORT = Frontend("172.18.0.2", "tcp", 30080)


def service(**spec: object) -> Service:
    values = {"cluster_ip": "10.96.0.20", "ports": (HTTP,), **spec}
    return Service(metadata=ObjectMeta(name="web", namespace="shop"), spec=ServiceSpec(**values))


def endpoint(address: str, node: str = "node-a", **fields: object) -> Endpoint:
    return Endpoint(addresses=(address,), node_name=node, **fields)


def slice_of(*endpoints: Endpoint, port: int = 8080, name: str = "http") -> EndpointSlice:
    family = "IPv6" if endpoints and ":" in endpoints[0].addresses[0] else "IPv4"
    return EndpointSlice(address_type=family, endpoints=endpoints, ports=(EndpointPort(name=name, port=port),))


def rules(service: Service, *slices: EndpointSlice, config: ProxyConfig = CONFIG) -> dict[Frontend, Rule]:
    return {rule.frontend: rule for rule in plan(service, slices, config)}


def addresses(rule: Rule) -> list[str]:
    return [backend.address for backend in rule.backends]


HERE, THERE = endpoint("10.244.0.5"), endpoint("10.244.1.6", "node-b")


def test_each_endpoint_once_in_a_fixed_order_at_its_own_port() -> None:
    found = rules(service(), slice_of(THERE, HERE), slice_of(HERE))
    assert found[CLUSTER_IP].backends == (Backend("10.244.0.5", 8080, True), Backend("10.244.1.6", 8080, False))


def test_a_port_of_another_number_stands_in_a_slice_of_its_own() -> None:
    found = rules(service(), slice_of(HERE), slice_of(THERE, port=9090))
    assert [backend.port for backend in found[CLUSTER_IP].backends] == [8080, 9090]


def test_only_slices_of_the_ports_name_count() -> None:
    found = rules(service(), slice_of(HERE, name="metrics"))
    assert addresses(found[CLUSTER_IP]) == []


@pytest.mark.parametrize(
    "spec",
    [{"cluster_ip": "None"}, {"type": "ExternalName", "cluster_ip": ""}, {"cluster_ip": ""}],
)
def test_services_without_an_address_need_no_proxy(spec: dict[str, object]) -> None:
    assert plan(service(**spec), [slice_of(HERE)], CONFIG) == ()


def test_addresses_that_the_node_serves_are_left_alone() -> None:
    assert rules(service(cluster_ip="10.96.0.10")) == {}


def test_terminating_endpoints_serve_when_nobody_else_does() -> None:
    leaving = endpoint("10.244.0.7", conditions=TERMINATING)
    broken = endpoint("10.244.0.8", conditions=NOT_READY)
    assert addresses(rules(service(), slice_of(HERE, leaving, broken))[CLUSTER_IP]) == ["10.244.0.5"]
    assert addresses(rules(service(), slice_of(leaving, broken))[CLUSTER_IP]) == ["10.244.0.7"]
    assert addresses(rules(service(), slice_of(broken))[CLUSTER_IP]) == []


def test_local_policies_keep_to_the_node() -> None:
    wanted = service(type="NodePort", internal_traffic_policy="Local", external_traffic_policy="Local")
    found = rules(wanted, slice_of(HERE, THERE))
    assert addresses(found[CLUSTER_IP]) == ["10.244.0.5"]
    assert addresses(found[NODE_PORT]) == ["10.244.0.5"]
    assert found[NODE_PORT].treatment == "local"
    # Pods reach a Service from inside by any of its addresses.
    assert [backend.address for backend in found[NODE_PORT].inside or ()] == ["10.244.0.5", "10.244.1.6"]


def test_without_local_endpoints_packets_are_dropped_only_if_other_nodes_have_some() -> None:
    wanted = service(type="NodePort", internal_traffic_policy="Local", external_traffic_policy="Local")
    elsewhere, nowhere = rules(wanted, slice_of(THERE)), rules(wanted)
    assert [rule.is_elsewhere for rule in elsewhere.values()] == [True, True]
    assert [rule.is_elsewhere for rule in nowhere.values()] == [False, False]


def test_a_local_policy_falls_back_to_terminating_endpoints_of_the_node() -> None:
    leaving = endpoint("10.244.0.7", conditions=TERMINATING)
    wanted = service(type="NodePort", external_traffic_policy="Local")
    found = rules(wanted, slice_of(leaving, THERE))
    assert addresses(found[NODE_PORT]) == ["10.244.0.7"]
    assert [backend.address for backend in found[NODE_PORT].inside or ()] == ["10.244.1.6"]


def test_all_addresses_of_a_load_balancer_service() -> None:
    ingress = (LoadBalancerIngress(ip="192.0.2.1"), LoadBalancerIngress(ip="192.0.2.2", ip_mode="Proxy"))
    wanted = replace(
        service(type="LoadBalancer", external_ips=("198.51.100.1",)),
        status=ServiceStatus(load_balancer=LoadBalancerStatus(ingress=ingress)),
    )
    found = rules(wanted, slice_of(HERE))
    assert {(front.address, front.port, rule.treatment) for front, rule in found.items()} == {
        ("10.96.0.20", 80, "cluster"),
        ("172.18.0.2", 30080, "external"),
        ("198.51.100.1", 80, "external"),
        ("192.0.2.1", 80, "external"),
    }


def test_source_ranges_are_for_the_load_balancers_address_alone() -> None:
    wanted = replace(
        service(type="LoadBalancer", load_balancer_source_ranges=("10.0.0.0/9", " 10.128.0.0/9 ", "192.0.2.7/24")),
        status=ServiceStatus(load_balancer=LoadBalancerStatus(ingress=(LoadBalancerIngress(ip="192.0.2.1"),))),
    )
    found = rules(wanted, slice_of(HERE))
    assert {front.address: rule.sources for front, rule in found.items() if rule.sources} == {
        "192.0.2.1": ("10.0.0.0/8", "192.0.2.0/24")
    }


def test_ranges_of_another_family_let_nobody_in() -> None:
    wanted = replace(
        service(type="LoadBalancer", load_balancer_source_ranges=("fd00::/8",)),
        status=ServiceStatus(load_balancer=LoadBalancerStatus(ingress=(LoadBalancerIngress(ip="192.0.2.1"),))),
    )
    assert rules(wanted, slice_of(HERE))[Frontend("192.0.2.1", "tcp", 80)].sources == ("0.0.0.0/32",)


def test_each_family_has_endpoints_of_its_own() -> None:
    wanted = service(cluster_ips=("10.96.0.20", "fd00::20"))
    found = rules(wanted, slice_of(HERE), slice_of(endpoint("fd00:1::5")))
    assert {front.address: addresses(rule) for front, rule in found.items()} == {
        "10.96.0.20": ["10.244.0.5"],
        "fd00::20": ["fd00:1::5"],
    }


@pytest.mark.parametrize(("chosen", "expected"), [(None, 10_800), (60, 60)])
def test_client_affinity_lasts_as_long_as_it_says(chosen: int | None, expected: int) -> None:
    config = SessionAffinityConfig(client_ip=ClientIPConfig(timeout_seconds=chosen))
    found = rules(service(session_affinity="ClientIP", session_affinity_config=config), slice_of(HERE))
    assert found[CLUSTER_IP].affinity_seconds == expected


def test_hints_are_followed_if_all_have_them_and_one_is_for_us() -> None:
    east, west = (EndpointHints(for_zones=(ForZone(name=name),)) for name in ("east", "west"))
    near = endpoint("10.244.0.5", hints=east)
    far = endpoint("10.244.1.6", "node-b", hints=west)
    assert addresses(rules(service(), slice_of(near, far))[CLUSTER_IP]) == ["10.244.0.5"]
    assert len(addresses(rules(service(), slice_of(near, THERE))[CLUSTER_IP])) == 2
    assert addresses(rules(service(), slice_of(far))[CLUSTER_IP]) == ["10.244.1.6"]
    mine, theirs = (EndpointHints(for_nodes=(ForNode(name=name),)) for name in ("node-a", "node-b"))
    pair = slice_of(endpoint("10.244.0.5", hints=mine), endpoint("10.244.1.6", hints=theirs))
    assert addresses(rules(service(), pair)[CLUSTER_IP]) == ["10.244.0.5"]


def test_a_health_check_counts_the_nodes_ready_endpoints() -> None:
    held = slice_of(HERE, THERE, endpoint("10.244.0.7", conditions=TERMINATING))
    assert local_endpoint_count([held, slice_of(HERE)], "node-a") == 1


@pytest.mark.parametrize("address", ["10.0.0.1 }; flush ruleset", "010.0.0.1", "fe80::1%a; flush ruleset", "web", ""])
def test_only_addresses_come_into_rules(address: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        plan(service(), [slice_of(endpoint(address))], CONFIG)
    with pytest.raises(ValueError, match="does not appear to be"):
        plan(service(external_ips=(address,)), [], CONFIG)
    with pytest.raises(ValueError, match="no protocol"):
        plan(service(ports=(ServicePort(name="http", port=80, protocol="TCP; flush ruleset"),)), [], CONFIG)
