"""Quantities, times with microseconds and zeros that stand for a default in their canonical form, wherever they are."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from keelback.apimachinery import quantity
from keelback.apimachinery.json_trees import DecodeError
from keelback.apimachinery.meta import InsteadOfZero, MicroTimeText, QuantityText
from keelback.apimachinery.shapes import is_union

T = TypeVar("T")


def canonical(value: T) -> T:
    """The same value with every quantity in canonical form, and defaults for the zeros that mean nothing was sent.

    It is the very same object if there is nothing to change.
    """
    cls: Any = type(value)
    rewrite = _rewriter(cls)
    rewritten: T = value if rewrite is None else rewrite(value)
    return rewritten


@cache
def _rewriter(cls: Any) -> Any:
    """A function that makes canonical what is inside a struct, or None where there is nothing of the sort."""
    if not (isinstance(cls, type) and issubclass(cls, msgspec.Struct)):
        return None
    hints = get_type_hints(cls, include_extras=True)
    parts = tuple((name, made) for name, hint in hints.items() if (made := _annotation_rewriter(hint, cls)) is not None)
    defaults = tuple(
        (one.name, one.default_factory.value)
        for one in msgspec.structs.fields(cls)
        if isinstance(one.default_factory, InsteadOfZero)
    )
    if not parts and not defaults:
        return None

    def rewrite(value: Any) -> Any:
        changes = {name: default for name, default in defaults if not getattr(value, name)}
        for name, part in parts:
            before = getattr(value, name)
            if before is None or before == () or before == {}:
                continue
            after = part(before)
            if after is not before:
                changes[name] = after
        return msgspec.structs.replace(value, **changes) if changes else value

    return rewrite


def _annotation_rewriter(annotation: Any, owner: type) -> Any:
    while hasattr(annotation, "__metadata__"):
        if any(isinstance(one, QuantityText) for one in annotation.__metadata__):
            return _canonical_quantity
        if any(isinstance(one, MicroTimeText) for one in annotation.__metadata__):
            return _canonical_micro_time
        annotation = get_args(annotation)[0]
    if is_union(annotation):
        members = [one for one in get_args(annotation) if one is not type(None)]
        return _annotation_rewriter(members[0], owner) if len(members) == 1 else None
    origin = get_origin(annotation)
    if origin is tuple:
        item = _annotation_rewriter(get_args(annotation)[0], owner)
        return None if item is None else lambda value: _rewrite_tuple(value, item)
    if origin is not None and len(get_args(annotation)) == 2:
        item = _annotation_rewriter(get_args(annotation)[1], owner)
        if item is _canonical_quantity:
            item = _canonical_resource
        return None if item is None else lambda value: _rewrite_map(value, item)
    if isinstance(annotation, type) and annotation is not owner:
        return _rewriter(annotation)
    return None


def _rewrite_tuple(value: tuple[Any, ...], item: Any) -> tuple[Any, ...]:
    made = tuple([item(one) for one in value])
    return value if all(a is b for a, b in zip(value, made, strict=True)) else made


def _rewrite_map(value: dict[str, Any], item: Any) -> dict[str, Any]:
    made = {key: item(one) for key, one in value.items()}
    return value if all(made[key] is one for key, one in value.items()) else made


@lru_cache(maxsize=4096)
def _canonical_resource(text: str) -> str:
    """The amount of a resource: thousandths are the least there is of it (upstream's SetDefaults_ResourceList)."""
    made = _canonical_quantity(text)
    return str(quantity.parse(made).rounded_up(-3)) if made.endswith(("n", "u")) else made


@lru_cache(maxsize=4096)
def _canonical_quantity(text: str) -> str:
    try:
        made = quantity.canonical(text)
    except ValueError as error:
        raise DecodeError(str(error)) from error
    return text if made == text else made


_MICRO_TIME_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"
_is_seconds = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d").match
_is_micros = re.compile(r"\.\d{6}").match
_is_zone = re.compile(r"Z|[+-]\d\d:\d\d").fullmatch


def _canonical_micro_time(text: str) -> str:
    """An instant in UTC with six decimals. Raises DecodeError, in Go's words, for any other number of them."""
    if not text:
        return text
    rest, wanted = text, "2006"
    if seconds := _is_seconds(text):
        rest, wanted = text[seconds.end() :], ".000000"
        if micros := _is_micros(rest):
            rest, wanted = rest[micros.end() :], "Z07:00"
            if _is_zone(rest):
                try:
                    instant = datetime.fromisoformat(text)
                except ValueError as error:
                    raise DecodeError(f'parsing time "{text}": {error}') from error
                return text if rest == "Z" else instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    raise DecodeError(f'parsing time "{text}" as "{_MICRO_TIME_LAYOUT}": cannot parse "{rest}" as "{wanted}"')
