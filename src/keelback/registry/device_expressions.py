"""The expressions that choose devices: over `device`, with its attributes and capacities by domain and name."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Final

from keelback.cel.environment import Environment
from keelback.cel.errors import CompileError
from keelback.cel.libraries.kubernetes import kubernetes
from keelback.cel.libraries.quantities import QUANTITY
from keelback.cel.macros import BINDINGS
from keelback.cel.types import ANY, BOOL, STRING, map_of, object_of

_DEVICE: Final = object_of(
    "kubernetes.DRADevice",
    {
        "driver": STRING,
        "allowMultipleAllocations": BOOL,
        "attributes": map_of(STRING, map_of(STRING, ANY)),
        "capacity": map_of(STRING, map_of(STRING, QUANTITY)),
    },
)
_COMPILED: Final = 1024


@lru_cache(maxsize=_COMPILED)
def problem(expression: str) -> str:
    """Why an expression chooses no devices; nothing if it does. An attribute may turn out to be true or false."""
    try:
        program = _environment().compile(expression, expected=())
    except CompileError as error:
        return f"compilation failed: {error}"
    if program.type not in (BOOL, ANY):
        return f"must evaluate to bool or the unknown type, not {program.type}"
    return ""


@cache
def _environment() -> Environment:
    return kubernetes().extend(variables={"device": _DEVICE}, libraries=(BINDINGS,))
