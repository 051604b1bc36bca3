"""What a claim's status says of the devices that were found for it: which, how they are set up, and where they work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from keelback.api.core_v1 import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from keelback.api.resource_v1 import (
    AllocationResult,
    DeviceAllocationConfiguration,
    DeviceAllocationResult,
    DeviceRequestAllocationResult,
)
from keelback.scheduling.device_allocator import Chosen
from keelback.scheduling.device_requests import ClaimRequests

_FROM_CLASS, _FROM_CLAIM = "FromClass", "FromClaim"


def allocation(
    claim: ClaimRequests, chosen: Sequence[Chosen], node_name: str, make_share_id: Callable[[], str]
) -> AllocationResult:
    """The allocation of a claim on a node. Shares of devices get an identity each."""
    return AllocationResult(
        devices=DeviceAllocationResult(
            results=tuple(_result(one, make_share_id) for one in chosen), config=tuple(_config(claim, chosen))
        ),
        node_selector=_node_selector(chosen, node_name),
    )


def only(node_name: str) -> NodeSelector:
    """What picks one node alone."""
    requirement = NodeSelectorRequirement(key="metadata.name", operator="In", values=(node_name,))
    return NodeSelector(node_selector_terms=(NodeSelectorTerm(match_fields=(requirement,)),))


def _result(one: Chosen, make_share_id: Callable[[], str]) -> DeviceRequestAllocationResult:
    device, alternative = one.device, one.alternative
    driver, pool, name = device.id
    return DeviceRequestAllocationResult(
        request=alternative.name,
        driver=driver,
        pool=pool,
        device=name,
        admin_access=True if alternative.is_admin else None,
        tolerations=alternative.tolerations,
        binding_conditions=device.binding_conditions,
        binding_failure_conditions=device.binding_failure_conditions,
        share_id=make_share_id() if device.is_shared else "",
        consumed_capacity={capacity: str(amount) for capacity, amount in one.consumed.items()},
    )


def _config(claim: ClaimRequests, chosen: Sequence[Chosen]) -> Iterable[DeviceAllocationConfiguration]:
    """The configurations of the classes, each once with the requests that it is for, and then the claim's own."""
    of_request = {one.alternative.name.partition("/")[0]: one.alternative for one in chosen}
    # A request for no devices at all has taken no alternative.
    taken = [of_request[request.name] for request in claim.requests if request.name in of_request]
    requests_of: dict[str, list[str]] = {}
    for alternative in taken:
        requests_of.setdefault(alternative.device_class.metadata.name, []).append(alternative.name)
    classes = {alternative.device_class.metadata.name: alternative.device_class for alternative in taken}
    for name, requests in requests_of.items():
        for config in classes[name].spec.config:
            yield DeviceAllocationConfiguration(source=_FROM_CLASS, requests=tuple(requests), opaque=config.opaque)
    for given in claim.config:
        if not given.requests:
            yield DeviceAllocationConfiguration(source=_FROM_CLAIM, opaque=given.opaque)
            continue
        # Upstream says it once for each request that it is for.
        for alternative in taken:
            if _is_for(given.requests, alternative.name):
                yield DeviceAllocationConfiguration(source=_FROM_CLAIM, requests=given.requests, opaque=given.opaque)


def _is_for(requests: Sequence[str], name: str) -> bool:
    return name in requests or name.partition("/")[0] in requests


def _node_selector(chosen: Sequence[Chosen], node_name: str) -> NodeSelector | None:
    """Where all the devices can be used; None for everywhere."""
    expressions: list[NodeSelectorRequirement] = []
    fields: list[NodeSelectorRequirement] = []
    for one in chosen:
        place = one.device.place
        if place.node_name or one.device.binds_to_node:
            return only(node_name)
        # There is one term: validation sees to it.
        for term in place.selector.node_selector_terms if place.selector is not None else ():
            _add(expressions, term.match_expressions)
            _add(fields, term.match_fields)
    if not expressions and not fields:
        return None
    term = NodeSelectorTerm(match_expressions=tuple(expressions), match_fields=tuple(fields))
    return NodeSelector(node_selector_terms=(term,))


def _add(to: list[NodeSelectorRequirement], new: Iterable[NodeSelectorRequirement]) -> None:
    known = {(one.key, one.operator, frozenset(one.values)) for one in to}
    to += [one for one in new if (one.key, one.operator, frozenset(one.values)) not in known]
