"""Each Kubernetes version serves what is published of it: groups, kinds, fields, version string.

What is wanted is read from the published documents here, by other code than the server's.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from keelback.apimachinery.kubernetes_versions import SUPPORTED, KubernetesVersion
from keelback.apiserver.assembly import RunningAPIServer
from keelback.component.http import Request
from keelback.registry.group_versions import off_by_default
from keelback.testing.api import ADMINISTRATOR, api_server

Tree = dict[str, Any]
Place = tuple[str, str, str]
FOLDER = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
# What a subresource takes, and no OpenAPI schema has.
OPTIONS = {"NodeProxyOptions", "PodAttachOptions", "PodExecOptions", "PodPortForwardOptions", "PodProxyOptions"}
OPTIONS |= {"ServiceProxyOptions"}
FLOW_CONTROL = "flowcontrol.apiserver.k8s.io"
BETAS = {(FLOW_CONTROL, "v1beta3"), (FLOW_CONTROL, "v1beta2")}

# Bodies that are no resources of their own; they are read as the default version has them.
IN_OTHER_WORDS = {"Binding"}

each_version = pytest.mark.parametrize("version", SUPPORTED, ids=str)


@lru_cache(maxsize=len(SUPPORTED))
def published(version: KubernetesVersion) -> Tree:
    text = (FOLDER / f"v{version}.0-local" / "_definitions.json").read_text()
    definitions: Tree = json.loads(text)["$defs"]
    return definitions


def kinds_of(definitions: Tree) -> dict[Place, str]:
    """The name of the definition of each kind; lists, and what every group has, left out."""
    found = {}
    for name, definition in definitions.items():
        if not name.startswith(META):
            for one in definition.get("x-kubernetes-group-version-kind", ()):
                if not one["kind"].endswith("List"):
                    found[one["group"], one["version"], one["kind"]] = name
    return found


def on_by_default(version: KubernetesVersion) -> dict[Place, str]:
    return {
        place: name
        for place, name in kinds_of(published(version)).items()
        if re.fullmatch(r"v\d+", place[1]) or place[:2] in BETAS
    }


async def ask(api: RunningAPIServer, method: str, path: str, body: Any = None, query: str = "") -> tuple[int, Tree]:
    request = Request(
        method,
        path,
        query,
        headers={"content-type": "application/json"},
        body=b"" if body is None else json.dumps(body).encode(),
        identity=ADMINISTRATOR,
    )
    answer: Any = await api.handle(request)
    return answer.status, json.loads(answer.content())


async def resources(api: RunningAPIServer) -> list[tuple[str, Tree]]:
    """Every resource in discovery, with the path of its group version."""
    _, groups = await ask(api, "GET", "/apis")
    paths = ["/api/v1"]
    paths += [f"/apis/{one['groupVersion']}" for group in groups["groups"] for one in group["versions"]]
    found = []
    for path in paths:
        _, listed = await ask(api, "GET", path)
        found += [(path, one) for one in listed["resources"]]
    return found


def place_of(path: str, resource: Tree) -> Place:
    group, version = ("", "v1") if path == "/api/v1" else path.split("/")[2:]
    return resource.get("group", group), resource.get("version", version), resource["kind"]


@each_version
def test_discovery_has_the_kinds_that_are_published(version: KubernetesVersion) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), api_server(kubernetes_version=version) as api:
            listed = await resources(api)
            said = {place_of(path, one) for path, one in listed if one["kind"] and one["kind"] not in OPTIONS}
            assert said == set(on_by_default(version))
            _, answer = await ask(api, "GET", "/version")
            assert (answer["minor"], answer["gitVersion"]) == (str(version.minor), f"v{version}.0+keelback")
            assert ("emulationMinor" in answer) == (version.minor >= 33)

    asyncio.run(main())


@each_version
def test_what_can_be_turned_on_is_published(version: KubernetesVersion) -> None:
    async def main() -> None:
        optional = off_by_default(version)
        async with asyncio.timeout(30), api_server(kubernetes_version=version, optional_versions=optional) as api:
            listed = await resources(api)
            known = kinds_of(published(version))
            for path, one in listed:
                place = place_of(path, one)
                if not one["kind"] or one["kind"] in OPTIONS:
                    continue
                assert place in known
                if one["name"].endswith("/status"):
                    assert "status" in published(version)[known[place]]["properties"]
            assert {place_of(path, one)[:2] for path, one in listed} >= set(optional)

    asyncio.run(main())


@each_version
def test_openapi_describes_what_is_published_and_nothing_else(version: KubernetesVersion) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), api_server(kubernetes_version=version) as api:
            _, document = await ask(api, "GET", "/openapi/v2")
            described = document["definitions"]
            assert kinds_of(described).items() <= on_by_default(version).items()
            missing = set(on_by_default(version)) - set(kinds_of(described))
            assert missing == set()
            for name, definition in described.items():
                assert set(definition.get("properties", ())) == set(published(version)[name].get("properties", ()))
                assert definition.get("required", []) == published(version)[name].get("required", [])
            assert document["info"]["version"] == f"v{version}.0"
            _, index = await ask(api, "GET", "/openapi/v3")
            groups = {f"apis/{group}/{of}" for group, of, _ in on_by_default(version) if group}
            assert groups <= set(index["paths"])
            _, pods = await ask(api, "GET", "/openapi/v3/api/v1")
            wanted = published(version)["io.k8s.api.core.v1.PodSpec"]["properties"]
            assert set(pods["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]) == set(wanted)

    asyncio.run(main())


def test_a_field_is_known_where_it_is_published_and_nowhere_else() -> None:
    async def main() -> None:
        checked = 0
        for version in SUPPORTED:
            async with asyncio.timeout(60), api_server(kubernetes_version=version) as api:
                definitions = on_by_default(version)
                for path, one in await resources(api):
                    place = place_of(path, one)
                    if "/" in one["name"] or "create" not in one["verbs"] or one["kind"] in IN_OTHER_WORDS:
                        continue
                    body = every_field(definitions[place])
                    unknown = list(fields_missing(body, definitions[place], published(version)))
                    group, of, kind = place
                    body |= {"kind": kind, "apiVersion": f"{group}/{of}" if group else of}
                    where = f"{path}/namespaces/default/{one['name']}" if one["namespaced"] else f"{path}/{one['name']}"
                    status, answer = await ask(api, "POST", where, body, "dryRun=All&fieldValidation=Strict")
                    complaints = re.findall(r'unknown field \\?"([^"\\]+)', str(answer.get("message", "")))
                    assert (str(version), place, sorted(complaints)) == (str(version), place, sorted(unknown)), answer
                    assert status == 400 or not unknown
                    checked += 1
        assert checked > 400

    asyncio.run(main())


def every_field(name: str, inside: tuple[str, ...] = ()) -> Tree:
    """A tree with each field that a definition has in any version; scalars are null, and so count as not sent."""
    found: Tree = {}
    for version in SUPPORTED:
        for field, part in published(version).get(name, {}).get("properties", {}).items():
            if field not in ("apiVersion", "kind") and field not in found:
                found[field] = value_of(part, version, (*inside, name))
    return found


def value_of(part: Tree, version: KubernetesVersion, inside: tuple[str, ...]) -> Any:
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        is_leaf = "properties" not in published(version)[name] or name in inside
        return None if is_leaf else every_field(name, inside)
    values = part.get("additionalProperties")
    if isinstance(values, dict):
        inner = value_of(values, version, inside)
        return None if inner is None else {"key": inner}
    if "items" in part:
        inner = value_of(part["items"], version, inside)
        return None if inner is None else [inner]
    return None


def fields_missing(tree: Any, name: str, definitions: Tree, path: str = "") -> Iterator[str]:
    """The paths in a tree of which the definition does not know the last name."""
    properties = definitions[name].get("properties", {})
    for field, value in tree.items():
        where = f"{path}.{field}" if path else field
        part = properties.get(field)
        if part is None:
            yield where
            continue
        if isinstance(value, list):
            part, value, where = part["items"], value[0], f"{where}[0]"
        elif isinstance(value, dict) and "$ref" not in part:
            part, value, where = part["additionalProperties"], value["key"], f"{where}.key"
        if isinstance(value, list):
            part, value, where = part["items"], value[0], f"{where}[0]"
        if isinstance(value, dict):
            yield from fields_missing(value, part["$ref"].rpartition("/")[2], definitions, where)
