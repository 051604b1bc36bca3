"""How what its containers ask for makes up what a pod asks for: one rule, whatever is counted and however exactly.

Containers count together; an init container counts alone, beside the sidecars started before it (KEP-753).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

from keelback.apimachinery.quantity import Quantity


class MayBeSidecar(Protocol):
    """A container, whole or narrow."""

    @property
    def restart_policy(self) -> str | None: ...


C = TypeVar("C", bound=MayBeSidecar)
Amount = TypeVar("Amount", int, Quantity)


def total(
    containers: Iterable[C], init_containers: Iterable[C], of: Callable[[C], Mapping[str, Amount]]
) -> dict[str, Amount]:
    """The most that is needed at any time. `of` is what one container asks for."""
    running: dict[str, Amount] = {}
    peak: dict[str, Amount] = {}
    for one in init_containers:
        wanted = dict(of(one))
        if one.restart_policy == "Always":
            add_to(running, wanted)
            raise_to(peak, running)
        else:
            add_to(wanted, running)
            raise_to(peak, wanted)
    for one in containers:
        add_to(running, of(one))
    raise_to(running, peak)
    return running


def add_to(amounts: dict[str, Amount], more: Mapping[str, Amount]) -> None:
    """Increase what is there; what is not is taken over."""
    for name, amount in more.items():
        amounts[name] = amounts[name] + amount if name in amounts else amount


def raise_to(amounts: dict[str, Amount], least: Mapping[str, Amount]) -> None:
    """Increase what is less than that; what is not there is taken over."""
    for name, amount in least.items():
        if name not in amounts or amounts[name] < amount:
            amounts[name] = amount
