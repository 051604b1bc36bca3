"""Who writes admission policies and bindings may have only such parameters read as they may read themselves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keelback.testing.requests import Ask, with_server

MERGE = "application/merge-patch+json"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
POLICY = {
    "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
    "matchConstraints": {"resourceRules": [RULE]},
    "validations": [{"expression": "true"}],
}
MUTATIONS = [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}}]
MUTATING_POLICY = {**POLICY, "validations": None, "mutations": MUTATIONS, "reinvocationPolicy": "Never"}
REFERENCE = {"name": "settings", "namespace": "default", "parameterNotFoundAction": "Deny"}
BINDING = {"policyName": "a", "paramRef": REFERENCE, "validationActions": ["Deny"]}
READS = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}
WHO = "&{may  [system:authenticated] map[]}"


async def granted(ask: Ask, name: str, rule: dict[str, Any]) -> None:
    """Give the user `may` a right everywhere."""
    status, _ = await ask("POST", f"{RBAC}/clusterroles", {"metadata": {"name": name}, "rules": [rule]})
    assert status == 201
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "may"}]
    status, _ = await ask(
        "POST",
        f"{RBAC}/clusterrolebindings",
        {"metadata": {"name": name}, "roleRef": reference, "subjects": subjects},
    )
    assert status == 201
    await until_allowed(ask, rule)


async def until_allowed(ask: Ask, rule: dict[str, Any], wanted: bool = True) -> None:
    """Wait until the server has seen the right of `may`, or that it is gone."""
    attributes = {"group": rule["apiGroups"][0], "resource": rule["resources"][0], "verb": rule["verbs"][0]}
    review = {"spec": {"user": "may", "resourceAttributes": attributes}}
    while True:
        _, answer = await ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        if answer["status"]["allowed"] is wanted:
            return
        await asyncio.sleep(0)


async def may_write_policies(ask: Ask) -> None:
    await granted(
        ask, "writes-policies", {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"], "verbs": ["*"]}
    )


def named(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": spec}


@pytest.mark.parametrize(
    ("plural", "spec"), [("validatingadmissionpolicies", POLICY), ("mutatingadmissionpolicies", MUTATING_POLICY)]
)
def test_a_policys_kind_of_parameters_is_one_that_its_writer_may_get(plural: str, spec: dict[str, Any]) -> None:
    @with_server
    async def check(ask: Ask) -> None:
        await may_write_policies(ask)
        path = f"{ADMISSION}/{plural}"
        status, failure = await ask("POST", path, named("a", spec), impersonate_user="may")
        assert status == 422
        assert failure["details"]["causes"] == [
            {
                "reason": "FieldValueForbidden",
                "message": f'Forbidden: user {WHO} must have "get" permission on all objects of the referenced'
                " paramKind (kind=ConfigMap, apiVersion=v1)",
                "field": "spec.paramKind",
            }
        ]

        # The administrator may; what others leave as it is asks for nothing.
        assert (await ask("POST", path, named("a", spec)))[0] == 201
        patch = {"spec": {"failurePolicy": "Ignore"}}
        assert (await ask("PATCH", f"{path}/a", patch, kind=MERGE, impersonate_user="may"))[0] == 200
        # A kind that is not served may become any of its group.
        other: dict[str, Any] = {"spec": {"paramKind": {"kind": "Other"}}}
        assert (await ask("PATCH", f"{path}/a", other, kind=MERGE, impersonate_user="may"))[0] == 422

        await granted(ask, "reads", READS)
        assert (await ask("POST", path, named("b", spec), impersonate_user="may"))[0] == 201

    check()


@pytest.mark.parametrize("kind", ["validating", "mutating"])
def test_a_bindings_parameters_are_such_that_its_writer_may_get(kind: str) -> None:
    @with_server
    async def check(ask: Ask) -> None:
        await may_write_policies(ask)
        spec = POLICY if kind == "validating" else MUTATING_POLICY
        binding = {key: value for key, value in BINDING.items() if kind == "validating" or key != "validationActions"}
        path = f"{ADMISSION}/{kind}admissionpolicybindings"
        # As long as there is no policy, it may read anything.
        await granted(ask, "reads", READS)
        status, failure = await ask("POST", path, named("a", binding), impersonate_user="may")
        assert status == 422
        assert failure["details"]["causes"] == [
            {
                "reason": "FieldValueForbidden",
                "message": f'Forbidden: user {WHO} does not have "get" permission on the object referenced by paramRef',
                "field": "spec.paramRef",
            }
        ]
        assert (await ask("POST", f"{ADMISSION}/{kind}admissionpolicies", named("a", spec)))[0] == 201
        assert (await ask("POST", path, named("a", binding), impersonate_user="may"))[0] == 201

        assert (await ask("DELETE", f"{RBAC}/clusterroles/reads"))[0] == 200
        await until_allowed(ask, READS, wanted=False)
        patch: dict[str, Any] = {"metadata": {"labels": {"a": "b"}}}
        assert (await ask("PATCH", f"{path}/a", patch, kind=MERGE, impersonate_user="may"))[0] == 200
        patch = {"spec": {"paramRef": {"name": "other"}}}
        assert (await ask("PATCH", f"{path}/a", patch, kind=MERGE, impersonate_user="may"))[0] == 422

    check()
