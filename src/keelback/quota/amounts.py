"""Arithmetic on resource lists: names to exact amounts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from keelback.apimachinery import quantity
from keelback.apimachinery.quantity import Quantity

Amounts: TypeAlias = Mapping[str, Quantity]

ONE = quantity.of(1)


def parse(resources: Mapping[str, str]) -> dict[str, Quantity]:
    """The amounts that a resource list's texts stand for."""
    return {name: quantity.parse(text) for name, text in resources.items()}


def written(amounts: Amounts) -> dict[str, str]:
    """The texts, in canonical form."""
    return {name: str(amount) for name, amount in amounts.items()}


def add(left: Amounts, right: Amounts) -> dict[str, Quantity]:
    """The sum, of every name in either."""
    total = dict(left)
    for name, amount in right.items():
        total[name] = total[name] + amount if name in total else amount
    return total


def subtract(left: Amounts, right: Amounts) -> dict[str, Quantity]:
    """The difference, of every name in either."""
    return add(left, {name: -amount for name, amount in right.items()})


def masked(amounts: Amounts, names: Iterable[str]) -> dict[str, Quantity]:
    """Only the amounts of these names."""
    kept = frozenset(names)
    return {name: amount for name, amount in amounts.items() if name in kept}


def exceeding(amounts: Amounts, limits: Amounts) -> list[str]:
    """The names of which there is more than the limit allows, sorted."""
    return sorted(name for name, amount in amounts.items() if name in limits and amount > limits[name])


def printed(amounts: Amounts) -> str:
    """As quota messages print them: `cpu=1,memory=1Gi`."""
    return ",".join(f"{name}={amount}" for name, amount in sorted(amounts.items()))
