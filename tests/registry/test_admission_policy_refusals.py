"""What is wrong with admission policies, beside what is recorded."""

from __future__ import annotations

from typing import Any

from keelback.apimachinery import codecs
from keelback.registry.admissionpolicies import ValidatingAdmissionPolicyStrategy

STRATEGY = ValidatingAdmissionPolicyStrategy()


def policy(status: dict[str, Any] | None = None, **spec: Any) -> Any:
    rules = [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["pods"]}]
    spec = {"matchConstraints": {"resourceRules": rules}, "validations": [{"expression": "true"}], **spec}
    tree = {"metadata": {"name": "p"}, "spec": spec, "status": status or {}}
    return STRATEGY.default(codecs.convert(STRATEGY.kind, tree))


def test_names_and_messages() -> None:
    made = policy(
        variables=[{"name": " ", "expression": "1"}],
        validations=[{"expression": "true", "message": "a\nb"}, {"expression": "true", "message": " "}],
    )
    assert [f"{one.field}: {one.body}" for one in STRATEGY.validate(made)] == [
        "spec.variables[0].name: Required value: name is not specified",
        'spec.validations[0].message: Invalid value: "a\\nb": must not contain line breaks',
        'spec.validations[1].message: Invalid value: " ": must be non-empty if specified',
    ]


def test_conditions_and_warnings_in_a_status() -> None:
    made = policy(
        {"typeChecking": {"expressionWarnings": [{"fieldRef": " ", "warning": ""}]}, "conditions": [{"type": "Ready"}]}
    )
    assert [f"{one.field}: {one.body}" for one in STRATEGY.validate_status_update(made, policy())] == [
        "status.typeChecking.expressionWarnings[0].warning: Required value",
        "status.typeChecking.expressionWarnings[0].fieldRef: Required value",
        "status.conditions[0].status: Required value: must be set",
        "status.conditions[0].lastTransitionTime: Required value: must be set",
        "status.conditions[0].reason: Required value: must be set",
    ]
