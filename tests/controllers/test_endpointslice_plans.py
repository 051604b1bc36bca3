"""Endpoint slices: each wanted endpoint once, with no more changes than needed."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from keelback.api.core_v1 import (
    ContainerPort,
    Service,
    ServicePort,
    ServiceSpec,
)
from keelback.api.discovery_v1 import EndpointSlice
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.controllers import (
    endpointslices,
    pod_endpoints,
)
from keelback.controllers.observed import (
    ContainerView,
)
from keelback.testing.views import NOW, pod

SERVICE = Service(
    metadata=ObjectMeta(name="web", namespace="default", uid="s"),
    spec=ServiceSpec(selector={"app": "web"}, ports=(ServicePort(name="http", port=80),), cluster_ip="10.0.0.1"),
)


@given(
    st.sets(st.integers(0, 400), max_size=320),
    st.sets(st.integers(0, 400), max_size=320),
    st.sampled_from([7, endpointslices.MAX_ENDPOINTS]),
)
def test_slices_hold_each_wanted_endpoint_once_and_change_no_more_than_needed(
    before: set[int], after: set[int], most: int
) -> None:
    existing = apply([], endpointslices.plan(SERVICE, endpoints(before), [], most))
    decided = endpointslices.plan(SERVICE, endpoints(after), existing, most)
    result = apply(existing, decided)
    held = [one.target_ref.uid for each in result for one in each.endpoints if one.target_ref]
    assert sorted(held) == sorted(f"uid-p{number}" for number in after)
    assert all(len(one.endpoints) <= most for one in result)
    assert result  # an empty Service has an empty slice
    again = endpointslices.plan(SERVICE, endpoints(after), result, most)
    assert not again.create
    assert not again.update
    assert not again.delete


def endpoints(numbers: set[int]) -> endpointslices.Wanted:
    made = [
        endpointslices.make_endpoint(pod(f"p{n}", node="a", ip=str(ipaddress.ip_address(n + 1))), SERVICE, "IPv4", "")
        for n in sorted(numbers)
    ]
    ports = endpointslices.endpoint_ports(SERVICE, pod("any")) if made else ()
    return {("IPv4", ports): made}


def apply(existing: list[EndpointSlice], decided: endpointslices.Plan) -> list[EndpointSlice]:
    changed = {old.metadata.name: new for old, new in decided.update}
    gone = {one.metadata.name for one in decided.delete}
    kept = [changed.get(one.metadata.name, one) for one in existing if one.metadata.name not in gone]
    names = (
        f"slice-{number}" for number in range(1000) if f"slice-{number}" not in {k.metadata.name for k in existing}
    )
    made = [
        replace(one, metadata=replace(one.metadata, name=name))
        for one, name in zip(decided.create, names, strict=False)
    ]
    return [*kept, *made]


def test_an_empty_slice_that_came_back_without_lists_is_left_alone() -> None:
    (made,) = endpointslices.plan(SERVICE, {("IPv4", ()): []}, []).create
    held = replace(made, endpoints=None, ports=None, metadata=replace(made.metadata, name="web-1"))
    again = endpointslices.plan(SERVICE, {("IPv4", ()): []}, [held])
    assert (again.create, again.update, again.delete) == ([], [], [])


def test_slices_of_a_service_that_had_the_name_before_are_not_taken_over() -> None:
    (made,) = endpointslices.plan(SERVICE, endpoints({1}), []).create
    held = replace(made, metadata=replace(made.metadata, name="web-1"))
    newer = replace(SERVICE, metadata=replace(SERVICE.metadata, uid="s2"))
    nobody: endpointslices.Wanted = {("IPv4", ()): []}
    for wanted in (endpoints({1}), nobody):
        decided = endpointslices.plan(newer, wanted, [held])
        assert (len(decided.create), decided.update, decided.delete) == (1, [], [held])
        assert decided.create[0].metadata.owner_references[0].uid == "s2"


def test_a_service_that_is_being_deleted_still_loses_endpoints_and_gets_no_new_slice() -> None:
    existing = apply([], endpointslices.plan(SERVICE, endpoints({1, 2}), []))
    going = replace(SERVICE, metadata=replace(SERVICE.metadata, deletion_timestamp=NOW))
    ((_, left),) = endpointslices.plan(going, endpoints({1}), existing).update
    assert len(left.endpoints or ()) == 1
    assert endpointslices.plan(going, endpoints({1}), []).create == []


def test_a_named_port_is_looked_for_in_containers_before_sidecars() -> None:
    sidecar = ContainerView(name="s", restart_policy="Always", ports=(ContainerPort(name="http", container_port=1),))
    main = ContainerView(name="c", ports=(ContainerPort(name="http", container_port=2),))
    one = pod("p", containers=(main,))
    one = replace(one, spec=replace(one.spec, init_containers=(sidecar,)))
    assert pod_endpoints.resolve_port(one, ServicePort(port=80, target_port="http")) == 2


def test_a_terminating_pod_serves_but_is_not_ready() -> None:
    endpoint = endpointslices.make_endpoint(pod("p", deleting=True, ip="10.1.0.1"), SERVICE, "IPv4", "z")
    conditions = endpoint.conditions
    assert (conditions.ready, conditions.serving, conditions.terminating) == (False, True, True)
