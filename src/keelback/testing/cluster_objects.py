"""Objects as plain trees: what a test says of them ("deployment/web", a folder of YAML), carried out over the API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

import msgspec
import yaml

from keelback.apimachinery import errors
from keelback.apimachinery.meta import Status
from keelback.client import Client
from keelback.client.discovery import AGGREGATED
from keelback.component.http import Request

Tree: TypeAlias = dict[str, Any]
Trees: TypeAlias = list[Tree]
Source: TypeAlias = "str | Path | Mapping[str, Any]"
Check: TypeAlias = Callable[[Tree], bool]

_FIRST: Final = {"Namespace": 0, "CustomResourceDefinition": 1}
_SUFFIXES: Final = (".yaml", ".yml", ".json")
_ESTABLISH_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = 0.05


class UnknownResource(Exception):
    """The server has no kind of that name; the text says the name."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Where objects of a kind are found."""

    group: str
    version: str
    plural: str
    kind: str
    is_namespaced: bool

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of the collection, of an object or of a part of it."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.is_namespaced and namespace:
            parts += ["namespaces", namespace]
        return "/".join([*parts, self.plural, *(part for part in (name, subresource) if part)])


def documents(source: Source) -> list[Tree]:
    """The objects of a mapping, of YAML or JSON text, of a file or of a folder; lists are taken apart.

    Namespaces come first, then definitions of custom resources. Raises OSError, and ValueError for what is no object.
    """
    found = [one for tree in _trees(source) for one in _taken_apart(tree)]
    for one in found:
        if not one.get("kind") or not one.get("apiVersion"):
            raise ValueError(f"not an object of Kubernetes, it has no kind or no apiVersion: {json.dumps(one)[:200]}")
    return sorted(found, key=lambda tree: _FIRST.get(tree["kind"], len(_FIRST)))


def _trees(source: Source) -> Iterator[Any]:
    if isinstance(source, Mapping):
        yield dict(source)
    elif isinstance(source, Path) or ("\n" not in source and ":" not in source):
        path = Path(source)
        files = sorted(one for one in path.rglob("*") if one.suffix in _SUFFIXES) if path.is_dir() else [path]
        for file in files:
            yield from yaml.safe_load_all(file.read_text())
    else:
        yield from yaml.safe_load_all(source)


def _taken_apart(tree: Any) -> Iterator[Tree]:
    if tree is None:
        return
    if not isinstance(tree, dict):
        raise ValueError(f"not an object of Kubernetes: {tree!r}")
    if str(tree.get("kind", "")).endswith("List") and isinstance(tree.get("items"), list):
        for item in tree["items"]:
            yield from _taken_apart(item)
    else:
        yield tree


def satisfied(wanted: str) -> Check:
    """What `wait` is told: a condition ("Available", "Ready=False"), a field ("status.phase=Running"), "exists"."""
    if wanted == "exists":
        return bool
    path, _, value = wanted.partition("=")
    if "." in path:
        return lambda tree: _field(tree, path.removeprefix(".").split(".")) == value
    return lambda tree: any(
        one.get("type") == path and one.get("status") == (value or "True") for one in _conditions(tree)
    )


def _conditions(tree: Tree) -> list[Tree]:
    found: list[Tree] = tree.get("status", {}).get("conditions") or []
    return found


def _field(tree: Any, path: list[str]) -> str:
    for part in path:
        if isinstance(tree, list):
            tree = tree[int(part)] if part.isdigit() and int(part) < len(tree) else None
        else:
            tree = tree.get(part) if isinstance(tree, dict) else None
    return str(tree).lower() if isinstance(tree, bool) else str(tree)


class Objects:
    """Reads and writes objects of any kind that the server has, definitions of the test's own included."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, Resource] = {}

    async def request(self, method: str, path: str, query: str = "", body: Any = None) -> Tree:
        """The answer's tree. Raises StatusError."""
        return await self._send(method, path, query, None if body is None else json.dumps(body).encode())

    async def text(self, path: str, query: str) -> str:
        """The answer of a GET that is text, a container's log. Raises StatusError."""
        answer = await self._client.request("GET", path, query)
        return answer.content().decode(errors="replace")

    async def resource(self, name: str) -> Resource:
        """By its plural, singular, short name or kind, with its group behind a dot where one is meant.

        Raises UnknownResource.
        """
        found = self._known.get(name.lower())
        if found is None:
            await self._discover()
            found = self._known.get(name.lower())
        if found is None:
            raise UnknownResource(f"the server has no {name!r}")
        return found

    async def find(self, target: str) -> tuple[Resource, str]:
        """What "kind/name" means. Raises UnknownResource, and ValueError for what names no object."""
        kind, slash, name = target.partition("/")
        if not slash or not name:
            raise ValueError(f'{target!r} is no object: say it as "deployment/web"')
        return await self.resource(kind), name

    async def get(self, target: str, namespace: str) -> Tree:
        """The object. Raises NotFound."""
        resource, name = await self.find(target)
        return await self._send("GET", resource.path(namespace, name))

    async def list(self, kind: str, namespace: str, label_selector: str, field_selector: str) -> list[Tree]:
        """The objects; an empty namespace means all of them."""
        resource = await self.resource(kind)
        query = urlencode(_given(labelSelector=label_selector, fieldSelector=field_selector))
        listed = await self._send("GET", resource.path(namespace), query)
        named = {"apiVersion": listed["apiVersion"], "kind": resource.kind}
        return [{**named, **item} for item in listed["items"]]

    async def apply(self, tree: Tree, namespace: str, field_manager: str) -> Tree:
        """The object after server-side apply. A definition of custom resources is served when this returns."""
        resource = await self.resource_of(tree)
        metadata = tree.get("metadata") or {}
        place = metadata.get("namespace") or namespace
        if "name" not in metadata:
            made: Tree = await self._send("POST", resource.path(place), "", json.dumps(tree).encode())
            return made
        query = urlencode({"fieldManager": field_manager, "force": "true"})
        body = json.dumps(tree).encode()
        applied = await self._send(
            "PATCH", resource.path(place, metadata["name"]), query, body, "application/apply-patch+yaml"
        )
        if tree["kind"] == "CustomResourceDefinition":
            await self.wait(f"crd/{metadata['name']}", satisfied("Established"), "", _ESTABLISH_SECONDS)
        return applied

    async def patch(self, target: str, change: Mapping[str, Any], namespace: str, subresource: str) -> Tree:
        """The object after a merge patch."""
        resource, name = await self.find(target)
        path = resource.path(namespace, name, subresource)
        return await self._send("PATCH", path, "", json.dumps(change).encode(), "application/merge-patch+json")

    async def delete(self, target: str, namespace: str, propagation_policy: str) -> None:
        """Ask for its deletion. Raises NotFound."""
        resource, name = await self.find(target)
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation_policy}
        await self._send("DELETE", resource.path(namespace, name), "", json.dumps(options).encode())

    async def wait(self, target: str, check: Check | None, namespace: str, seconds: float) -> Tree:
        """The object once the check holds of it, or, without a check, as it was last when it was gone.

        Raises TimeoutError after so many seconds of the cluster's time.
        """
        async with asyncio.timeout(seconds):
            resource, name = await self.find(target)
            latest: Tree = {}
            async for tree in self._seen(resource, namespace, name):
                if check is None and tree is None:
                    return latest
                if tree is not None and check is not None and check(tree):
                    return tree
                latest = tree or latest
        raise TimeoutError

    async def changes(
        self, kind: str, since: str, namespace: str, label_selector: str, field_selector: str = ""
    ) -> Trees:
        """The events of a watch from a version on, as far as there are any now. Raises Expired."""
        resource = await self.resource(kind)
        selected = _given(labelSelector=label_selector, fieldSelector=field_selector)
        query = urlencode({"watch": "1", "resourceVersion": since, "timeoutSeconds": "1", **selected})
        request = Request("GET", resource.path(namespace), query, {"accept": "application/json"})
        async with self._client.transport.stream(request) as stream:
            found = [event async for event in _events(stream.chunks())]
        if found and found[-1]["type"] == "ERROR":
            raise errors.from_status(msgspec.convert(found[-1]["object"], Status))
        return found

    async def _seen(self, resource: Resource, namespace: str, name: str) -> AsyncIterator[Tree | None]:
        """The object as it is now and after each change; None while there is none."""
        query = {"fieldSelector": f"metadata.name={name}"}
        path = resource.path(namespace)
        while True:
            listed = await self._send("GET", path, urlencode(query))
            items = listed["items"]
            yield items[0] if items else None
            version = listed["metadata"]["resourceVersion"]
            watching = urlencode({**query, "watch": "1", "resourceVersion": version})
            request = Request("GET", path, watching, {"accept": "application/json"})
            async with self._client.transport.stream(request) as stream:
                if stream.status == 200:
                    async for event in _events(stream.chunks()):
                        if event["type"] == "ERROR":
                            break
                        yield None if event["type"] == "DELETED" else event["object"]
            # The watch ended or was refused: what is there now is read anew.
            await asyncio.sleep(_RETRY_SECONDS)

    async def resource_of(self, tree: Tree) -> Resource:
        """What kind of object a tree is. Raises UnknownResource."""
        group, _, version = tree["apiVersion"].rpartition("/")
        key = f"{tree['kind']}.{version}.{group}".lower()
        if key not in self._known:
            await self._discover()
        if key not in self._known:
            raise UnknownResource(f"the server has no {tree['kind']} of {tree['apiVersion']}")
        return self._known[key]

    async def _discover(self) -> None:
        self._known = {}
        for path in ("/api", "/apis"):
            response = await self._client.request("GET", path, headers={"accept": AGGREGATED})
            for group in json.loads(response.content())["items"]:
                name = group.get("metadata", {}).get("name", "")
                for version in group["versions"]:
                    for one in version.get("resources", ()):
                        self._learn(name, version["version"], one)

    def _learn(self, group: str, version: str, described: Tree) -> None:
        plural, kind = described["resource"], described["responseKind"]["kind"]
        resource = Resource(group, version, plural, kind, described["scope"] == "Namespaced")
        singular = described.get("singularResource") or kind.lower()
        self._known[f"{kind}.{version}.{group}".lower()] = resource
        # The first group that has a name has it, and its first version: the preferred ones come first.
        for name in (plural, singular, kind.lower(), *described.get("shortNames", ())):
            self._known.setdefault(name, resource)
            self._known.setdefault(f"{name}.{group}", resource)

    async def _send(
        self, method: str, path: str, query: str = "", body: bytes | None = None, kind: str = "application/json"
    ) -> Tree:
        headers = {"accept": "application/json", **({} if body is None else {"content-type": kind})}
        response = await self._client.request(method, path, query, body or b"", headers)
        tree: Tree = json.loads(response.content())
        return tree


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[Tree]:
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield json.loads(line)


def _given(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}
