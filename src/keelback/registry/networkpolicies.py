"""NetworkPolicies: the types they are of follow from the rules they have."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from keelback.api.networking_v1 import IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort
from keelback.apimachinery import addresses, names
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_supported, required
from keelback.apimachinery.meta import replace
from keelback.registry import cells, label_selectors
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text

_PROTOCOLS = ("TCP", "UDP", "SCTP")
_TYPES = ("Ingress", "Egress")


class NetworkPolicyStrategy(Strategy[NetworkPolicy]):
    kind = NetworkPolicy
    columns = (text("Pod-Selector", lambda one: cells.selector(one.spec.pod_selector)), AGE)

    def default(self, new: NetworkPolicy, old: NetworkPolicy | None = None) -> NetworkPolicy:
        if new.spec.policy_types:
            return new
        types = ("Ingress", "Egress") if new.spec.egress else ("Ingress",)
        return replace(new, spec=replace(new.spec, policy_types=types))

    def validate(self, new: NetworkPolicy) -> Iterator[FieldError]:
        return _problems(new, kept=())

    def validate_update(self, new: NetworkPolicy, old: NetworkPolicy) -> Iterator[FieldError]:
        # Which rule a subnet stood in does not matter: rules may have been moved.
        return _problems(new, kept=frozenset(_subnets(old)))


def _problems(policy: NetworkPolicy, *, kept: Collection[str]) -> Iterator[FieldError]:
    spec = policy.spec
    yield from label_selectors.validate(spec.pod_selector, "spec.podSelector")
    for index, ingress in enumerate(spec.ingress):
        path = f"spec.ingress[{index}]"
        yield from _ports(ingress.ports, f"{path}.ports")
        yield from _peers(ingress.from_, f"{path}.from", kept)
    for index, egress in enumerate(spec.egress):
        path = f"spec.egress[{index}]"
        yield from _ports(egress.ports, f"{path}.ports")
        yield from _peers(egress.to, f"{path}.to", kept)
    if len(spec.policy_types) > 2:
        yield invalid("spec.policyTypes", list(spec.policy_types), "may not specify more than two policyTypes")
        return
    for index, kind in enumerate(spec.policy_types):
        if kind not in _TYPES:
            yield not_supported(f"spec.policyTypes[{index}]", kind, _TYPES, in_given_order=True)


def _subnets(policy: NetworkPolicy) -> Iterator[str]:
    peers = [peer for one in policy.spec.ingress for peer in one.from_]
    peers += [peer for one in policy.spec.egress for peer in one.to]
    for peer in peers:
        if peer.ip_block is not None:
            yield peer.ip_block.cidr
            yield from peer.ip_block.except_


def _ports(ports: Sequence[NetworkPolicyPort], path: str) -> Iterator[FieldError]:
    for index, port in enumerate(ports):
        here = f"{path}[{index}]"
        if port.protocol not in _PROTOCOLS:
            yield not_supported(f"{here}.protocol", port.protocol, _PROTOCOLS, in_given_order=True)
        if isinstance(port.port, int):
            for complaint in names.port_number(port.port):
                yield invalid(f"{here}.port", port.port, complaint)
            if port.end_port is not None:
                if port.end_port < port.port:
                    yield invalid(f"{here}.endPort", port.port, "must be greater than or equal to `port`")
                for complaint in names.port_number(port.end_port):
                    yield invalid(f"{here}.endPort", port.end_port, complaint)
        elif isinstance(port.port, str):
            if port.end_port is not None:
                yield invalid(f"{here}.endPort", port.end_port, "may not be specified when `port` is non-numeric")
            for complaint in names.port_name(port.port):
                yield invalid(f"{here}.port", port.port, complaint)
        elif port.end_port is not None:
            yield invalid(f"{here}.endPort", port.end_port, "may not be specified when `port` is not specified")


def _peers(peers: Sequence[NetworkPolicyPeer], path: str, kept: Collection[str]) -> Iterator[FieldError]:
    for index, peer in enumerate(peers):
        here = f"{path}[{index}]"
        if peer.pod_selector is not None:
            yield from label_selectors.validate(peer.pod_selector, f"{here}.podSelector")
        if peer.namespace_selector is not None:
            yield from label_selectors.validate(peer.namespace_selector, f"{here}.namespaceSelector")
        if peer.ip_block is not None:
            yield from _ip_block(peer.ip_block, f"{here}.ipBlock", kept)
        others = peer.pod_selector is not None or peer.namespace_selector is not None
        if peer.ip_block is not None and others:
            yield forbidden(here, "may not specify both ipBlock and another peer")
        elif peer.ip_block is None and not others:
            yield required(here, "must specify a peer")


def _ip_block(block: IPBlock, path: str, kept: Collection[str]) -> Iterator[FieldError]:
    if not block.cidr:
        yield required(f"{path}.cidr")
        return
    for complaint in addresses.cidr(block.cidr, kept):
        yield invalid(f"{path}.cidr", block.cidr, complaint)
    whole = addresses.subnet(block.cidr)
    if whole is None:
        return
    for index, excluded in enumerate(block.except_):
        here = f"{path}.except[{index}]"
        for complaint in addresses.cidr(excluded, kept):
            yield invalid(here, excluded, complaint)
        part = addresses.subnet(excluded)
        if part is None:
            continue
        inside = part.version == whole.version and part.network_address in whole
        if not inside or part.prefixlen <= whole.prefixlen:
            yield invalid(here, excluded, "must be a strict subset of `cidr`")
