"""Lists of objects of the API that are sets or maps (x-kubernetes-list-type): their order does not count in `==`, and
`+` merges (k8s.io/apiserver/pkg/cel/common, values.go). Everything else they do as lists.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Self, TypeAlias

from keelback.cel.values import Value

Equal: TypeAlias = Callable[[Value, Value], bool]


class MergingList(list[Any]):
    """A list whose elements have a key each: themselves, or the values of some of their fields."""

    __slots__ = ("keys",)

    def __init__(self, elements: Iterable[Value], keys: Sequence[str] | None = None) -> None:
        super().__init__(elements)
        self.keys = keys
        """The fields that make the key, by the names expressions use; None for a set."""

    def key_of(self, element: Value) -> Hashable:
        """What tells an element from the others. Numbers of different types are different keys."""
        if self.keys is None:
            return (type(element), element)
        if not isinstance(element, dict):
            return None
        return tuple((type(part), part) for part in map(element.get, self.keys))

    def equal_to(self, other: list[Value], equal: Equal) -> bool:
        """Whether the other list has the same elements, in whatever order."""
        if len(self) != len(other):
            return False
        own = {self.key_of(element): element for element in self}
        for element in other:
            key = self.key_of(element)
            if key not in own or (self.keys is not None and not equal(own[key], element)):
                return False
        return True

    def merged(self, other: list[Value]) -> Self:
        """The elements in their places, those of the other list in place of their like, and the rest behind."""
        elements = list(self)
        places = {self.key_of(element): place for place, element in enumerate(elements)}
        for element in other:
            place = places.setdefault(self.key_of(element), len(elements))
            if place == len(elements):
                elements.append(element)
            elif self.keys is not None:
                elements[place] = element
        return type(self)(elements, self.keys)
