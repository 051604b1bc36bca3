"""The service-cidr controller: a range is ready while it stays, and held while Services need it."""

from __future__ import annotations

from datetime import UTC, datetime

from keelback.api.networking_v1 import ServiceCIDR, ServiceCIDRSpec
from keelback.apimachinery.meta import ObjectMeta
from keelback.controllers.observed import HeldMeta
from keelback.controllers.servicecidrs import FINALIZER, IPAddressView, plan

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MANAGED = {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}


def cidr(name: str, *ranges: str, deleting: bool = False, held: bool = True) -> ServiceCIDR:
    meta = ObjectMeta(name=name, finalizers=(FINALIZER,) if held else (), deletion_timestamp=NOW if deleting else None)
    return ServiceCIDR(metadata=meta, spec=ServiceCIDRSpec(cidrs=ranges))


def address(name: str, labels: dict[str, str] | None = None) -> IPAddressView:
    return IPAddressView(metadata=HeldMeta(name=name, labels=MANAGED if labels is None else labels))


def test_a_new_range_is_held_and_ready() -> None:
    planned = plan(cidr("a", "10.1.0.0/24", held=False), (), (), NOW)
    assert planned.finalizers == (FINALIZER,)
    assert planned.ready is not None
    assert (planned.ready.status, planned.ready.message) == ("True", "Kubernetes Service CIDR is ready")


def test_a_range_waits_for_its_last_address() -> None:
    ending = cidr("a", "10.1.0.0/24", deleting=True)
    waiting = plan(ending, (ending,), (address("10.1.0.7"),), NOW)
    assert waiting.finalizers == (FINALIZER,)
    assert waiting.ready is not None
    assert (waiting.ready.status, waiting.ready.reason) == ("False", "Terminating")
    assert plan(ending, (ending,), (address("10.2.0.7"), address("10.1.0.7", {})), NOW).finalizers == ()


def test_another_range_can_take_over_the_addresses() -> None:
    ending = cidr("a", "10.1.0.0/24", deleting=True)
    wider = cidr("b", "10.1.0.0/16")
    held = (address("10.1.0.7"),)
    assert plan(ending, (ending, wider), held, NOW).finalizers == ()
    going_too = cidr("b", "10.1.0.0/16", deleting=True)
    assert plan(ending, (ending, going_too), held, NOW).finalizers == (FINALIZER,)
