from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec

from keelback.api.admissionregistration_v1 import (
    MatchResources,
    NamedRuleWithOperations,
    ParamKind,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicySpec,
    Validation,
    Variable,
)
from keelback.apimachinery.meta import Object, ObjectMeta
from keelback.client import Client
from keelback.concurrency.clock import SystemClock
from keelback.controllers.validatingadmissionpolicy_status import (
    Document,
    ValidatingAdmissionPolicyStatusReconciler,
    group_versions,
    kinds,
    warnings,
)
from keelback.reconcile.caches import SharedCaches
from keelback.reconcile.context import Context
from keelback.reconcile.writer import Writer
from keelback.testing.api import ADMINISTRATOR, api_server


def _rule(*resources: str, group: str = "", version: str = "v1") -> NamedRuleWithOperations:
    return NamedRuleWithOperations(
        api_groups=(group,), api_versions=(version,), resources=resources, operations=("CREATE",)
    )


def _spec(*expressions: str, rules: tuple[NamedRuleWithOperations, ...], **more: Any) -> ValidatingAdmissionPolicySpec:
    return ValidatingAdmissionPolicySpec(
        match_constraints=MatchResources(resource_rules=rules),
        validations=tuple(Validation(expression=one) for one in expressions),
        **more,
    )


def _published(*paths: str) -> list[Document]:
    """What the server itself publishes."""

    async def fetch() -> list[Document]:
        async with api_server() as api:
            client = api.client(ADMINISTRATOR)
            return [msgspec.json.decode((await client.request("GET", path)).content()) for path in paths]

    return asyncio.run(fetch())


def test_expressions_are_checked_with_the_types_of_every_kind_that_is_matched() -> None:
    apps, core = _published("/openapi/v3/apis/apps/v1", "/openapi/v3/api/v1")
    documents = {("apps", "v1"): apps, ("", "v1"): core}
    rules = (_rule("deployments", "statefulsets", "deployments/scale", "*", group="apps"), _rule("*", group="*"))
    spec = _spec(
        "object.spec.replicas > 1 && object.metadata.namespace != ''",
        "object.spec.strategy.type == 'Recreate'",
        "variables.wanted.startsWith('a')",
        "params.data.max > 1",
        "object.spec.template.spec.containers.all(one, one.ports.all(port, port.containerPort < 1024))",
        rules=rules,
        variables=(Variable(name="wanted", expression="object.spec.replicas"),),
        param_kind=ParamKind(api_version="v1", kind="ConfigMap"),
    )
    assert list(group_versions(spec)) == [("apps", "v1"), ("", "v1")]
    assert [one.kind for one in kinds(spec, documents)] == ["Deployment", "StatefulSet"]
    found = {one.field_ref: one.warning for one in warnings(spec, documents)}
    assert found == {
        "spec.validations[1].expression": "apps/v1, Kind=StatefulSet: ERROR: <input>:1:12: undefined field 'strategy'\n"
        " | object.spec.strategy.type == 'Recreate'\n | ...........^\n",
        "spec.validations[2].expression": "\n".join(
            f"apps/v1, Kind={kind}: ERROR: <input>:1:28: found no matching overload for 'startsWith' applied to "
            "'int.(string)'\n | variables.wanted.startsWith('a')\n | ...........................^\n"
            for kind in ("Deployment", "StatefulSet")
        ),
        "spec.validations[3].expression": "\n".join(
            f"apps/v1, Kind={kind}: ERROR: <input>:1:17: found no matching overload for '_>_' applied to "
            "'(string, int)'\n | params.data.max > 1\n | ................^\n"
            for kind in ("Deployment", "StatefulSet")
        ),
    }


def test_what_is_not_published_is_not_checked() -> None:
    spec = _spec("object.nope == 1", rules=(_rule("widgets", group="example.com"),))
    assert list(warnings(spec, {})) == []


class _NoEvents:
    async def event(self, obj: Object, type: str, reason: str, message: str, /) -> None:
        raise AssertionError(reason)


def test_the_status_says_what_was_checked_once_for_each_generation() -> None:
    async def reconcile(client: Client, policy: ValidatingAdmissionPolicy) -> ValidatingAdmissionPolicy:
        clock, chance = SystemClock(), random.Random(1)
        context = Context(Writer(client), SharedCaches(client, clock, chance), _NoEvents(), clock, chance)
        await ValidatingAdmissionPolicyStatusReconciler(context).reconcile(policy)
        return await client.get(ValidatingAdmissionPolicy, policy.metadata.name)

    async def run() -> None:
        async with api_server() as api:
            client = api.client(ADMINISTRATOR)
            spec = _spec("object.data.x > 1", rules=(_rule("configmaps"),))
            made = await client.create(ValidatingAdmissionPolicy(metadata=ObjectMeta(name="p"), spec=spec))
            checked = await reconcile(client, made)
            assert checked.status.observed_generation == 1
            assert checked.status.type_checking is not None
            assert [one.field_ref for one in checked.status.type_checking.expression_warnings] == [
                "spec.validations[0].expression"
            ]
            again = await reconcile(client, checked)
            assert again.metadata.resource_version == checked.metadata.resource_version
            right = msgspec.structs.replace(checked, spec=_spec("object.data.x == 'y'", rules=(_rule("configmaps"),)))
            checked = await reconcile(client, await client.update(right))
            assert checked.status.observed_generation == 2
            assert checked.status.type_checking is not None
            assert checked.status.type_checking.expression_warnings == ()

    asyncio.run(run())
