"""Group versions that are off by default: one stored object, seen in each version that is served."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec

from keelback.apimachinery import protobuf
from keelback.component.http import Request, Response
from keelback.registry import optional_kinds
from keelback.registry.runtime_config import OPTIONAL
from keelback.testing.api import ADMINISTRATOR, api_server


async def ask(api: Any, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    headers = {"content-type": "application/json"}
    request = Request(
        method, path, headers=headers, body=b"" if body is None else json.dumps(body).encode(), identity=ADMINISTRATOR
    )
    answer = await api.handle(request)
    assert isinstance(answer, Response)
    return answer.status, json.loads(answer.body if isinstance(answer.body, bytes) else b"".join(answer.body))


def test_a_claim_is_the_same_object_in_all_its_versions() -> None:
    async def main() -> None:
        async with asyncio.timeout(60), api_server(optional_versions=OPTIONAL) as api:
            base = "/apis/resource.k8s.io/{}/namespaces/default/resourceclaims"
            claim = {
                "metadata": {"name": "one"},
                "spec": {"devices": {"requests": [{"name": "gpu", "deviceClassName": "gpus"}]}},
            }
            status, made = await ask(api, "POST", base.format("v1beta1"), claim)
            assert status == 201, made
            assert made["apiVersion"] == "resource.k8s.io/v1beta1"
            flat = {"name": "gpu", "deviceClassName": "gpus", "allocationMode": "ExactCount", "count": 1}
            assert made["spec"]["devices"]["requests"] == [flat]
            for version in ("v1", "v1beta2"):
                status, read = await ask(api, "GET", base.format(version) + "/one")
                assert status == 200
                assert read["apiVersion"] == f"resource.k8s.io/{version}"
                nested = {key: value for key, value in flat.items() if key != "name"}
                assert read["spec"]["devices"]["requests"] == [{"name": "gpu", "exactly": nested}]
                assert read["metadata"]["uid"] == made["metadata"]["uid"]
                assert read["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
            # Whatever the version, admin access needs the namespace's leave, and a status can be written.
            admin = {"requests": [{"name": "gpu", "deviceClassName": "gpus", "adminAccess": True}]}
            claim = {"metadata": {"name": "two"}, "spec": {"devices": admin}}
            status, refused = await ask(api, "POST", base.format("v1beta1"), claim)
            assert (status, "admin access to devices requires" in refused["message"]) == (422, True)
            for version in ("v1beta1", "v1beta2"):
                _, read = await ask(api, "GET", base.format(version) + "/one")
                result = {"request": "gpu", "driver": "a.example.com", "pool": "p", "device": "d"}
                read["status"] = {"allocation": {"devices": {"results": [result]}}}
                status, read = await ask(api, "PUT", base.format(version) + "/one/status", read)
                assert status == 200, read

    asyncio.run(main())


def test_a_version_of_the_same_shape_differs_in_its_name_alone() -> None:
    async def main() -> None:
        async with asyncio.timeout(60), api_server(optional_versions=OPTIONAL) as api:
            made_at = "/apis/storage.k8s.io/v1/volumeattributesclasses"
            body = {"metadata": {"name": "gold"}, "driverName": "d.example.com", "parameters": {"iops": "9"}}
            status, made = await ask(api, "POST", made_at, body)
            assert status == 201, made
            _, read = await ask(api, "GET", "/apis/storage.k8s.io/v1beta1/volumeattributesclasses/gold")
            assert {**read, "apiVersion": "storage.k8s.io/v1"} == made
            changed = {**read, "parameters": {"iops": "10"}}
            path = "/apis/storage.k8s.io/v1beta1/volumeattributesclasses/gold"
            status, refused = await ask(api, "PUT", path, changed)
            assert status == 422
            assert refused["details"]["causes"][0]["field"] == "parameters"
            changed = {**read, "metadata": {**read["metadata"], "labels": {"a": "b"}}}
            status, written = await ask(api, "PUT", path, changed)
            assert (status, written["apiVersion"]) == (200, "storage.k8s.io/v1beta1")
            _, read = await ask(api, "GET", f"{made_at}/gold")
            assert (read["apiVersion"], read["metadata"]["labels"]) == ("storage.k8s.io/v1", {"a": "b"})

    asyncio.run(main())


def test_kinds_that_exist_in_no_default_version_are_checked_and_kept() -> None:
    async def main() -> None:
        async with asyncio.timeout(60), api_server(optional_versions=OPTIONAL) as api:
            bundles = "/apis/certificates.k8s.io/v1beta1/clustertrustbundles"
            bundle = {"metadata": {"name": "a:b"}, "spec": {"trustBundle": "none"}}
            status, refused = await ask(api, "POST", bundles, bundle)
            assert status == 422
            assert [(one["field"], one["message"]) for one in refused["details"]["causes"]] == [
                (
                    "metadata.name",
                    'Invalid value: "a:b": ClusterTrustBundle without signer name must not have ":" in its name',
                ),
                (
                    "spec.trustBundle",
                    'Invalid value: "<value omitted>": at least one trust anchor must be provided',
                ),
            ]
            migrations = "/apis/storagemigration.k8s.io/v1beta1/storageversionmigrations"
            migration = {"metadata": {"name": "m"}, "spec": {"resource": {"group": "", "resource": "secrets"}}}
            status, made = await ask(api, "POST", migrations, migration)
            assert status == 201, made
            assert made["kind"] == "StorageVersionMigration"
            assert made["spec"] == migration["spec"]

    asyncio.run(main())


def test_a_body_of_a_version_that_exists_is_told_where_it_was_sent() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), api_server() as api:
            body = {
                "apiVersion": "storage.k8s.io/v1beta1",
                "kind": "VolumeAttributesClass",
                "metadata": {"name": "gold"},
                "driverName": "d",
            }
            status, refused = await ask(api, "POST", "/apis/storage.k8s.io/v1/volumeattributesclasses", body)
            assert (status, refused["message"]) == (
                400,
                "the API version in the data (storage.k8s.io/v1beta1) does not match the expected API version "
                "(storage.k8s.io/v1)",
            )

    asyncio.run(main())


def test_typed_clients_may_send_each_of_them_in_protobuf() -> None:
    for group, version in OPTIONAL:
        for strategy in optional_kinds.strategies(group, version):
            kind = strategy.kind.__kind__
            known = {one.encode_name for one in msgspec.structs.fields(strategy.kind)}
            named = {row.split(" ")[1] for row in protobuf.rows_of_kind(kind.api_version, kind.kind)}
            assert named <= known, kind
            assert "spec" in named or kind.plural == "volumeattributesclasses"


def test_they_are_not_there_unless_asked_for() -> None:
    async def main() -> None:
        async with asyncio.timeout(60), api_server() as api:
            for group, version in OPTIONAL:
                answer = await api.handle(Request("GET", f"/apis/{group}/{version}", identity=ADMINISTRATOR))
                assert isinstance(answer, Response)
                assert answer.status == 404

    asyncio.run(main())
