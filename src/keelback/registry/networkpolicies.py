"""NetworkPolicies: the types they are of follow from the rules they have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from keelback.api.networking_v1 import NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_supported, required
from keelback.apimachinery.meta import replace
from keelback.registry import cells, label_selectors
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_TYPES = ("Egress", "Ingress")


class NetworkPolicyStrategy(Strategy[NetworkPolicy]):
    kind = NetworkPolicy
    columns = (text("Pod-Selector", lambda one: cells.selector(one.spec.pod_selector)), AGE)

    def default(self, new: NetworkPolicy, old: NetworkPolicy | None = None) -> NetworkPolicy:
        if new.spec.policy_types:
            return new
        types = ("Ingress", "Egress") if new.spec.egress else ("Ingress",)
        return replace(new, spec=replace(new.spec, policy_types=types))

    def validate(self, new: NetworkPolicy) -> Iterator[FieldError]:
        spec = new.spec
        yield from label_selectors.validate(spec.pod_selector, "spec.podSelector")
        for index, ingress in enumerate(spec.ingress):
            path = f"spec.ingress[{index}]"
            yield from _ports(ingress.ports, f"{path}.ports")
            yield from _peers(ingress.from_, f"{path}.from")
        for index, egress in enumerate(spec.egress):
            path = f"spec.egress[{index}]"
            yield from _ports(egress.ports, f"{path}.ports")
            yield from _peers(egress.to, f"{path}.to")
        if len(spec.policy_types) > 2:
            yield invalid("spec.policyTypes", list(spec.policy_types), "may not specify more than two policyTypes")
            return
        for index, kind in enumerate(spec.policy_types):
            if kind not in _TYPES:
                yield not_supported(f"spec.policyTypes[{index}]", kind, _TYPES)


def _ports(ports: Sequence[NetworkPolicyPort], path: str) -> Iterator[FieldError]:
    for index, port in enumerate(ports):
        here = f"{path}[{index}]"
        if port.protocol not in _PROTOCOLS:
            yield not_supported(f"{here}.protocol", port.protocol, _PROTOCOLS)
        if isinstance(port.port, int):
            for complaint in names.port_number(port.port):
                yield invalid(f"{here}.port", port.port, complaint)
            if port.end_port is not None and port.end_port < port.port:
                yield invalid(f"{here}.endPort", port.port, "must be greater than or equal to `port`")
        elif isinstance(port.port, str):
            if port.end_port is not None:
                yield invalid(f"{here}.endPort", port.end_port, "may not be specified when `port` is non-numeric")
            for complaint in names.port_name(port.port):
                yield invalid(f"{here}.port", port.port, complaint)
        elif port.end_port is not None:
            yield invalid(f"{here}.endPort", port.end_port, "may not be specified when `port` is not specified")


def _peers(peers: Sequence[NetworkPolicyPeer], path: str) -> Iterator[FieldError]:
    for index, peer in enumerate(peers):
        here = f"{path}[{index}]"
        if peer.pod_selector is not None:
            yield from label_selectors.validate(peer.pod_selector, f"{here}.podSelector")
        if peer.namespace_selector is not None:
            yield from label_selectors.validate(peer.namespace_selector, f"{here}.namespaceSelector")
        if peer.ip_block is not None:
            if peer.pod_selector is not None or peer.namespace_selector is not None:
                yield forbidden(here, "may not specify both ipBlock and another peer")
            if not peer.ip_block.cidr:
                yield required(f"{here}.ipBlock.cidr")
            else:
                for complaint in names.cidr(peer.ip_block.cidr):
                    yield invalid(f"{here}.ipBlock.cidr", peer.ip_block.cidr, complaint)
        elif peer.pod_selector is None and peer.namespace_selector is None:
            yield required(here, "must specify a peer")
