"""IPAddresses: named by the address, held by whom it was given to."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.networking_v1 import IPAddress, ParentReference
from keelback.apimachinery import addresses, names
from keelback.apimachinery.errors import FieldError, invalid, required
from keelback.registry.internal_forms import internal
from keelback.registry.strategy import Strategy
from keelback.registry.workloads import text


def _parent(address: IPAddress) -> str:
    parent = address.spec.parent_ref
    resource = f"{parent.resource}.{parent.group}" if parent.group else parent.resource
    return "/".join(part for part in (resource, parent.namespace, parent.name) if part)


class IPAddressStrategy(Strategy[IPAddress]):
    kind = IPAddress
    counts_generations = False
    columns = (text("ParentRef", _parent),)

    def validate(self, new: IPAddress) -> Iterator[FieldError]:
        parent, path = new.spec.parent_ref, "spec.parentRef"
        if parent == ParentReference():
            yield required(path)
            return
        if parent.group:
            for complaint in names.dns1123_subdomain(parent.group):
                yield invalid(f"{path}.group", parent.group, complaint)
        for field, value in (("resource", parent.resource), ("name", parent.name)):
            if not value:
                yield required(f"{path}.{field}")
            else:
                for complaint in names.path_segment(value):
                    yield invalid(f"{path}.{field}", value, complaint)
        if parent.namespace:
            for complaint in names.path_segment(parent.namespace):
                yield invalid(f"{path}.namespace", parent.namespace, complaint)

    def validate_update(self, new: IPAddress, old: IPAddress) -> Iterator[FieldError]:
        if new.spec.parent_ref != old.spec.parent_ref:
            yield invalid("spec.parentRef", internal(new.spec.parent_ref), "field is immutable")

    def validate_name(self, name: str, *, is_prefix: bool) -> names.Complaints:
        return addresses.canonical_ip_address(name)
