"""A kind with a list of each sort, for tests of the machinery that merges, compares and owns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from keelback.apimachinery.meta import ListMap, ListSet, Object, Value, kind, written
from keelback.apimachinery.schema import schema_of


class Item(Value):
    """An element of a list that is a map by name."""

    name: str = written("")
    size: int = 0
    is_on: bool = False


class BoxSpec(Value):
    """A list by key, a set, an atomic list, a map, and what may be a struct or something else."""

    items: Annotated[tuple[Item, ...], ListMap("name")] = ()
    tags: Annotated[tuple[str, ...], ListSet()] = ()
    args: tuple[str, ...] = ()
    options: Mapping[str, str] = {}
    contents: Item | bool | None = None
    several: Item | tuple[Item, ...] | None = None


@kind("example.com/v1", "boxes")
class Box(Object):
    """The kind."""

    spec: BoxSpec = written(BoxSpec())


SCHEMA = schema_of(Box)
