"""Optional types, and what the expansions of macros call (cel-go, cel/library.go and ext/comprehensions.go)."""

from __future__ import annotations

from keelback.cel import operations, syntax
from keelback.cel.declarations import Library, function, member, overload
from keelback.cel.errors import EvaluationError
from keelback.cel.types import BOOL, DYN, INT, OPTIONAL_NAME, STRING, list_of, map_of, opaque, optional_of, parameter
from keelback.cel.values import NONE, OptionalValue, Value


def _optional_value(optional: OptionalValue) -> Value:
    if optional.is_present:
        return optional.value
    raise EvaluationError("optional.none() dereference")


def _first(elements: list[Value]) -> OptionalValue:
    return OptionalValue(elements[0]) if elements else NONE


def _last(elements: list[Value]) -> OptionalValue:
    return OptionalValue(elements[-1]) if elements else NONE


def _unwrapped(optionals: list[OptionalValue]) -> list[Value]:
    return [optional.value for optional in optionals if optional.is_present]


def _inserted(mapping: dict[Value, Value], *entry: Value) -> dict[Value, Value]:
    """`cel.@mapInsert`: what transformMap and transformMapEntry add up with."""
    more = {entry[0]: entry[1]} if len(entry) == 2 else entry[0]
    for key in more:
        if key in mapping:
            raise EvaluationError(f"insert failed: key {operations.shown(key)} already exists")
    return {**mapping, **more}


_V, _K = parameter("V"), parameter("K")
_OPTIONAL = optional_of(_V)
OPTIONALS = Library(
    "optional",
    functions=(
        function("optional.of", overload("optional_of", (_V,), _OPTIONAL, OptionalValue)),
        function(
            "optional.ofNonZeroValue",
            overload(
                "optional_ofNonZeroValue",
                (_V,),
                _OPTIONAL,
                lambda value: NONE if operations.is_zero(value) else OptionalValue(value),
            ),
        ),
        function("optional.none", overload("optional_none", (), _OPTIONAL, lambda: NONE)),
        function(
            "optional.unwrap",
            overload("optional_unwrap", (list_of(_OPTIONAL),), list_of(_V), _unwrapped),
        ),
        function(
            "unwrapOpt",
            member("optional_unwrapOpt", (list_of(_OPTIONAL),), list_of(_V), _unwrapped),
        ),
        function("value", member("optional_value", (_OPTIONAL,), _V, _optional_value)),
        function("hasValue", member("optional_hasValue", (_OPTIONAL,), BOOL, lambda optional: optional.is_present)),
        function(
            "or",
            member(
                "optional_or_optional",
                (_OPTIONAL, _OPTIONAL),
                _OPTIONAL,
                lambda optional, other: optional if optional.is_present else other,
            ),
        ),
        function(
            "orValue",
            member(
                "optional_orValue_value",
                (_OPTIONAL, _V),
                _V,
                lambda optional, other: optional.value if optional.is_present else other,
            ),
        ),
        function("first", member("list_first", (list_of(_V),), _OPTIONAL, _first)),
        function("last", member("list_last", (list_of(_V),), _OPTIONAL, _last)),
        function(
            syntax.OPTIONAL_SELECT,
            overload("select_optional_field", (DYN, STRING), _OPTIONAL, operations.optional_select),
        ),
        function(
            syntax.OPTIONAL_INDEX,
            overload("list_optindex_optional_int", (list_of(_V), INT), _OPTIONAL, operations.optional_index),
            overload(
                "optional_list_optindex_optional_int",
                (optional_of(list_of(_V)), INT),
                _OPTIONAL,
                operations.optional_index,
            ),
            overload("map_optindex_optional_value", (map_of(_K, _V), _K), _OPTIONAL, operations.optional_index),
            overload(
                "optional_map_optindex_optional_value",
                (optional_of(map_of(_K, _V)), _K),
                _OPTIONAL,
                operations.optional_index,
            ),
        ),
        function(
            syntax.INDEX,
            overload("optional_list_index_int", (optional_of(list_of(_V)), INT), _OPTIONAL, operations.index),
            overload("optional_map_index_value", (optional_of(map_of(_K, _V)), _K), _OPTIONAL, operations.index),
        ),
        function(
            syntax.MAP_INSERT,
            overload("@mapInsert_map_key_value", (map_of(_K, _V), _K, _V), map_of(_K, _V), _inserted),
            overload("@mapInsert_map_map", (map_of(_K, _V), map_of(_K, _V)), map_of(_K, _V), _inserted),
        ),
    ),
    types=(opaque(OPTIONAL_NAME, DYN),),
)
