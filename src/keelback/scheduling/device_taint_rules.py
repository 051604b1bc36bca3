"""Which devices a DeviceTaintRule is about: it taints them as if their driver had (KEP-5055)."""

from __future__ import annotations

from collections.abc import Iterable

from keelback.api.resource_v1 import DeviceTaint
from keelback.api.resource_v1alpha3 import DeviceTaintRule

RULES = "resource.k8s.io/v1alpha3/devicetaintrules"
"""Where rules are served, if they are."""


def selects(rule: DeviceTaintRule, driver: str, pool: str, device: str) -> bool:
    """Whether a rule is about a device. One without selector is about none, an empty selector about all."""
    selector = rule.spec.device_selector
    if selector is None:
        return False
    wanted = ((selector.driver, driver), (selector.pool, pool), (selector.device, device))
    return all(asked is None or asked == given for asked, given in wanted)


def may_concern(rule: DeviceTaintRule, driver: str, pool: str) -> bool:
    """Whether a rule can be about a device of a pool."""
    selector = rule.spec.device_selector
    if selector is None:
        return False
    return selector.driver in (None, driver) and selector.pool in (None, pool)


def taints(rules: Iterable[DeviceTaintRule], driver: str, pool: str, device: str) -> tuple[DeviceTaint, ...]:
    """What rules taint a device with."""
    return tuple(rule.spec.taint for rule in rules if selects(rule, driver, pool, device))
