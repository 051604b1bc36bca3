"""Expressions ask who may do what; who decides is told exactly what was asked."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keelback.cel.estimates import Estimate
from keelback.cel.libraries.authorization import (
    RESOURCE_CHECK,
    AccessCheck,
    AuthorizerValue,
    ResourceCheckValue,
    Verdict,
)

Evaluate = Callable[..., object]
_DEPLOYMENTS = (
    "authorizer.group('apps').resource('deployments').subresource('status').namespace('test').name('backend')"
)


class Asked:
    """Notes what it is asked, and allows reading."""

    def __init__(self) -> None:
        self.checks: list[AccessCheck] = []

    def decide(self, check: AccessCheck) -> Verdict:
        self.checks.append(check)
        error = "the webhook is away" if check.verb == "delete" else None
        return Verdict(check.verb == "get", f"asked to {check.verb}", error)


@pytest.mark.parametrize(
    ("expression", "value", "check"),
    [
        ("authorizer.path('/healthz').check('get').allowed()", True, AccessCheck("get", path="/healthz")),
        (
            f"{_DEPLOYMENTS}.check('create').allowed()",
            False,
            AccessCheck(
                "create", group="apps", resource="deployments", subresource="status", namespace="test", name="backend"
            ),
        ),
        (
            "authorizer.group('').resource('pods').check('create').reason()",
            "asked to create",
            AccessCheck("create", resource="pods"),
        ),
        (
            "authorizer.group('').resource('pods').check('delete').errored()",
            True,
            AccessCheck("delete", resource="pods"),
        ),
        (
            "authorizer.group('').resource('pods').check('delete').error()",
            "the webhook is away",
            AccessCheck("delete", resource="pods"),
        ),
        (
            "authorizer.group('').resource('pods').check('get').error()",
            "",
            AccessCheck("get", resource="pods"),
        ),
        (
            "authorizer.serviceAccount('default', 'me').group('').resource('pods').check('get').allowed()",
            True,
            AccessCheck("get", resource="pods", service_account=("default", "me")),
        ),
        (
            "authorizer.group('').resource('pods').fieldSelector('a=b').labelSelector('c in (d)')"
            ".check('get').allowed()",
            True,
            AccessCheck("get", resource="pods", field_selector="a=b", label_selector="c in (d)"),
        ),
    ],
)
def test_the_authorizer_is_asked_what_the_expression_says(
    evaluate: Evaluate, expression: str, value: object, check: AccessCheck
) -> None:
    asked = Asked()
    assert evaluate(expression, {"authorizer": AuthorizerValue(asked.decide)}) == value
    assert asked.checks == [check]


def test_the_resource_of_a_request_is_a_check_of_its_own(evaluate: Evaluate) -> None:
    asked = Asked()
    request = ResourceCheckValue(asked.decide, AccessCheck(resource="pods", namespace="default", name="web"))
    assert evaluate(
        "authorizer.requestResource.check('get').allowed()",
        {"authorizer.requestResource": request},
        {"authorizer.requestResource": RESOURCE_CHECK},
    )
    assert asked.checks == [AccessCheck("get", resource="pods", namespace="default", name="web")]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("authorizer.path('  ')", "path must not be empty"),
        ("authorizer.group('apps').resource('')", "resource must not be empty"),
        ("authorizer.serviceAccount('not@a#valid!namespace', 'validname')", "Invalid service account namespace"),
        ("authorizer.serviceAccount('valid', 'invalid@*name')", "Invalid service account name"),
    ],
)
def test_questions_about_nothing_fail(fail: Callable[[str], str], expression: str, message: str) -> None:
    assert fail(expression) == message


@pytest.mark.parametrize(
    ("expression", "cost"),
    [
        ("authorizer.path('/healthz')", 2),
        (_DEPLOYMENTS, 6),
        ("authorizer.path('/healthz').check('get').allowed()", 350003),
        (f"{_DEPLOYMENTS}.check('create').allowed()", 350007),
        (
            "authorizer.group('').resource('pods')"
            ".fieldSelector('spec.nodeName=example-node-name.fully.qualified.domain.name.example.com')",
            1821,
        ),
    ],
)
def test_a_check_costs_so_much_that_two_are_all_there_can_be(
    costs_of: Callable[..., tuple[Estimate, int]], expression: str, cost: int
) -> None:
    assert costs_of(expression) == (Estimate(cost, cost), cost)
