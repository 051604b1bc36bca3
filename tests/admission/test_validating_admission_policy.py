"""Validating admission policies on the real server. Time stands still until a test moves it, so nothing has to wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import pytest

from keelback.admission.metrics import AdmissionMetrics
from keelback.admission.plugin import AdmissionRequest, Operation, Question, Ruling
from keelback.admission.validating_admission_policy import ValidatingAdmissionPolicyPlugin
from keelback.api.admissionregistration_v1 import ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding
from keelback.api.core_v1 import ConfigMap, Namespace
from keelback.apimachinery import codecs
from keelback.apimachinery.meta import Object, ObjectMeta
from keelback.apiserver.served_resources import ServedResources
from keelback.component.evaluations import Evaluations
from keelback.component.metrics import Registry
from keelback.testing.api import api_server
from keelback.testing.clock import HandClock
from keelback.testing.requests import Ask, asking

T = TypeVar("T", bound=Object)

GROUP = "/apis/admissionregistration.k8s.io/v1"
POLICIES = f"{GROUP}/validatingadmissionpolicies"
BINDINGS = f"{GROUP}/validatingadmissionpolicybindings"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"


class World:
    """A server with policies in force."""

    def __init__(self, ask: Ask, clock: HandClock) -> None:
        self.ask = ask
        self.clock = clock

    async def have(self, path: str, body: dict[str, Any]) -> Any:
        """Create something, which must succeed."""
        status, answer = await self.ask("POST", path, body)
        assert status == 201, answer
        return answer

    async def policy(self, *validations: dict[str, Any] | str, bind: dict[str, Any] | None = None, **spec: Any) -> None:
        """A policy for all ConfigMaps, bound, and in force."""
        given = [{"expression": one} if isinstance(one, str) else one for one in validations]
        constraints = {"resourceRules": [rule()]}
        name = spec.pop("name", "p")
        await self.have(
            POLICIES,
            {"metadata": {"name": name}, "spec": {"matchConstraints": constraints, "validations": given, **spec}},
        )
        binding = {"policyName": name, "validationActions": ["Deny"], **(bind or {})}
        await self.have(BINDINGS, {"metadata": {"name": f"{name}-b"}, "spec": binding})
        await self.clock.pass_time(1)

    async def refusal(self, name: str = "a", path: str = CONFIG_MAPS, **body: Any) -> tuple[int, str]:
        """How the creation of a ConfigMap is refused: code and the policy's own words. Nothing if it is not."""
        metadata = {"name": name, **body.pop("metadata", {})}
        status, answer = await self.ask("POST", f"{path}?dryRun=All", {"metadata": metadata, **body})
        return (
            (201, "")
            if status == 201
            else (status, answer["message"].partition("denied request: ")[2] or answer["message"])
        )


def rule(*resources: str, group: str = "", version: str = "v1", **more: Any) -> dict[str, Any]:
    return {
        "apiGroups": [group],
        "apiVersions": [version],
        "operations": ["*"],
        "resources": list(resources or ("configmaps",)),
        **more,
    }


def with_world(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        async def main() -> None:
            clock = HandClock()
            async with api_server(clock) as api, asyncio.timeout(60):
                await test(World(asking(api.handle), clock))

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


@with_world
async def test_a_refusal_names_policy_and_binding_and_tells_the_first_failure(world: World) -> None:
    await world.policy(
        "object.metadata.name != 'x'",
        {"expression": "object.metadata.name == 'no'", "message": " only no ", "reason": "Forbidden"},
        "false",
    )
    status, answer = await world.ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})
    said = "ValidatingAdmissionPolicy 'p' with binding 'p-b' denied request: only no"
    assert status == 403
    assert answer["message"] == f'configmaps "a" is forbidden: {said}'
    assert answer["reason"] == "Forbidden"
    assert answer["details"] == {"name": "a", "kind": "configmaps", "causes": [{"message": said}]}
    # Without a reason it is Invalid; without a message the expression stands for it.
    assert await world.refusal("no") == (422, "failed expression: false")


@with_world
async def test_messages_are_computed_and_fall_back(world: World) -> None:
    computed = "'has ' + string(size(object.data))"
    await world.policy(
        {"expression": "object.metadata.name != 'a'", "messageExpression": computed, "message": "plain"},
        {"expression": "object.metadata.name != 'b'", "messageExpression": "object.data.nope + ''", "message": "plain"},
        {"expression": "object.metadata.name != 'c'", "messageExpression": "'two\\nlines'"},
    )
    assert await world.refusal("a", data={"k": "v"}) == (422, "has 1")
    assert await world.refusal("b", data={"k": "v"}) == (422, "plain")
    assert await world.refusal("c") == (422, "failed expression: object.metadata.name != 'c'")


@with_world
async def test_warnings_reach_the_client_and_the_write_goes_through(world: World) -> None:
    await world.policy({"expression": "false", "message": "careful"}, bind={"validationActions": ["Warn", "Audit"]})
    assert await world.refusal() == (201, "")


class _Joe:
    name = "joe"
    uid = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}


class _Held:
    """A reader of what it is given."""

    def __init__(self, *held: Object) -> None:
        self._held = held

    async def get(self, kind: type[T], name: str, namespace: str = "") -> T:
        return next(one for one in self._held if isinstance(one, kind) and one.metadata.name == name)

    async def list(self, kind: type[T], namespace: str = "") -> Sequence[T]:
        return [one for one in self._held if isinstance(one, kind)]


async def _denying(question: Question) -> Ruling:
    return Ruling(False)


def test_what_is_to_be_audited_stands_in_the_annotations_of_the_request() -> None:
    policy = codecs.convert(
        ValidatingAdmissionPolicy,
        {
            "metadata": {"name": "p", "uid": "1"},
            "spec": {
                "matchConstraints": {"resourceRules": [rule()]},
                "validations": [{"expression": "true"}, {"expression": "false", "message": "no"}],
                "auditAnnotations": [
                    {"key": "name", "valueExpression": "'it is ' + object.metadata.name"},
                    {"key": "none", "valueExpression": "null"},
                ],
            },
        },
    )
    spec = {"policyName": "p", "validationActions": ["Warn", "Audit"]}
    binding = codecs.convert(ValidatingAdmissionPolicyBinding, {"metadata": {"name": "b", "uid": "2"}, "spec": spec})
    reader = _Held(policy, binding, Namespace(metadata=ObjectMeta(name="default")))
    request = AdmissionRequest(
        operation=Operation.CREATE,
        kind=ConfigMap.__kind__,
        user=_Joe(),
        namespace="default",
        name="a",
        obj=ConfigMap(metadata=ObjectMeta(name="a", namespace="default")),
    )
    plugin = ValidatingAdmissionPolicyPlugin(
        reader, ServedResources({}), _denying, HandClock(), Evaluations(), AdmissionMetrics(Registry())
    )
    asyncio.run(plugin.validate(request))
    assert request.warnings == ["Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': no"]
    assert request.audit_annotations == {
        "p/name": "it is a",
        "validation.policy.admission.k8s.io/validation_failure": '[{"message":"no","policy":"p","binding":"b",'
        '"expressionIndex":1,"validationActions":["Warn","Audit"]}]',
    }


@with_world
async def test_a_namespace_is_in_itself(world: World) -> None:
    await world.policy(
        {"expression": "request.namespace == 'x' && namespaceObject == null", "message": "no"},
        matchConstraints={"resourceRules": [rule("namespaces")], "namespaceSelector": {"matchLabels": {"a": "b"}}},
    )
    spaces = "/api/v1/namespaces"
    for name, code in (("x", 201), ("y", 422)):
        body = {"metadata": {"name": name, "labels": {"a": "b"}}}
        assert (await world.ask("POST", f"{spaces}?dryRun=All", body))[0] == code
    assert (await world.ask("POST", f"{spaces}?dryRun=All", {"metadata": {"name": "y"}}))[0] == 201


@with_world
async def test_changes_take_effect_together_within_a_second(world: World) -> None:
    await world.policy("false")
    assert (await world.refusal())[0] == 422
    assert (await world.ask("DELETE", f"{BINDINGS}/p-b"))[0] == 200
    # Not at once, for what is written together is seen together; but soon.
    assert (await world.refusal())[0] == 422
    await world.clock.pass_time(0.9)
    assert (await world.refusal())[0] == 201


@with_world
async def test_run_time_errors_refuse_unless_failures_are_ignored(world: World) -> None:
    await world.policy("object.data.nope == 'x'")
    assert await world.refusal(data={"k": "v"}) == (
        422,
        "expression 'object.data.nope == 'x'' resulted in error: no such key: nope",
    )
    await world.ask("PATCH", f"{POLICIES}/p", {"spec": {"failurePolicy": "Ignore"}}, kind=MERGE)
    await world.clock.pass_time(1)
    assert await world.refusal(data={"k": "v"}) == (201, "")


@with_world
async def test_variables_are_computed_when_asked_for_and_know_those_before(world: World) -> None:
    await world.policy(
        "variables.long || !variables.long",
        {"expression": "!variables.long", "messageExpression": "'too many: ' + string(variables.count)"},
        variables=[
            {"name": "broken", "expression": "object.nope.nope"},
            {"name": "count", "expression": "size(object.?data.orValue({}))"},
            {"name": "long", "expression": "variables.count > 1"},
            {"name": "uses", "expression": "variables.broken"},
        ],
    )
    assert await world.refusal(data={"a": "1"}) == (201, "")
    assert await world.refusal(data={"a": "1", "b": "2"}) == (422, "too many: 2")
    await world.policy(
        "variables.broken == 1", name="q", variables=[{"name": "broken", "expression": "object.nope.nope"}]
    )
    assert await world.refusal() == (
        422,
        "expression 'variables.broken == 1' resulted in error: composited variable \"broken\" fails to evaluate: "
        "no such key: nope",
    )


@with_world
async def test_match_conditions_decide_whether_a_policy_concerns_a_request(world: World) -> None:
    conditions = [
        {"name": "named", "expression": "object.metadata.name.startsWith('a')"},
        {"name": "labelled", "expression": "object.metadata.labels.x == 'y'"},
    ]
    await world.policy({"expression": "false", "message": "no"}, matchConditions=conditions)
    assert await world.refusal("a", metadata={"labels": {"x": "y"}}) == (422, "no")
    # A plain no counts more than an error of another condition; an error alone refuses.
    assert await world.refusal("b") == (201, "")
    assert await world.refusal("a") == (
        422,
        "expression 'object.metadata.labels.x == 'y'' resulted in error: no such key: labels",
    )


@with_world
async def test_expressions_see_the_request_the_old_object_and_the_namespace(world: World) -> None:
    seen = " && ".join(
        [
            "request.kind.kind == 'ConfigMap'",
            "request.resource.resource == 'configmaps'",
            "request.requestKind == request.kind",
            "request.operation == 'DELETE'",
            "request.userInfo.username == 'admin'",
            "'system:masters' in request.userInfo.groups",
            "request.namespace == 'default'",
            "request.dryRun",
            "object == null",
            "oldObject.data.k == 'v'",
            "namespaceObject.metadata.labels['kubernetes.io/metadata.name'] == 'default'",
            "namespaceObject.metadata.creationTimestamp < timestamp('2100-01-01T00:00:00Z')",
            "namespaceObject.status.phase == 'Active'",
            "request.options.kind == 'DeleteOptions'",
            "request.options.propagationPolicy == 'Orphan'",
            "!has(request.subResource)",
        ]
    )
    await world.have(CONFIG_MAPS, {"metadata": {"name": "a"}, "data": {"k": "v"}})
    await world.policy(f"request.operation != 'DELETE' || !({seen})")
    status, answer = await world.ask("DELETE", f"{CONFIG_MAPS}/a?dryRun=All&propagationPolicy=Orphan")
    assert (status, answer["reason"]) == (422, "Invalid"), answer
    assert "failed expression" in answer["message"]


@with_world
async def test_who_may_do_what_can_be_asked(world: World) -> None:
    await world.have(
        "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
        {
            "metadata": {"name": "jane"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
        },
    )
    expressions = {
        "own": "authorizer.requestResource.check('create').allowed()",
        "secrets": "authorizer.group('').resource('secrets').namespace('default').check('list').allowed()",
        "nodes": "!authorizer.group('').resource('nodes').check('delete').allowed()",
        "path": "!authorizer.path('/metrics').check('get').allowed()",
        "account": "!authorizer.serviceAccount('default', 'default').group('').resource('pods').check('get').allowed()",
    }
    await world.policy(*({"expression": text, "message": name} for name, text in expressions.items()))
    body = {"metadata": {"name": "a"}}
    assert (await world.ask("POST", f"{CONFIG_MAPS}?dryRun=All", body, token="user-token"))[0] == 201
    # An administrator may delete nodes.
    assert await world.refusal() == (422, "nodes")


@with_world
async def test_expressions_may_cost_only_so_much(world: World) -> None:
    await world.policy("object.data.all(a, object.data.all(b, object.data.all(c, a + b + c != '')))")
    many = {f"k{at}": "x" for at in range(200)}
    status, said = await world.refusal(data=many)
    assert (status, said.partition("error: ")[2]) == (422, "operation cancelled: actual cost limit exceeded")
    # Each within its own limit, but too much together.
    await world.ask("DELETE", f"{POLICIES}/p")
    each = "object.data.all(a, object.data.all(b, a + b != ''))"
    await world.policy(*([each] * 60), name="q")
    assert await world.refusal(data=many) == (
        422,
        "validation failed due to running out of cost budget, no further validation rules will be run",
    )


PARAMS = {"apiVersion": "v1", "kind": "ConfigMap"}
LIMITED = {
    "expression": "size(object.data) <= int(params.data.max)",
    "messageExpression": "'at most ' + params.data.max",
}


@with_world
async def test_parameters_are_found_by_label_and_each_is_applied(world: World) -> None:
    for name, most in (("three", "3"), ("two", "2")):
        await world.have(CONFIG_MAPS, {"metadata": {"name": name, "labels": {"limit": "1"}}, "data": {"max": most}})
    ref = {"selector": {"matchLabels": {"limit": "1"}}, "parameterNotFoundAction": "Deny"}
    await world.policy(LIMITED, paramKind=PARAMS, bind={"paramRef": ref})
    assert await world.refusal(data={"a": "1", "b": "2", "c": "3"}) == (422, "at most 2")
    assert await world.refusal(data={"a": "1"}) == (201, "")
    # Parameters are looked for in the namespace of the request.
    there = "/api/v1/namespaces/kube-system/configmaps"
    none = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    assert await world.refusal(path=there, data={"a": "1"}) == (422, none)


@with_world
async def test_a_parameter_that_is_missing_denies_or_allows_as_the_binding_says(world: World) -> None:
    ref = {"name": "limit", "namespace": "kube-public", "parameterNotFoundAction": "Allow"}
    await world.policy(LIMITED, paramKind=PARAMS, bind={"paramRef": ref})
    assert await world.refusal(data={"a": "1", "b": "2"}) == (201, "")
    limit = {"metadata": {"name": "limit"}, "data": {"max": "1"}}
    status, _ = await world.ask("POST", "/api/v1/namespaces/kube-public/configmaps", {**limit, "data": {"max": "1"}})
    assert status == 201
    # A parameter counts from the moment it is there.
    assert await world.refusal(data={"a": "1", "b": "2"}) == (422, "at most 1")


@with_world
async def test_parameters_may_be_custom_resources_of_the_cluster(world: World) -> None:
    kind = {"apiVersion": "example.com/v1", "kind": "Limit"}
    ref = {"name": "limit", "parameterNotFoundAction": "Deny"}
    await world.policy("size(object.data) <= params.max", paramKind=kind, bind={"paramRef": ref})
    assert await world.refusal() == (
        422,
        "failed to configure policy: failed to find resource referenced by paramKind: 'example.com/v1, Kind=Limit'",
    )
    schema = {"type": "object", "properties": {"max": {"type": "integer"}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "limits", "kind": "Limit"}
    await world.have(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        {
            "metadata": {"name": "limits.example.com"},
            "spec": {"group": "example.com", "scope": "Cluster", "names": names, "versions": [version]},
        },
    )
    await world.clock.pass_time(1)
    await world.have("/apis/example.com/v1/limits", {**kind, "metadata": {"name": "limit"}, "max": 1})
    assert await world.refusal(data={"a": "1"}) == (201, "")
    assert (await world.refusal(data={"a": "1", "b": "2"}))[0] == 422
    patch = {"spec": {"paramRef": {"namespace": "default"}}}
    assert (await world.ask("PATCH", f"{BINDINGS}/p-b", patch, kind=MERGE))[0] == 200
    await world.clock.pass_time(1)
    assert (await world.refusal(data={"a": "1"}))[1] == (
        "failed to configure binding: paramRef.namespace must not be provided for a cluster-scoped `paramKind`"
    )


@pytest.mark.parametrize(
    ("constraints", "binding", "is_concerned"),
    [
        ({"resourceRules": [rule("secrets")]}, {}, False),
        ({"resourceRules": [rule("*")]}, {}, True),
        ({"resourceRules": [rule("*/*")]}, {}, True),
        ({"resourceRules": [rule(operations=["UPDATE", "DELETE"])]}, {}, False),
        ({"resourceRules": [rule(scope="Cluster")]}, {}, False),
        ({"resourceRules": [rule(scope="Namespaced")]}, {}, True),
        ({"resourceRules": [rule(resourceNames=["b"])]}, {}, False),
        ({"resourceRules": [rule(resourceNames=["a", "b"])]}, {}, True),
        ({"resourceRules": [rule()], "excludeResourceRules": [rule(resourceNames=["a"])]}, {}, False),
        ({"resourceRules": [rule()], "excludeResourceRules": [rule("secrets")]}, {}, True),
        ({"resourceRules": [rule()], "objectSelector": {"matchLabels": {"x": "y"}}}, {}, True),
        ({"resourceRules": [rule()], "objectSelector": {"matchLabels": {"x": "z"}}}, {}, False),
        ({"resourceRules": [rule()], "namespaceSelector": {"matchLabels": {"x": "y"}}}, {}, False),
        ({"resourceRules": [rule()]}, {"matchResources": {"resourceRules": [rule("secrets")]}}, False),
        ({"resourceRules": [rule()]}, {"matchResources": {"objectSelector": {"matchLabels": {"x": "y"}}}}, True),
        ({"resourceRules": [rule()]}, {"matchResources": {"excludeResourceRules": [rule()]}}, False),
    ],
)
def test_rules_and_selectors_choose(constraints: dict[str, Any], binding: dict[str, Any], is_concerned: bool) -> None:
    @with_world
    async def run(world: World) -> None:
        await world.policy("false", matchConstraints=constraints, bind=binding)
        status, _ = await world.refusal(metadata={"labels": {"x": "y"}})
        assert (status == 422) is is_concerned

    run()


@with_world
async def test_other_versions_of_a_resource_are_matched_and_seen_as_the_policy_names_them(world: World) -> None:
    old = rule("horizontalpodautoscalers", group="autoscaling", version="v1")
    expression = {
        "expression": "object.spec.targetCPUUtilizationPercentage <= 50 && object.apiVersion == 'autoscaling/v1'"
        " && request.kind.version == 'v1' && request.requestKind.version == 'v2'",
        "messageExpression": "'not ' + string(object.spec.targetCPUUtilizationPercentage)",
    }
    await world.policy(expression, matchConstraints={"resourceRules": [old]})

    async def refused(percent: int) -> str:
        target = {"type": "Utilization", "averageUtilization": percent}
        spec = {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
            "maxReplicas": 3,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        }
        path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers?dryRun=All"
        status, answer = await world.ask("POST", path, {"metadata": {"name": "h"}, "spec": spec})
        return "" if status == 201 else str(answer["message"]).partition("request: ")[2]

    assert await refused(40) == ""
    assert await refused(60) == "not 60"
    exactly = {"spec": {"matchConstraints": {"matchPolicy": "Exact", "resourceRules": [old]}}}
    assert (await world.ask("PATCH", f"{POLICIES}/p", exactly, kind=MERGE))[0] == 200
    await world.clock.pass_time(1)
    assert await refused(60) == ""


@with_world
async def test_policies_do_not_concern_policies_and_webhooks(world: World) -> None:
    everything = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}
    await world.policy("false", matchConstraints={"resourceRules": [everything]})
    assert (await world.refusal())[0] == 422
    assert (await world.ask("DELETE", f"{POLICIES}/p"))[0] == 200
    await world.clock.pass_time(1)
    assert (await world.refusal())[0] == 201


@with_world
async def test_subresources_are_matched_by_their_own_names(world: World) -> None:
    await world.have(CONFIG_MAPS, {"metadata": {"name": "a"}})
    status, _ = await world.ask(
        "POST",
        "/apis/apps/v1/namespaces/default/deployments",
        {
            "metadata": {"name": "d"},
            "spec": {
                "selector": {"matchLabels": {"a": "b"}},
                "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "c", "image": "i"}]},
                },
            },
        },
    )
    assert status == 201
    scale = rule("deployments/scale", group="apps")
    await world.policy(
        {
            "expression": "object.kind == 'Scale' && request.subResource == 'scale' && object.spec.replicas <= 3"
            " && oldObject.spec.replicas == 1",
            "message": "at most 3",
        },
        matchConstraints={"resourceRules": [scale]},
    )
    path = "/apis/apps/v1/namespaces/default/deployments/d"
    status, answer = await world.ask("PATCH", f"{path}/scale", {"spec": {"replicas": 4}}, kind=MERGE)
    assert (status, answer["message"].partition("request: ")[2]) == (422, "at most 3")
    assert (await world.ask("PATCH", f"{path}/scale", {"spec": {"replicas": 2}}, kind=MERGE))[0] == 200
    assert (await world.ask("PATCH", path, {"spec": {"replicas": 5}}, kind=MERGE))[0] == 200


@with_world
async def test_what_policies_refuse_and_let_pass_is_counted(world: World) -> None:
    await world.policy(
        "object.data.k == 'w'",
        bind={"validationActions": ["Warn", "Audit"]},
        matchConditions=[{"name": "c", "expression": "!('skip' in object.data)"}],
    )
    await world.policy("object.data.nope == 'x'", name="open", failurePolicy="Ignore")
    await world.policy("'k' in object.data", name="closed")
    assert await world.refusal(data={"k": "v"}) == (201, "")
    assert (await world.refusal("b", data={"skip": "v"}))[0] == 422
    _, answer = await world.ask("GET", "/metrics")
    counted = {line for line in answer.splitlines() if line.startswith("apiserver_validating_admission_policy_check_t")}
    assert counted == {
        f"apiserver_validating_admission_policy_check_total{{{labels}}} {count}"
        for labels, count in (
            ('policy="p",policy_binding="p-b",error_type="no_error",enforcement_action="warn"', 1),
            ('policy="p",policy_binding="p-b",error_type="no_error",enforcement_action="audit"', 1),
            ('policy="open",policy_binding="open-b",error_type="invalid_error",enforcement_action="allow"', 2),
            ('policy="closed",policy_binding="closed-b",error_type="no_error",enforcement_action="deny"', 1),
        )
    }
    labels = 'name="p",kind="policy",type="validate",operation="CREATE"'
    assert f"apiserver_admission_match_condition_exclusions_total{{{labels}}} 1" in answer.splitlines()
