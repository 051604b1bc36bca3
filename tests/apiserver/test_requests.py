"""The pipeline from request to answer, on the real server: what kubectl and client libraries rely on."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keelback.component.http import Request
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.requests import Ask, with_server

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"

SIGNING_REQUEST = base64.b64encode(
    x509.CertificateSigningRequestBuilder()
    .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jane")]))
    .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    .public_bytes(serialization.Encoding.PEM)
).decode()


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "main", "image": "example:1"}]
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name}, "spec": {"containers": containers, **spec}}


def deployment(name: str, replicas: int = 2) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "example:1"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": name}, "spec": spec}


@with_server
async def test_what_is_created_can_be_read_listed_and_deleted(ask: Ask) -> None:
    status, made = await ask("POST", CONFIG_MAPS, config_map("a", k="v"))
    assert status == 201
    assert made["metadata"]["uid"]
    assert made["metadata"]["resourceVersion"]
    assert await ask("GET", f"{CONFIG_MAPS}/a") == (200, made)
    status, found = await ask("GET", CONFIG_MAPS)
    assert (status, found["kind"], [one["metadata"]["name"] for one in found["items"]]) == (200, "ConfigMapList", ["a"])
    assert "kind" not in found["items"][0]
    status, deleted = await ask("DELETE", f"{CONFIG_MAPS}/a")
    assert (status, deleted["status"], deleted["details"]["name"]) == (200, "Success", "a")
    status, missing = await ask("GET", f"{CONFIG_MAPS}/a")
    assert (status, missing["reason"], missing["message"]) == (404, "NotFound", 'configmaps "a" not found')


@with_server
async def test_a_second_create_of_the_same_name_already_exists(ask: Ask) -> None:
    await ask("POST", CONFIG_MAPS, config_map("a"))
    status, refused = await ask("POST", CONFIG_MAPS, config_map("a"))
    assert (status, refused["message"]) == (409, 'configmaps "a" already exists')


@with_server
async def test_an_update_with_an_old_version_is_a_conflict(ask: Ask) -> None:
    _, made = await ask("POST", CONFIG_MAPS, config_map("a", k="1"))
    status, _ = await ask("PUT", f"{CONFIG_MAPS}/a", {**made, "data": {"k": "2"}})
    assert status == 200
    status, refused = await ask("PUT", f"{CONFIG_MAPS}/a", {**made, "data": {"k": "3"}})
    assert (status, refused["reason"]) == (409, "Conflict")


@with_server
async def test_a_dry_run_changes_nothing(ask: Ask) -> None:
    status, _ = await ask("POST", f"{CONFIG_MAPS}?dryRun=All", config_map("a"))
    assert status == 201
    status, _ = await ask("GET", f"{CONFIG_MAPS}/a")
    assert status == 404


@with_server
async def test_generated_names_start_with_their_prefix(ask: Ask) -> None:
    body = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"generateName": "gen-"}}
    names = {(await ask("POST", CONFIG_MAPS, body))[1]["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("gen-") and len(name) == 9 for name in names)


@with_server
async def test_finalizers_hold_a_deleted_object(ask: Ask) -> None:
    held = config_map("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await ask("POST", CONFIG_MAPS, held)
    status, waiting = await ask("DELETE", f"{CONFIG_MAPS}/held")
    assert status == 200
    assert waiting["metadata"]["deletionTimestamp"]
    patch = {"metadata": {"finalizers": None}}
    status, _ = await ask("PATCH", f"{CONFIG_MAPS}/held", patch, kind="application/merge-patch+json")
    assert status == 200
    status, _ = await ask("GET", f"{CONFIG_MAPS}/held")
    assert status == 404


@with_server
async def test_the_four_patch_types_reach_the_object(ask: Ask) -> None:
    await ask("POST", DEPLOYMENTS, deployment("web"))
    path = f"{DEPLOYMENTS}/web"
    await ask("PATCH", path, {"spec": {"replicas": 3}}, kind="application/merge-patch+json")
    await ask(
        "PATCH",
        path,
        [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}],
        kind="application/json-patch+json",
    )
    strategic = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:1"}]}}}}
    await ask("PATCH", path, strategic, kind="application/strategic-merge-patch+json")
    applied = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "annotations": {"x": "y"}}}
    status, found = await ask("PATCH", f"{path}?fieldManager=test", applied, kind="application/apply-patch+yaml")
    assert status == 200
    assert found["spec"]["replicas"] == 3
    assert found["metadata"]["labels"] == {"a": "b"}
    assert found["metadata"]["annotations"] == {"x": "y"}
    assert {one["name"] for one in found["spec"]["template"]["spec"]["containers"]} == {"main", "side"}
    assert {"test"} == {one["manager"] for one in found["metadata"]["managedFields"] if one["operation"] == "Apply"}


@with_server
async def test_applies_of_the_same_field_conflict_until_forced(ask: Ask) -> None:
    path = f"{CONFIG_MAPS}/a?fieldManager="
    await ask("PATCH", path + "one", config_map("a", k="1"), kind="application/apply-patch+yaml")
    status, refused = await ask("PATCH", path + "two", config_map("a", k="2"), kind="application/apply-patch+yaml")
    assert (status, refused["message"]) == (409, 'Apply failed with 1 conflict: conflict with "one": .data.k')
    status, forced = await ask(
        "PATCH", path + "two&force=true", config_map("a", k="2"), kind="application/apply-patch+yaml"
    )
    assert (status, forced["data"]) == (200, {"k": "2"})


@with_server
async def test_a_certificate_request_made_by_apply_knows_who_asked(ask: Ask) -> None:
    request = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": "jane"},
        "spec": {"request": SIGNING_REQUEST, "signerName": "example.org/any", "usages": ["client auth"]},
    }
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests/jane?fieldManager=x"
    status, made = await ask("PATCH", path, request, kind="application/apply-patch+yaml")
    assert (status, made["spec"].get("username")) == (201, "admin")


@with_server
async def test_status_and_spec_are_written_apart(ask: Ask) -> None:
    await ask("POST", DEPLOYMENTS, {**deployment("web"), "status": {"replicas": 7}})
    _, found = await ask("GET", f"{DEPLOYMENTS}/web")
    assert "replicas" not in found["status"]
    patch = {"status": {"replicas": 2}, "spec": {"replicas": 9}}
    status, found = await ask("PATCH", f"{DEPLOYMENTS}/web/status", patch, kind="application/merge-patch+json")
    assert (status, found["status"]["replicas"], found["spec"]["replicas"]) == (200, 2, 2)
    assert found["metadata"]["generation"] == 1


@with_server
async def test_scale_shows_and_changes_the_replicas(ask: Ask) -> None:
    await ask("POST", DEPLOYMENTS, deployment("web"))
    status, scale = await ask("GET", f"{DEPLOYMENTS}/web/scale")
    assert (status, scale["kind"], scale["spec"], scale["status"]["selector"]) == (
        200,
        "Scale",
        {"replicas": 2},
        "app=web",
    )
    status, scale = await ask("PUT", f"{DEPLOYMENTS}/web/scale", {**scale, "spec": {"replicas": 5}})
    assert (status, scale["spec"]["replicas"]) == (200, 5)
    _, found = await ask("GET", f"{DEPLOYMENTS}/web")
    assert found["spec"]["replicas"] == 5


@with_server
async def test_a_pod_is_bound_once(ask: Ask) -> None:
    await ask("POST", PODS, pod("p"))
    binding = {
        "kind": "Binding",
        "apiVersion": "v1",
        "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n1"},
    }
    status, _ = await ask("POST", f"{PODS}/p/binding", binding)
    assert status == 201
    _, found = await ask("GET", f"{PODS}/p")
    assert found["spec"]["nodeName"] == "n1"
    assert [one["type"] for one in found["status"]["conditions"] if one["status"] == "True"] == ["PodScheduled"]
    status, refused = await ask("POST", f"{PODS}/p/binding", binding)
    assert (status, refused["reason"]) == (409, "Conflict")


@with_server
async def test_services_get_addresses_and_ports_of_their_own(ask: Ask) -> None:
    def service(name: str, **spec: Any) -> dict[str, Any]:
        ports = [{"port": 80}]
        return {"kind": "Service", "apiVersion": "v1", "metadata": {"name": name}, "spec": {"ports": ports, **spec}}

    path = "/api/v1/namespaces/default/services"
    made = [(await ask("POST", path, service(f"s{n}", type="NodePort")))[1] for n in range(5)]
    assert len({one["spec"]["clusterIP"] for one in made}) == 5
    assert len({one["spec"]["ports"][0]["nodePort"] for one in made}) == 5
    assert all(one["spec"]["clusterIP"].startswith("10.96.") for one in made)
    taken = made[0]["spec"]["clusterIP"]
    status, refused = await ask("POST", path, service("again", clusterIP=taken))
    assert status == 422
    assert "provided IP is already allocated" in refused["message"]


@with_server
async def test_who_may_not_is_told_so(ask: Ask) -> None:
    status, refused = await ask("GET", PODS, token="user-token")
    assert status == 403
    assert refused["message"] == (
        'pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"'
    )
    status, _ = await ask("GET", PODS, token="forged")
    assert status == 401
    status, text = await ask("GET", "/livez", token="user-token")
    assert (status, text) == (200, "ok")


@with_server
async def test_tables_and_metadata_are_made_on_request(ask: Ask) -> None:
    await ask("POST", CONFIG_MAPS, config_map("a", k="v"))
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    status, table = await ask("GET", CONFIG_MAPS, accept=accept)
    assert (status, table["kind"], table["columnDefinitions"][0]["name"]) == (200, "Table", "Name")
    assert table["rows"][0]["cells"][0] == "a"
    accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    status, metadata = await ask("GET", CONFIG_MAPS, accept=accept)
    assert (status, metadata["kind"], sorted(metadata["items"][0])) == (
        200,
        "PartialObjectMetadataList",
        ["apiVersion", "kind", "metadata"],
    )


def test_deleting_what_authorization_follows_does_not_end_the_server() -> None:
    """The graph of nodes and the policy are kept by background tasks: one that fails takes the server along."""
    slice_ = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": "followed"},
        "spec": {
            "driver": "example.org",
            "nodeName": "node",
            "pool": {"name": "node", "generation": 1, "resourceSliceCount": 1},
        },
    }
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "followed"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/tmp/x"}},
    }
    attachment = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttachment",
        "metadata": {"name": "followed"},
        "spec": {"attacher": "example.org", "nodeName": "node", "source": {"persistentVolumeName": "followed"}},
    }

    async def main() -> None:
        async with asyncio.timeout(30), api_server() as api:
            running = asyncio.create_task(api.run())
            for path, obj in (
                ("/apis/resource.k8s.io/v1/resourceslices", slice_),
                ("/api/v1/persistentvolumes", volume),
                ("/apis/storage.k8s.io/v1/volumeattachments", attachment),
            ):
                body = json.dumps(obj).encode()
                json_ = {"content-type": "application/json"}
                made = await api.handle(Request("POST", path, "", json_, body, identity=ADMINISTRATOR))
                gone = await api.handle(Request("DELETE", f"{path}/followed", "", {}, b"", identity=ADMINISTRATOR))
                assert (made.status, gone.status) == (201, 200)
            for _ in range(1000):  # turns of the loop, many more than the watch takes to deliver
                await asyncio.sleep(0)
            assert not running.done(), running.exception()
            running.cancel()

    asyncio.run(main())


@with_server
async def test_unknown_paths_resources_and_verbs_get_their_status(ask: Ask) -> None:
    assert (await ask("GET", "/nope"))[0] == 404
    status, unknown = await ask("GET", "/api/v1/nopes")
    assert (status, unknown["message"]) == (404, "the server could not find the requested resource")
    status, _ = await ask("DELETE", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
    assert status == 405


@with_server
async def test_lists_come_in_chunks_of_one_snapshot(ask: Ask) -> None:
    for number in range(7):
        await ask("POST", CONFIG_MAPS, config_map(f"c{number}"))
    status, first = await ask("GET", f"{CONFIG_MAPS}?limit=3")
    assert (status, len(first["items"]), first["metadata"]["remainingItemCount"]) == (200, 3, 4)
    await ask("DELETE", f"{CONFIG_MAPS}/c5")
    status, rest = await ask("GET", f"{CONFIG_MAPS}?limit=10&continue={first['metadata']['continue']}")
    assert [one["metadata"]["name"] for one in rest["items"]] == ["c3", "c4", "c5", "c6"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"metadata": 5}',
        b'{"metadata":{"name":"a","labels":{"a":{}}}}',
        b"\xff\xfe",
        b"[" * 5000,
    ],
)
def test_bad_bodies_never_end_in_a_500(body: bytes) -> None:
    @with_server
    async def send(ask: Ask) -> None:
        status, answer = await ask("POST", CONFIG_MAPS, body)
        assert 400 <= status < 500, answer

    send()
