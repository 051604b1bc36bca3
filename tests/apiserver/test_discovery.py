"""Discovery in its two forms says of every resource what `discovery.yaml` says, in upstream's order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from keelback.apiserver.assembly import RunningAPIServer
from keelback.component.http import Request, Response
from keelback.registry import runtime_config
from keelback.testing.api import ADMINISTRATOR, api_server

ALL_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
GOLDEN: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "discovery.yaml").read_text())
OPTIONAL = tuple(f"{group}/{version}" for group, version in runtime_config.OPTIONAL)
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def read(api: RunningAPIServer, path: str, accept: str = "application/json") -> Any:
    response = await api.handle(Request("GET", path, headers={"accept": accept}, identity=ADMINISTRATOR))
    assert isinstance(response, Response)
    assert response.status == 200, path
    return json.loads(response.body if isinstance(response.body, bytes) else b"".join(response.body))


def legacy(group_version: str) -> Iterator[dict[str, Any]]:
    """The resources of a version as the legacy document has them."""
    for name, one in GOLDEN[group_version].items():
        entry = {
            "name": name,
            "singularName": one.get("singular", ""),
            "namespaced": one["namespaced"],
            "kind": one["kind"],
            "verbs": ALL_VERBS if one["verbs"] == "all" else one["verbs"],
        }
        for key, said in (("shortNames", "shortNames"), ("categories", "categories"), ("storageVersionHash", "hash")):
            if said in one:
                entry[key] = one[said]
        if "answers" in one:
            entry["group"], _, entry["version"] = one["answers"].rpartition("/")
        yield {key: value for key, value in entry.items() if key != "group" or value}


def aggregated(group_version: str) -> list[dict[str, Any]]:
    """The same, as the aggregated document has them."""
    found: dict[str, dict[str, Any]] = {}
    for one in legacy(group_version):
        name, _, part = one["name"].partition("/")
        response_kind = {"group": one.get("group", ""), "version": one.get("version", ""), "kind": one["kind"]}
        if part:
            entry = {"subresource": part, "responseKind": response_kind, "verbs": one["verbs"]}
            found[name].setdefault("subresources", []).append(entry)
            continue
        found[name] = {
            "resource": name,
            "responseKind": response_kind,
            "scope": "Namespaced" if one["namespaced"] else "Cluster",
            "singularResource": one["singularName"],
            "verbs": one["verbs"],
        }
        found[name].update({key: one[key] for key in ("shortNames", "categories") if key in one})
    return list(found.values())


@pytest.mark.parametrize("optional", [(), runtime_config.OPTIONAL], ids=["default", "all"])
def test_discovery_is_upstreams(optional: tuple[tuple[str, str], ...]) -> None:
    wanted = [one for one in GOLDEN if optional or one not in OPTIONAL]
    groups = list(dict.fromkeys(one.rpartition("/")[0] for one in wanted))

    async def main() -> None:
        async with asyncio.timeout(60), api_server(optional_versions=optional) as api:
            listed = (await read(api, "/apis"))["groups"]
            assert [one["name"] for one in listed] == groups[1:]
            versions = [one["groupVersion"] for group in listed for one in group["versions"]]
            assert ["v1", *versions] == wanted
            for group_version in wanted:
                path = f"/apis/{group_version}" if "/" in group_version else f"/api/{group_version}"
                document = await read(api, path)
                assert document["groupVersion"] == group_version
                assert document["resources"] == list(legacy(group_version)), group_version
            for path, kept in (("/api", groups[:1]), ("/apis", groups[1:])):
                items = (await read(api, path, AGGREGATED))["items"]
                assert [one["metadata"].get("name", "") for one in items] == kept
                for item in items:
                    for version in item["versions"]:
                        name = "/".join(filter(None, (item["metadata"].get("name"), version["version"])))
                        assert version["resources"] == aggregated(name), name

    asyncio.run(main())


def test_the_first_document_names_the_address_of_the_server() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), api_server() as api:
            document = await read(api, "/api")
            assert document["serverAddressByClientCIDRs"] == [
                {"clientCIDR": "0.0.0.0/0", "serverAddress": "10.89.0.1:6443"}
            ]

    asyncio.run(main())


def test_the_index_names_what_is_there() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), api_server() as api:
            paths = (await read(api, "/"))["paths"]
            assert paths == sorted(paths)
            for path in ("/api/v1", "/apis/", "/apis/apps", "/apis/apps/v1", "/openid/v1/jwks", "/readyz"):
                assert path in paths

    asyncio.run(main())
