"""Whoever writes a claim's status needs rights to what they change in it, and a namespace's leave for admin access."""

from __future__ import annotations

import asyncio
from typing import Any

from keelback.auth.users import NODE_NAME_KEY
from keelback.testing.api import api_server
from keelback.testing.requests import Ask, asking, with_server

BASE = "/apis/resource.k8s.io/v1/namespaces/default"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
MERGE = "application/merge-patch+json"
SPEC = {"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpus"}}]}}
DRIVER = "system:serviceaccount:default:driver"
NODE_TERM = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}
RESULT = {"request": "gpu", "driver": "a.example.com", "pool": "p", "device": "d"}
ALLOCATION = {"devices": {"results": [RESULT]}, "nodeSelector": {"nodeSelectorTerms": [NODE_TERM]}}
NEWS = {"driver": "a.example.com", "pool": "p", "device": "d", "conditions": []}


async def grant(ask: Ask, user: str, resource: str, *verbs: str, names: tuple[str, ...] = ()) -> None:
    """Give a user a right everywhere."""
    name = f"{user}-{resource}-{verbs[0]}".replace(":", ".").replace("/", ".")
    rule: dict[str, Any] = {"apiGroups": ["resource.k8s.io"], "resources": [resource], "verbs": verbs}
    if names:
        rule["resourceNames"] = names
    assert (await ask("POST", f"{RBAC}/clusterroles", {"metadata": {"name": name}, "rules": [rule]}))[0] == 201
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]
    binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": subjects}
    assert (await ask("POST", f"{RBAC}/clusterrolebindings", binding))[0] == 201
    plural, _, part = resource.partition("/")
    attributes = {"group": "resource.k8s.io", "resource": plural, "subresource": part, "verb": verbs[0]}
    attributes |= {"name": names[0]} if names else {}
    review = {"spec": {"user": user, "resourceAttributes": attributes}}
    while True:
        _, answer = await ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        if answer["status"]["allowed"]:
            return
        await asyncio.sleep(0)


async def claim(ask: Ask, **status: Any) -> None:
    made, _ = await ask("POST", f"{BASE}/resourceclaims", {"metadata": {"name": "c"}, "spec": SPEC})
    assert made == 201
    if status:
        patched, answer = await ask("PATCH", f"{BASE}/resourceclaims/c/status", {"status": status}, kind=MERGE)
        assert patched == 200, answer


def causes(failure: dict[str, Any]) -> list[tuple[str, str]]:
    return [(cause["field"], cause["message"]) for cause in failure["details"]["causes"]]


@with_server
async def test_who_allocates_may_bind_claims(ask: Ask) -> None:
    await claim(ask)
    await grant(ask, "may", "resourceclaims/status", "patch", "update")
    patch = {"status": {"allocation": ALLOCATION}}
    status, failure = await ask("PATCH", f"{BASE}/resourceclaims/c/status", patch, kind=MERGE, impersonate_user="may")
    assert (status, failure["reason"]) == (422, "Invalid")
    assert causes(failure) == [
        (
            "status",
            'Forbidden: changing status.allocation or status.reservedFor requires resource="resourceclaims/binding",'
            ' verb="patch" permission: resourceclaims.resource.k8s.io is forbidden: User "may" cannot patch resource'
            ' "resourceclaims/binding" in API group "resource.k8s.io" at the cluster scope',
        )
    ]
    await grant(ask, "may", "resourceclaims/binding", "patch")
    status, made = await ask("PATCH", f"{BASE}/resourceclaims/c/status", patch, kind=MERGE, impersonate_user="may")
    assert status == 200
    # Another verb is another right, and what stays as it is asks for none.
    made["status"]["reservedFor"] = [{"resource": "pods", "name": "a", "uid": "1"}]
    status, failure = await ask("PUT", f"{BASE}/resourceclaims/c/status", made, impersonate_user="may")
    assert (status, 'verb="update"' in failure["message"]) == (422, True)
    del made["status"]["reservedFor"]
    assert (await ask("PUT", f"{BASE}/resourceclaims/c/status", made, impersonate_user="may"))[0] == 200


def test_without_the_gate_the_subresource_is_right_enough() -> None:
    async def main() -> None:
        gates = {"DRAResourceClaimGranularStatusAuthorization": False}
        async with api_server(feature_gates=gates) as api, asyncio.timeout(30):
            ask = asking(api.handle)
            await claim(ask)
            await grant(ask, "may", "resourceclaims/status", "patch")
            patch = {"status": {"allocation": ALLOCATION, "devices": [NEWS]}}
            status, _ = await ask("PATCH", f"{BASE}/resourceclaims/c/status", patch, kind=MERGE, impersonate_user="may")
            assert status == 200

    asyncio.run(main())


@with_server
async def test_a_driver_tells_of_its_own_devices(ask: Ask) -> None:
    await claim(ask, allocation=ALLOCATION)
    await grant(ask, "may", "resourceclaims/status", "patch")
    patch = {"status": {"devices": [NEWS]}}
    status, failure = await ask("PATCH", f"{BASE}/resourceclaims/c/status", patch, kind=MERGE, impersonate_user="may")
    assert status == 422
    assert causes(failure) == [
        (
            "status.devices",
            'Forbidden: changing status.devices requires resource="resourceclaims/driver",'
            ' verb="[arbitrary-node:patch]" permission: resourceclaims.resource.k8s.io "a.example.com" is forbidden:'
            ' User "may" cannot arbitrary-node:patch resource "resourceclaims/driver" in API group "resource.k8s.io"'
            ' in the namespace "default"',
        )
    ]
    await grant(ask, "may", "resourceclaims/driver", "arbitrary-node:patch", names=("a.example.com",))
    status, _ = await ask("PATCH", f"{BASE}/resourceclaims/c/status", patch, kind=MERGE, impersonate_user="may")
    assert status == 200


@with_server
async def test_a_driver_on_a_node_tells_of_claims_of_that_node(ask: Ask) -> None:
    await claim(ask, allocation=ALLOCATION)
    await grant(ask, DRIVER, "resourceclaims/status", "patch")
    await grant(ask, DRIVER, "resourceclaims/driver", "associated-node:patch", names=("a.example.com",))
    patch = {"status": {"devices": [NEWS]}}
    where = f"{BASE}/resourceclaims/c/status"
    as_driver: dict[str, Any] = {"kind": MERGE, "impersonate_user": DRIVER}
    node = f"impersonate_extra_{NODE_NAME_KEY}".replace("/", "%2f")
    status, failure = await ask("PATCH", where, patch, **as_driver, **{node: "node-2"})
    assert (status, 'verb="[arbitrary-node:patch]"' in failure["message"]) == (422, True)
    status, answer = await ask("PATCH", where, patch, **as_driver, **{node: "node-1"})
    assert status == 200, answer


@with_server
async def test_what_was_told_of_devices_goes_with_them(ask: Ask) -> None:
    await claim(ask, allocation=ALLOCATION, devices=[NEWS])
    # To take the devices away is the scheduler's, which is no driver.
    await grant(ask, "may", "resourceclaims/status", "patch")
    await grant(ask, "may", "resourceclaims/binding", "patch")
    patch = {"status": {"allocation": None}}
    status, made = await ask("PATCH", f"{BASE}/resourceclaims/c/status", patch, kind=MERGE, impersonate_user="may")
    assert (status, made["status"]) == (200, {})


@with_server
async def test_admin_access_needs_the_label_of_the_namespace(ask: Ask) -> None:
    exactly = {"deviceClassName": "gpus", "adminAccess": True}
    spec = {"devices": {"requests": [{"name": "gpu", "exactly": exactly}]}}
    bodies = {
        "resourceclaims": {"metadata": {"name": "c"}, "spec": spec},
        "resourceclaimtemplates": {"metadata": {"name": "t"}, "spec": {"spec": spec}},
    }
    for plural, body in bodies.items():
        status, failure = await ask("POST", f"{BASE}/{plural}", body)
        assert status == 422
        assert causes(failure) == [
            (
                "spec.devices.requests[0].adminAccess",
                "Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on"
                " the containing namespace",
            )
        ]
    labels = {"metadata": {"labels": {"resource.kubernetes.io/admin-access": "true"}}}
    assert (await ask("PATCH", "/api/v1/namespaces/default", labels, kind=MERGE))[0] == 200
    for plural, body in bodies.items():
        while True:
            status, _ = await ask("POST", f"{BASE}/{plural}", body)
            if status == 201:
                break
            await asyncio.sleep(0)
