"""What the kinds that make pods from a template share: their columns."""

from __future__ import annotations

from typing import Any

from keelback.registry import cells
from keelback.registry.cells import wide
from keelback.registry.strategy import Column

CONTAINERS = wide(
    "Containers", lambda obj, _now: cells.container_names(obj.spec.template), "Names of each container in the template."
)
IMAGES = wide(
    "Images", lambda obj, _now: cells.images(obj.spec.template), "Images referenced by each container in the template."
)
SELECTOR = wide("Selector", lambda obj, _now: cells.selector(obj.spec.selector))


def number(name: str, value: Any) -> Column:
    """A column of whole numbers; `value` takes the object alone."""
    return Column(name, lambda obj, _now: value(obj), type="integer")


def text(name: str, value: Any) -> Column:
    """A column of text; `value` takes the object alone."""
    return Column(name, lambda obj, _now: value(obj))
