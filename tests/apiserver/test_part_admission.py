"""What is posted to subresources passes admission as what it is: a Binding, an Eviction, a TokenRequest, a Scale."""

from __future__ import annotations

from typing import Any

from keelback.testing.requests import Ask, with_server

PODS = "/api/v1/namespaces/default/pods"
NODE = {"impersonate-user": "system:node:one", "impersonate-group": "system:nodes"}


async def _pod(ask: Ask, name: str, node: str = "") -> dict[str, Any]:
    spec: dict[str, Any] = {"containers": [{"name": "c", "image": "i"}]}
    if node:
        spec["nodeName"] = node
    status, made = await ask("POST", PODS, {"metadata": {"name": name}, "spec": spec})
    assert status == 201, made
    assert isinstance(made, dict)
    return made


@with_server
async def test_a_binding_brings_the_zone_of_its_node_but_no_label_the_pod_has(ask: Ask) -> None:
    labels = {"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r"}
    assert (await ask("POST", "/api/v1/nodes", {"metadata": {"name": "one", "labels": labels}}))[0] == 201
    await _pod(ask, "a")
    binding = {"metadata": {"name": "a", "annotations": {"by": "me"}}, "target": {"kind": "Node", "name": "one"}}
    assert (await ask("POST", f"{PODS}/a/binding", binding))[0] == 201
    _, bound = await ask("GET", f"{PODS}/a")
    assert bound["spec"]["nodeName"] == "one"
    assert bound["metadata"]["labels"] == labels
    assert bound["metadata"]["annotations"] == {"by": "me"}


@with_server
async def test_a_node_evicts_only_its_own_pods(ask: Ask) -> None:
    await _pod(ask, "mine", "one")
    await _pod(ask, "theirs", "two")
    for name, code in (("theirs", 403), ("mine", 201)):
        status, answer = await ask("POST", f"{PODS}/{name}/eviction", {"metadata": {"name": name}}, **NODE)
        assert status == code, answer


@with_server
async def test_a_node_gets_tokens_only_for_its_own_pods(ask: Ask) -> None:
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    assert (await ask("POST", accounts, {"metadata": {"name": "s"}}))[0] in (201, 409)
    status, answer = await ask("POST", f"{accounts}/s/token", {"spec": {"audiences": []}}, **NODE)
    assert status == 403, answer
