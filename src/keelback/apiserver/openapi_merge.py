"""OpenAPI documents of several servers made one, as kube-openapi's aggregator does it. Pure.

What one server says of a path or a type does not change what another has said: the first to describe a path is
believed, and a type that another server means differently gets a name of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, Final, TypeAlias

from keelback.apiserver.openapi_documents import v3_path

Tree: TypeAlias = dict[str, Any]

_DEFINITIONS: Final = "#/definitions/"
_SCHEMAS: Final = "#/components/schemas/"
_PARAMETERS: Final = "#/parameters/"
_KINDS: Final = "x-kubernetes-group-version-kind"


def part_of_group(document: Tree, group: str) -> Tree:
    """What a document of version 2 says of a group's paths, and the types that it needs for that.

    Raises ValueError for what is no such document.
    """
    paths, definitions = document.get("paths"), document.get("definitions") or {}
    parameters = document.get("parameters") or {}
    if document.get("swagger") != "2.0" or not all(isinstance(one, dict) for one in (paths, definitions, parameters)):
        raise ValueError("the document is no OpenAPI document of version 2")
    assert isinstance(paths, dict)
    own = {path: item for path, item in paths.items() if path.startswith(f"/apis/{group}/")}
    named = _closure(own, {_DEFINITIONS: definitions, _PARAMETERS: parameters})
    return {"paths": own, "definitions": named[_DEFINITIONS], "parameters": named[_PARAMETERS]}


def merge(into: Tree, part: Tree) -> None:
    """Add to a document of version 2 what another server's says."""
    paths = {path: item for path, item in part["paths"].items() if path not in into["paths"]}
    renamed: dict[str, str] = {}
    for section, prefix in (("definitions", _DEFINITIONS), ("parameters", _PARAMETERS)):
        held = into.setdefault(section, {})
        for name, one in part[section].items():
            place = _place(held, name, one)
            if place != name:
                renamed[prefix + name] = prefix + place
            held.setdefault(place, one)
            _join_kinds(held, place, one)
    if renamed:
        for section, prefix in (("definitions", _DEFINITIONS), ("parameters", _PARAMETERS)):
            for name in part[section]:
                place = renamed.get(prefix + name, prefix + name).removeprefix(prefix)
                if into[section][place] is part[section][name]:
                    into[section][place] = _with_references(part[section][name], lambda to: renamed.get(to, to))
        paths = _with_references(paths, lambda to: renamed.get(to, to))
    into["paths"] = dict(sorted((into["paths"] | paths).items()))


def as_version_3(part: Tree, info: Tree) -> Tree:
    """A part of a document of version 2 as one of version 3: for servers that publish no other."""
    parameters = part["parameters"]
    paths = {path: v3_path(item, parameters) for path, item in sorted(part["paths"].items())}
    document: Tree = {"openapi": "3.0.0", "info": info, "paths": paths}
    document["components"] = {"schemas": part["definitions"]}
    made: Tree = _with_references(
        document, lambda to: _SCHEMAS + to.removeprefix(_DEFINITIONS) if to.startswith(_DEFINITIONS) else to
    )
    return made


def _place(held: Tree, name: str, one: Tree) -> str:
    """The name under which something stands, or can stand, that means the same."""
    wanted = _without_kinds(one)
    for number in count(1):
        place = name if number == 1 else f"{name}_v{number}"
        if place not in held or _without_kinds(held[place]) == wanted:
            return place
    raise AssertionError("counting ends nowhere")


def _without_kinds(one: Any) -> Any:
    """Types of several groups are the same type: ListOptions, DeleteOptions."""
    return {key: value for key, value in one.items() if key != _KINDS} if isinstance(one, dict) else one


def _join_kinds(held: Tree, place: str, one: Any) -> None:
    given = one.get(_KINDS) if isinstance(one, dict) else None
    known = held[place].get(_KINDS, []) if given else ()
    further = [kind for kind in given or () if kind not in known]
    if further:
        held[place] = {**held[place], _KINDS: [*known, *further]}


def _closure(tree: Tree, sections: dict[str, Tree]) -> dict[str, Tree]:
    """What a tree refers to, directly or through others."""
    found: dict[str, Tree] = {prefix: {} for prefix in sections}
    waiting = list(_references(tree))
    while waiting:
        reference = waiting.pop()
        for prefix, section in sections.items():
            name = reference.removeprefix(prefix)
            if name != reference and name in section and name not in found[prefix]:
                found[prefix][name] = section[name]
                waiting.extend(_references(section[name]))
    return {prefix: dict(sorted(named.items())) for prefix, named in found.items()}


def _references(tree: Any) -> Iterable[str]:
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if isinstance(reference := one.get("$ref"), str):
                yield reference
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _with_references(tree: Any, changed: Callable[[str], str]) -> Any:
    if isinstance(tree, dict):
        return {
            key: changed(value) if key == "$ref" and isinstance(value, str) else _with_references(value, changed)
            for key, value in tree.items()
        }
    if isinstance(tree, list):
        return [_with_references(one, changed) for one in tree]
    return tree
