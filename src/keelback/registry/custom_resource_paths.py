"""The simple JSON paths that CustomResourceDefinitions hold: columns, selectable fields, scale."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

MISSING = object()


@dataclass(frozen=True, slots=True)
class _Filter:
    """`[?(@.a=="b")]`"""

    steps: tuple[str, ...]
    operator: str
    operand: Any

    def holds(self, element: Any) -> bool:
        found = next(_walk(element, self.steps), MISSING)
        if not self.operator:
            return found is not MISSING
        if found is MISSING:
            return False
        match self.operator:
            case "==":
                return bool(found == self.operand)
            case "!=":
                return bool(found != self.operand)
        try:
            below, equal = found < self.operand, found == self.operand
        except TypeError:
            return False
        return bool({"<": below, "<=": below or equal, ">": not below and not equal, ">=": not below}[self.operator])


@dataclass(frozen=True, slots=True)
class _All:
    """`[*]`"""


_Step: TypeAlias = str | int | _Filter | _All
_TOKEN = re.compile(
    r"""\.?\[\?\(\s*@(?P<field>[^=!<>\s)]*)\s*(?P<operator>[=!<>]=|<|>)?\s*(?P<operand>[^)]*)\)\]"""
    r"""|\.?\[(?P<index>-?\d+)\]|\.?\[['"](?P<quoted>[^'"]*)['"]\]|\.?(?P<all>\[\*\]|\*)"""
    r"""|\.(?P<name>(?:\\.|[^.\[\]])+)"""
)


@lru_cache(maxsize=1024)
def parse(path: str) -> tuple[_Step, ...]:
    """The steps of a path. Raises ValueError for what is not a simple path."""
    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    if text and text[0] not in ".[":
        text = f".{text}"
    steps: list[_Step] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            if text[at:] == ".":
                break
            raise ValueError(f"not a simple JSON path: {path}")
        steps.append(_step(found))
        at = found.end()
    return tuple(steps)


def _step(found: re.Match[str]) -> _Step:
    if found["name"] is not None:
        return re.sub(r"\\(.)", r"\1", found["name"])
    if found["quoted"] is not None:
        return str(found["quoted"])
    if found["index"] is not None:
        return int(found["index"])
    if found["all"] is not None:
        return _All()
    names = tuple(str(one) for one in parse(found["field"])) if found["field"] else ()
    return _Filter(names, found["operator"] or "", _literal(found["operand"].strip()))


def _literal(text: str) -> Any:
    if text[:1] in ("'", '"'):
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text


def first(tree: Any, path: str) -> Any:
    """The first value at a path, or MISSING."""
    try:
        return next(_walk(tree, parse(path)), MISSING)
    except ValueError:
        return MISSING


def _walk(value: Any, steps: tuple[_Step, ...]) -> Iterator[Any]:
    if not steps:
        yield value
        return
    step, rest = steps[0], steps[1:]
    match step:
        case str():
            if isinstance(value, Mapping) and step in value:
                yield from _walk(value[step], rest)
        case int():
            if isinstance(value, list) and -len(value) <= step < len(value):
                yield from _walk(value[step], rest)
        case _:
            parts = list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else []
            for part in parts:
                if isinstance(step, _All) or step.holds(part):
                    yield from _walk(part, rest)


def replaced(tree: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of the tree with another value at a path of names."""
    return _replaced(tree, tuple(str(one) for one in parse(path)), value)


def _replaced(tree: Mapping[str, Any], names: tuple[str, ...], value: Any) -> dict[str, Any]:
    name, *rest = names
    below = tree.get(name)
    inner = _replaced(below if isinstance(below, Mapping) else {}, tuple(rest), value) if rest else value
    return {**tree, name: inner}
