"""The large parts of a typed object, its spec and its status, so that what is done to one need not touch the other."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from keelback.apimachinery.meta import Object, Value


@lru_cache(maxsize=1024)
def parts_of(kind: type[Object]) -> Mapping[str, Value]:
    """The parts of a kind that are structs and always on the wire (spec, status), each with nothing in it."""
    parts: dict[str, Value] = {}
    for field in msgspec.structs.fields(kind):
        is_part = isinstance(field.type, type) and issubclass(field.type, Value) and field.name == field.encode_name
        if is_part and field.name != "metadata" and field.default_factory is not msgspec.NODEFAULT:
            try:
                parts[field.name] = field.type()
            except TypeError:  # something in it has to be given
                continue
    return parts
