"""Binding and eviction, in upstream's words."""

from __future__ import annotations

from typing import Any

from keelback.testing.requests import Ask, with_server

PODS = "/api/v1/namespaces/default/pods"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
MERGE = "application/merge-patch+json"


async def have_pod(ask: Ask, **spec: Any) -> Any:
    body: dict[str, Any] = {
        "metadata": {"name": "a", "labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    body["spec"] |= spec
    status, made = await ask("POST", PODS, body)
    assert status == 201, made
    return made


def binding(name: str = "a", *, kind: str = "Node", node: str = "n", **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}, "target": {"kind": kind, "name": node}}


async def bind(ask: Ask, body: dict[str, Any]) -> tuple[int, Any]:
    return await ask("POST", f"{PODS}/a/binding", body)


@with_server
async def test_a_binding_without_a_good_target_fails_without_a_reason(ask: Ask) -> None:
    await have_pod(ask)
    kind = 'target.kind: Unsupported value: "Pod": supported values: "Node", "<empty>"'
    for body, told in (
        (binding(kind="Pod"), kind),
        (binding(node=""), "target.name: Required value"),
        (binding(kind="Pod", node=""), f"[{kind}, target.name: Required value]"),
    ):
        status, failed = await bind(ask, body)
        assert (status, failed["message"], failed.get("reason")) == (500, told, None)


@with_server
async def test_a_binding_is_of_the_pod_in_its_path(ask: Ask) -> None:
    await have_pod(ask)
    for name in ("b", ""):
        status, refused = await bind(ask, binding(name))
        assert (status, refused["message"]) == (400, "name in URL does not match name in Binding object")


@with_server
async def test_a_pod_is_bound_once(ask: Ask) -> None:
    await have_pod(ask)
    assert (await bind(ask, binding(labels={"app": "b"}, annotations={"x": "y"})))[0] == 201
    _, pod = await ask("GET", f"{PODS}/a")
    assert (pod["spec"]["nodeName"], pod["metadata"]["labels"]) == ("n", {"app": "b"})
    status, refused = await bind(ask, binding(node="m"))
    assert (status, refused["details"]) == (409, {"name": "a", "kind": "pods/binding"})
    told = 'Operation cannot be fulfilled on pods/binding "a": pod a is already assigned to node "n"'
    assert refused["message"] == told


@with_server
async def test_what_a_binding_presumes_is_checked(ask: Ask) -> None:
    pod = await have_pod(ask)
    version = pod["metadata"]["resourceVersion"]
    prefix = 'Operation cannot be fulfilled on pods "a": StorageError: invalid object, Code: 4, Key: '
    for given, told in (
        ({"uid": "x"}, f"UID in precondition: x, UID in object meta: {pod['metadata']['uid']}"),
        ({"resourceVersion": "1"}, f"ResourceVersion in precondition: 1, ResourceVersion in object meta: {version}"),
    ):
        status, refused = await bind(ask, binding(**given))
        assert (status, refused["message"].startswith(prefix)) == (409, True)
        assert refused["message"].endswith(f"AdditionalErrorMsg: Precondition failed: {told}")


async def have_budget(ask: Ask, name: str, **status: int) -> None:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "a"}}}
    code, made = await ask("POST", BUDGETS, {"metadata": {"name": name}, "spec": spec})
    assert code == 201, made
    code, made = await ask("PATCH", f"{BUDGETS}/{name}/status", {"status": status}, kind=MERGE)
    assert code == 200, made


async def have_ready_pod(ask: Ask) -> None:
    await have_pod(ask, nodeName="n")
    ready = [{"type": "Ready", "status": "True"}]
    body = {"status": {"phase": "Running", "conditions": ready}}
    code, made = await ask("PATCH", f"{PODS}/a/status", body, kind=MERGE)
    assert code == 200, made


async def evict(ask: Ask) -> tuple[int, Any]:
    return await ask("POST", f"{PODS}/a/eviction", {"metadata": {"name": "a"}})


@with_server
async def test_a_budget_refuses_and_says_what_it_needs(ask: Ask) -> None:
    await have_ready_pod(ask)
    await have_budget(ask, "b", observedGeneration=1, desiredHealthy=2, currentHealthy=1)
    status, refused = await evict(ask)
    cause = {
        "reason": "DisruptionBudget",
        "message": "The disruption budget b needs 2 healthy pods and has 1 currently",
    }
    assert (status, refused["reason"], refused["details"]) == (429, "TooManyRequests", {"causes": [cause]})
    assert refused["message"] == "Cannot evict pod as it would violate the pod's disruption budget."


@with_server
async def test_a_budget_that_nobody_has_looked_at_asks_to_come_again(ask: Ask) -> None:
    await have_ready_pod(ask)
    await have_budget(ask, "b")
    status, refused = await evict(ask)
    cause = {
        "reason": "DisruptionBudget",
        "message": "The disruption budget b is still being processed by the server.",
    }
    assert (status, refused.get("details")) == (429, {"causes": [cause], "retryAfterSeconds": 10}), refused


@with_server
async def test_the_last_disruption_is_noted_in_the_conditions(ask: Ask) -> None:
    await have_ready_pod(ask)
    await have_budget(ask, "b", observedGeneration=1, disruptionsAllowed=1, desiredHealthy=1, currentHealthy=2)
    assert (await evict(ask))[0] == 201
    _, budget = await ask("GET", f"{BUDGETS}/b")
    (condition,) = budget["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "DisruptionAllowed",
        "False",
        "InsufficientPods",
    )
    assert list(budget["status"]["disruptedPods"]) == ["a"]


@with_server
async def test_two_budgets_are_too_many(ask: Ask) -> None:
    await have_ready_pod(ask)
    await have_budget(ask, "b", observedGeneration=1, disruptionsAllowed=1)
    await have_budget(ask, "c", observedGeneration=1, disruptionsAllowed=1)
    status, failed = await evict(ask)
    told = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    assert (status, failed["message"], failed.get("reason")) == (500, told, None)


@with_server
async def test_a_pod_that_is_not_ready_goes_while_there_is_health_to_spare(ask: Ask) -> None:
    await have_pod(ask, nodeName="n")
    code, _ = await ask("PATCH", f"{PODS}/a/status", {"status": {"phase": "Running"}}, kind=MERGE)
    assert code == 200
    # Where nothing is desired nothing is to spare.
    await have_budget(ask, "b", observedGeneration=1)
    assert (await evict(ask))[0] == 429
    counts = {"desiredHealthy": 1, "currentHealthy": 1}
    await ask("PATCH", f"{BUDGETS}/b/status", {"status": counts}, kind=MERGE)
    assert (await evict(ask))[0] == 201


@with_server
async def test_an_eviction_is_of_the_pod_in_its_path(ask: Ask) -> None:
    await have_pod(ask)
    status, refused = await ask("POST", f"{PODS}/a/eviction", {"metadata": {"name": "b"}})
    assert (status, refused["message"]) == (400, "name in URL does not match name in Eviction object")
