"""Discovery: which groups, versions and resources are served, in the legacy documents and the aggregated one (v2)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import msgspec

from keelback.apimachinery import protobuf_encoding, yaml
from keelback.apimachinery.kubernetes_versions import KubernetesVersion
from keelback.apimachinery.meta import Kind
from keelback.apiserver import negotiation
from keelback.apiserver.context import RequestContext
from keelback.component.http import AnyResponse, Response

_READ_WRITE = ("get", "patch", "update")

_HASHED_AS = {
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"): "v1beta1",
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"): "v1beta1",
    ("apiextensions.k8s.io", "CustomResourceDefinition"): "v1beta1",
}
"""Whose storageVersionHash upstream still makes from another version than the one that is served."""


@dataclass(frozen=True, slots=True)
class Subresource:
    """A part of a resource with a path of its own. `kind` is what it answers with."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""


SUBRESOURCES: dict[str, Subresource] = {
    one.name: one
    for one in (
        Subresource("scale", "Scale", _READ_WRITE, "autoscaling", "v1"),
        Subresource("binding", "Binding", ("create",)),
        Subresource("eviction", "Eviction", ("create",), "policy", "v1"),
        Subresource("token", "TokenRequest", ("create",), "authentication.k8s.io", "v1"),
        Subresource("exec", "PodExecOptions", ("create", "get")),
        Subresource("attach", "PodAttachOptions", ("create", "get")),
        Subresource("portforward", "PodPortForwardOptions", ("create", "get")),
        Subresource("log", "", ("get",)),
        Subresource("proxy", "", ("create", "delete", "get", "patch", "update")),
        Subresource("finalize", "", ("update",)),
    )
}


@dataclass(frozen=True, slots=True)
class Served:
    """One resource as discovery shows it. `stored_as` is the kind the store holds, where that is another version."""

    kind: Kind
    verbs: tuple[str, ...]
    subresources: tuple[str, ...] = ()
    is_stored: bool = True
    subresource_verbs: tuple[tuple[str, tuple[str, ...]], ...] = ()
    stored_as: Kind | None = None

    def subresource(self, name: str) -> Subresource:
        known = SUBRESOURCES.get(name, Subresource(name, "", _READ_WRITE))
        own = self.kind.kind
        kind = known.kind or (f"{own}ProxyOptions" if name == "proxy" else own)
        verbs = dict(self.subresource_verbs).get(name, known.verbs)
        return Subresource(name, kind, verbs, known.group, known.version)


@dataclass(frozen=True, slots=True)
class RemoteVersion:
    """A group version that another server serves. `resources` are entries of the aggregated form; they are not
    `is_current` where that server cannot be asked."""

    group: str
    version: str
    group_priority: int
    version_priority: int
    resources: tuple[dict[str, Any], ...] = ()
    is_current: bool = False


Priorities: TypeAlias = Mapping[tuple[str, str], tuple[int, int]]
"""By group and version: the least priority of the group, and that of the version in it."""

_AGGREGATED_AS_ASKED = (negotiation.JSON, negotiation.YAML, negotiation.PROTOBUF)
_AGGREGATED_MEDIA_TYPES = frozenset((*_AGGREGATED_AS_ASKED, "*/*", "application/*"))
_AGGREGATED_SINCE_MINOR = 30
_BETA_UNTIL_MINOR = 32


def aggregated_versions(version: KubernetesVersion) -> tuple[str, ...]:
    """The versions of aggregated discovery that a Kubernetes version serves (KEP-3352)."""
    beta = ("v2beta1",) if version.minor <= _BETA_UNTIL_MINOR else ()
    return ("v2", *beta) if version.minor >= _AGGREGATED_SINCE_MINOR else beta


# A group that nobody has given a priority; so upstream registers those of custom resources.
_PRIORITY = (1000, 100)
_FIRST_GROUP = "apiregistration.k8s.io"


class Discovery:
    """The documents, made again whenever what is served has changed."""

    def __init__(
        self,
        served: Iterable[Served],
        group_order: tuple[str, ...],
        server_address: str,
        priorities: Priorities = MappingProxyType({}),
        *,
        aggregated_versions: tuple[str, ...] = ("v2",),
    ) -> None:
        """`server_address` is HOST:PORT: where clients are told to find the server. `priorities` are those of what is
        built in, whose groups come in `group_order` whatever these say."""
        self._served: list[Served] = list(served)
        self._server_address = server_address
        self._group_order = group_order
        self._priorities = priorities
        self._built_in = dict(_placed(group_order, priorities))
        self._aggregated_forms = frozenset(
            ("apidiscovery.k8s.io", "APIGroupDiscoveryList", version) for version in aggregated_versions
        )
        self._remote: dict[tuple[str, str], RemoteVersion] = {}
        self._documents: dict[str, tuple[bytes, str]] = {}

    def add(self, served: Served) -> None:
        """Serve one more resource, in place of the one of the same name."""
        self.remove(served.kind)
        self._served.append(served)
        self._documents.clear()

    def remove(self, kind: Kind) -> None:
        """Serve it no more."""
        place = (kind.group, kind.version, kind.plural)
        self._served = [one for one in self._served if (one.kind.group, one.kind.version, one.kind.plural) != place]
        self._documents.clear()

    def set_remote(self, remote: RemoteVersion) -> None:
        """Say of a version what another server says, whatever is served of it here."""
        if self._remote.get((remote.group, remote.version)) != remote:
            self._remote[remote.group, remote.version] = remote
            self._documents.clear()

    def remove_remote(self, group: str, version: str) -> None:
        """Another server serves it no more."""
        if self._remote.pop((group, version), None) is not None:
            self._documents.clear()

    def served(self) -> list[Served]:
        """Everything there is here."""
        return list(self._served)

    def answered(self) -> list[Served]:
        """Everything that is answered here, and not passed on to another server."""
        return [one for one in self._served if (one.kind.group, one.kind.version) not in self._remote]

    def versions(self, group: str) -> list[str]:
        """A group's versions, the preferred one first."""
        found = dict.fromkeys(one.kind.version for one in self._served if one.kind.group == group)
        found |= {version: None for name, version in self._remote if name == group}
        return sorted(found, key=lambda one: (-self._priority(group, one)[1], version_rank(one)))

    def groups(self) -> list[str]:
        """All named groups by their priorities, the built-in ones in their order among themselves."""
        found = {one.kind.group for one in self._served} - {""}
        remote: dict[str, int] = {}
        for group, version in self._remote:
            remote[group] = max(remote.get(group, 0), self._priority(group, version)[0])
        last = len(self._group_order)
        ranks: dict[str, tuple[float, int, str]] = {}
        for group in (found | remote.keys()) - {""}:
            place, priority = self._built_in.get(group, (last, 0))
            if place == last:
                priority = max(self._priority(group, one)[0] for one in self.versions(group))
            ranks[group] = (-max(priority, remote.get(group, 0)), place, group)
        return sorted(ranks, key=ranks.__getitem__)

    def _priority(self, group: str, version: str) -> tuple[int, int]:
        remote = self._remote.get((group, version))
        if remote is not None:
            return remote.group_priority, remote.version_priority
        return self._priorities.get((group, version), _PRIORITY)

    def paths(self) -> list[str]:
        """Where there are documents."""
        found = ["/api", "/apis", "/apis/"]
        for one in self._served:
            group, version = one.kind.group, one.kind.version
            found += (f"/apis/{group}", f"/apis/{group}/{version}") if group else (f"/api/{version}",)
        for group, version in self._remote:
            found += (f"/apis/{group}", f"/apis/{group}/{version}") if group else (f"/api/{version}",)
        return list(dict.fromkeys(found))

    async def api(self, context: RequestContext) -> AnyResponse:
        """/api"""
        media_type, aggregated = self._wanted_aggregated(context)
        if aggregated:
            return self._respond_aggregated(context, lambda: [""], media_type, aggregated)
        return self._respond(
            context,
            "api",
            lambda: {
                "kind": "APIVersions",
                "versions": ["v1"],
                "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": self._server_address}],
            },
            is_routed=True,
        )

    async def apis(self, context: RequestContext) -> AnyResponse:
        """/apis"""
        media_type, aggregated = self._wanted_aggregated(context)
        if aggregated:
            return self._respond_aggregated(context, self.groups, media_type, aggregated)
        return self._respond(
            context,
            "apis",
            lambda: {"kind": "APIGroupList", "apiVersion": "v1", "groups": [self._group(one) for one in self.groups()]},
            is_routed=False,
        )

    async def group(self, context: RequestContext) -> AnyResponse | None:
        """/apis/GROUP, or None when there is no such group."""
        name = context.info.path.strip("/").split("/")[1]
        if name not in self.groups():
            return None
        return self._respond(
            context,
            f"group {name}",
            lambda: {"kind": "APIGroup", "apiVersion": "v1", **self._group(name)},
            is_routed=False,
        )

    async def resources(self, context: RequestContext) -> AnyResponse | None:
        """/api/v1 and /apis/GROUP/VERSION, or None when there is no such version."""
        parts = context.info.path.strip("/").split("/")
        group, version = ("", parts[1]) if parts[0] == "api" else (parts[1], parts[2])
        if version not in self.versions(group):
            return None
        return self._respond(
            context,
            f"resources {group}/{version}",
            lambda: self._resource_list(group, version),
            is_routed=not group or group in self._group_order,
        )

    def _group(self, name: str) -> dict[str, Any]:
        versions = [{"groupVersion": f"{name}/{one}", "version": one} for one in self.versions(name)]
        return {"name": name, "versions": versions, "preferredVersion": versions[0]}

    def _resource_list(self, group: str, version: str) -> dict[str, Any]:
        resources: list[dict[str, Any]] = []
        for one in self._of(group, version):
            kind = one.kind
            entry: dict[str, Any] = {
                "name": kind.plural,
                "singularName": kind.singular,
                "namespaced": kind.namespaced,
                "kind": kind.kind,
                "verbs": list(one.verbs),
            }
            if kind.short_names:
                entry["shortNames"] = list(kind.short_names)
            if kind.categories:
                entry["categories"] = list(kind.categories)
            if one.is_stored:
                entry["storageVersionHash"] = storage_version_hash(one.stored_as or kind)
            resources.append(entry)
            resources.extend(_subresource_entry(kind, one.subresource(name)) for name in one.subresources)
        if not group:
            # The first group is older than the version of this document, and upstream has kept it so.
            return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": f"{group}/{version}",
            "resources": resources,
        }

    def _of(self, group: str, version: str) -> list[Served]:
        found = [one for one in self._served if (one.kind.group, one.kind.version) == (group, version)]
        return sorted(found, key=lambda one: one.kind.plural)

    def _aggregated(self, groups: list[str], version: str) -> dict[str, Any]:
        items = []
        for group in groups:
            versions = [self._aggregated_version(group, one) for one in self.versions(group)]
            items.append({"metadata": {"name": group} if group else {}, "versions": versions})
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{version}",
            "metadata": {},
            "items": items,
        }

    def _aggregated_version(self, group: str, version: str) -> dict[str, Any]:
        remote = self._remote.get((group, version))
        if remote is None:
            names_group = bool(group) and group not in self._group_order
            resources = [_aggregated_resource(one, names_group=names_group) for one in self._of(group, version)]
            return {"version": version, "resources": resources, "freshness": "Current"}
        freshness = "Current" if remote.is_current else "Stale"
        if not remote.resources:
            return {"version": version, "freshness": freshness}
        return {"version": version, "resources": list(remote.resources), "freshness": freshness}

    def _wanted_aggregated(self, context: RequestContext) -> tuple[str, str]:
        """The media type and the version of the aggregated form that a client takes, empty for none. Where it stands
        among the others does not matter."""
        for clause in negotiation.by_quality(context.request.headers.get("accept", "")):
            media_type, parameters = negotiation.split(clause)
            asked = parameters.get("g"), parameters.get("as"), parameters.get("v")
            if asked in self._aggregated_forms and media_type in _AGGREGATED_MEDIA_TYPES:
                return media_type if media_type in _AGGREGATED_AS_ASKED else negotiation.JSON, asked[2] or ""
        return "", ""

    def _respond_aggregated(
        self, context: RequestContext, groups: Callable[[], list[str]], media_type: str, version: str
    ) -> Response:
        name = f"aggregated {context.info.path.strip('/')} {version}"
        body, etag = self._document(name, lambda: self._aggregated(groups(), version))
        headers = {
            "content-type": f"{media_type};g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList",
            "etag": etag,
            "vary": "Accept",
            "cache-control": "public",
        }
        if context.request.headers.get("if-none-match") == etag:
            return Response(304, headers)
        if media_type == negotiation.PROTOBUF:
            body = protobuf_encoding.from_json(body)
        elif media_type == negotiation.YAML:
            body = yaml.dump(msgspec.json.decode(body)).encode()
        return Response(200, headers, body)

    def _document(self, name: str, make: Callable[[], Any]) -> tuple[bytes, str]:
        made = self._documents.get(name)
        if made is None:
            body = msgspec.json.encode(make())
            made = self._documents[name] = (body, f'"{hashlib.sha256(body).hexdigest().upper()}"')
        return made

    def _respond(self, context: RequestContext, name: str, make: Callable[[], Any], *, is_routed: bool) -> Response:
        """`is_routed` where upstream's routes look at what is accepted before anybody else does."""
        accept = context.request.headers.get("accept", "")
        accepted = negotiation.negotiate(accept, has_table=False, is_metadata=False, is_routed=is_routed)
        return negotiation.respond(200, self._document(name, make)[0], accepted)


def _placed(order: tuple[str, ...], priorities: Priorities) -> Iterator[tuple[str, tuple[int, float]]]:
    """The place of each built-in group, and a priority that does not rise from place to place."""
    least = float("inf")
    for place, group in enumerate(order):
        if group != _FIRST_GROUP:
            least = min(least, max((one for (name, _), (one, _) in priorities.items() if name == group), default=least))
        yield group, (place, least)


def _subresource_entry(kind: Kind, subresource: Subresource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": f"{kind.plural}/{subresource.name}",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": subresource.kind,
        "verbs": list(subresource.verbs),
    }
    if subresource.version:
        entry |= {"group": subresource.group, "version": subresource.version}
    return entry


def _aggregated_resource(served: Served, *, names_group: bool) -> dict[str, Any]:
    """A resource of the aggregated form. Those of built-in groups leave it to the reader that a kind is of their own
    group and version; upstream says so for custom resources alone."""
    kind = served.kind
    group, version = (kind.group, kind.version) if names_group else ("", "")
    entry: dict[str, Any] = {
        "resource": kind.plural,
        "responseKind": {"group": group, "version": version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(served.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if served.subresources:
        entry["subresources"] = [
            {
                "subresource": one.name,
                "responseKind": {"group": one.group or group, "version": one.version or version, "kind": one.kind},
                "verbs": list(one.verbs),
            }
            for one in map(served.subresource, served.subresources)
        ]
    return entry


def storage_version_hash(kind: Kind) -> str:
    """A short name of the version a resource is stored in: clients compare it, they do not read it."""
    version = _HASHED_AS.get((kind.group, kind.kind), kind.version)
    digest = hashlib.sha256(f"{kind.group}/{version}/{kind.kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def version_rank(version: str) -> tuple[int, int, int, str]:
    """Sorts versions as Kubernetes does: stable before beta before alpha, newer before older, others last by name."""
    found = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if found is None:
        return (3, 0, 0, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[found[2]]
    return (stage, -int(found[1]), -int(found[3] or 0), version)
