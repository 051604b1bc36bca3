"""What admission sees of a create: before it has a name and an uid where it may change it. And what reviews answer."""

from __future__ import annotations

from typing import Any

from keelback.testing.clock import HandClock
from keelback.testing.requests import Ask, with_clock, with_server

GROUP = "/apis/admissionregistration.k8s.io/v1"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def constraints(*resources: str, group: str = "") -> dict[str, Any]:
    rule = {"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE"], "resources": list(resources)}
    return {"resourceRules": [rule]}


async def register(ask: Ask, clock: HandClock, kind: str, spec: dict[str, Any], **binding: Any) -> None:
    for plural, body in (
        (f"{kind}admissionpolicies", spec),
        (f"{kind}admissionpolicybindings", {"policyName": "p", **binding}),
    ):
        status, answer = await ask("POST", f"{GROUP}/{plural}", {"metadata": {"name": "p"}, "spec": body})
        assert status == 201, answer
    await clock.pass_time(1)


@with_clock
async def test_who_may_change_an_object_sees_it_before_it_has_a_name(ask: Ask, clock: HandClock) -> None:
    parts = ("metadata.name", "metadata.uid", "metadata.creationTimestamp", "metadata.managedFields")
    seen = " + '.' + ".join([f"string(has(object.{one}))" for one in parts] + ["string(has(request.name))"])
    changed = f"Object{{metadata: Object.metadata{{labels: {{'seen': 'a.' + {seen} + '.z'}}}}}}"
    mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": changed}}
    spec = {
        "matchConstraints": constraints("configmaps"),
        "mutations": [mutation],
        "reinvocationPolicy": "Never",
    }
    await register(ask, clock, "mutating", spec)
    status, made = await ask("POST", CONFIG_MAPS, {"metadata": {"generateName": "gen-"}})
    assert status == 201, made["message"]
    assert made["metadata"]["labels"] == {"seen": "a.false.false.false.true.false.z"}
    assert made["metadata"]["name"].startswith("gen-")


@with_clock
async def test_who_may_refuse_an_object_sees_the_generated_name(ask: Ask, clock: HandClock) -> None:
    told = "request.name + ' ' + string(has(object.metadata.uid))"
    validation = {"expression": "false", "messageExpression": told}
    spec = {"matchConstraints": constraints("configmaps"), "validations": [validation]}
    await register(ask, clock, "validating", spec, validationActions=["Deny"])
    status, refused = await ask("POST", CONFIG_MAPS, {"metadata": {"generateName": "gen-"}})
    assert status == 422
    name = refused["details"]["name"]
    assert name.startswith("gen-")
    assert len(name) == 9
    assert refused["message"].endswith(f"denied request: {name} true")


@with_server
async def test_a_plugin_that_refuses_before_there_is_a_name_says_what_it_begins_with(ask: Ask) -> None:
    spec = {"priorityClassName": "nope", "containers": [{"name": "a", "image": "b"}]}
    pods = "/api/v1/namespaces/default/pods"
    _, refused = await ask("POST", pods, {"metadata": {"generateName": "gen-"}, "spec": spec})
    assert refused["message"] == 'pods "gen-" is forbidden: no PriorityClass with name nope was found'
    _, refused = await ask("POST", pods, {"metadata": {}, "spec": spec})
    assert refused["message"] == 'pods "Unknown" is forbidden: no PriorityClass with name nope was found'


@with_clock
async def test_policies_do_not_see_reviews(ask: Ask, clock: HandClock) -> None:
    spec = {"matchConstraints": constraints("*", group="*"), "validations": [{"expression": "false"}]}
    await register(ask, clock, "validating", spec, validationActions=["Deny"])
    asked = {"spec": {"resourceAttributes": {"verb": "list", "resource": "pods"}}}
    status, answer = await ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", asked)
    assert (status, answer["status"]["allowed"]) == (201, True)
    entry = answer["metadata"]["managedFields"][0]
    assert entry["fieldsV1"] == {"f:spec": {"f:resourceAttributes": {".": {}, "f:resource": {}, "f:verb": {}}}}


@with_server
async def test_a_review_of_oneself_repeats_nothing(ask: Ask) -> None:
    body = {"metadata": {"labels": {"a": "b"}}}
    _, answer = await ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
    assert set(answer["metadata"]) == {"creationTimestamp"}
    rules = {**body, "spec": {"namespace": "default"}}
    _, answer = await ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", rules)
    assert (answer["metadata"], answer["spec"]) == ({}, {})


@with_server
async def test_a_local_review_needs_its_namespace(ask: Ask) -> None:
    spec = {"user": "a", "resourceAttributes": {"namespace": "default", "verb": "get"}}
    path = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews"
    _, answer = await ask("POST", path, {"spec": spec})
    assert answer["metadata"]["namespace"] == "default"
    status, answer = await ask("POST", path, {"metadata": {"namespace": "other"}, "spec": spec})
    assert (status, answer["message"]) == (
        400,
        "the namespace of the provided object does not match the namespace sent on the request",
    )
