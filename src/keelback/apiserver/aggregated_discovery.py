"""What another server says that it serves, in the form of the aggregated documents. Pure.

Everything is decoded and written anew: what one server says wrong must not spoil the document of all.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

Tree: TypeAlias = dict[str, Any]


class _ResponseKind(msgspec.Struct, frozen=True):
    group: str = ""
    version: str = ""
    kind: str = ""


class _Subresource(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    subresource: str
    response_kind: _ResponseKind | None = None
    verbs: list[str] | None = None


class _Resource(msgspec.Struct, rename="camel", omit_defaults=True):
    resource: str
    response_kind: _ResponseKind | None = None
    scope: str = ""
    singular_resource: str | None = None
    verbs: list[str] | None = None
    short_names: list[str] | None = None
    categories: list[str] | None = None
    subresources: list[_Subresource] | None = None


class _Version(msgspec.Struct, frozen=True):
    version: str = ""
    resources: list[_Resource] | None = None


class _Named(msgspec.Struct, frozen=True):
    name: str = ""


class _Group(msgspec.Struct, frozen=True):
    metadata: _Named = _Named()
    versions: list[_Version] | None = None


class _Groups(msgspec.Struct, frozen=True):
    kind: str = ""
    items: list[_Group] | None = None


class _Listed(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    kind: str = ""
    namespaced: bool = False
    singular_name: str = ""
    group: str = ""
    version: str = ""
    verbs: list[str] | None = None
    short_names: list[str] | None = None
    categories: list[str] | None = None


class _ResourceList(msgspec.Struct, frozen=True):
    kind: str = ""
    resources: list[_Listed] | None = None


def of_groups(body: bytes, group: str, version: str) -> tuple[Tree, ...] | None:
    """The resources of a version in an APIGroupDiscoveryList; None where the body is no such list.

    A list without the version has no resources of it. Raises ValueError for what cannot be read.
    """
    decoded = msgspec.json.decode(body, type=_Groups)
    if decoded.kind != "APIGroupDiscoveryList":
        return None
    for one in decoded.items or ():
        for found in one.versions or ():
            if (one.metadata.name, found.version) == (group, version):
                return _written(found.resources or ())
    return ()


def of_resources(body: bytes) -> tuple[Tree, ...]:
    """The resources of an APIResourceList, as servers answer that know no other form. Raises ValueError."""
    decoded = msgspec.json.decode(body, type=_ResourceList)
    if decoded.kind != "APIResourceList":
        raise ValueError(f"an APIResourceList was expected, not {decoded.kind!r}")
    found: dict[str, _Resource] = {}
    for one in sorted(decoded.resources or (), key=lambda listed: "/" in listed.name):
        name, _, part = one.name.partition("/")
        scope = "Namespaced" if one.namespaced else "Cluster"
        response_kind = _ResponseKind(one.group, one.version, one.kind)
        if not part:
            found[name] = _Resource(
                name, response_kind, scope, one.singular_name, one.verbs, one.short_names, one.categories
            )
            continue
        # Parts of other groups' resources have no whole here.
        whole = found.setdefault(name, _Resource(name, _ResponseKind(), scope))
        whole.subresources = [*(whole.subresources or ()), _Subresource(part, response_kind, one.verbs)]
    return _written(found.values())


def _written(resources: Any) -> tuple[Tree, ...]:
    return tuple(msgspec.to_builtins(list(resources)))
