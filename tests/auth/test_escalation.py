from __future__ import annotations

import asyncio

import pytest

from keelback.api.rbac_v1 import AggregationRule, ClusterRole, PolicyRule, Role, RoleBinding, RoleRef, Subject
from keelback.apimachinery import errors
from keelback.apimachinery.meta import LabelSelector, ObjectMeta
from keelback.auth.attributes import Deciders
from keelback.auth.escalation import EscalationChecker, EscalationDenied
from keelback.auth.rbac import Policy, RBACAuthorizer, RoleNotFound
from keelback.auth.users import UserInfo

SMALL = UserInfo(
    "system:serviceaccount:ex-auth:small",
    groups=("system:serviceaccounts", "system:serviceaccounts:ex-auth", "system:authenticated"),
)
META = ObjectMeta(name="small", namespace="ex-auth")


def _checker(*rules: PolicyRule) -> EscalationChecker:
    policy = Policy(
        (
            Role(metadata=META, rules=rules),
            RoleBinding(
                metadata=META,
                role_ref=RoleRef(kind="Role", name="small"),
                subjects=(Subject(kind="ServiceAccount", name="small", namespace="ex-auth"),),
            ),
            ClusterRole(metadata=ObjectMeta(name="reader"), rules=(_rule("get list", "pods"),)),
        )
    )
    return EscalationChecker(policy, Deciders((RBACAuthorizer(policy),)))


def _rule(verbs: str, resources: str, group: str = "") -> PolicyRule:
    return PolicyRule(api_groups=(group,), resources=tuple(resources.split()), verbs=tuple(verbs.split()))


def _role(*rules: PolicyRule) -> Role:
    return Role(metadata=ObjectMeta(name="more", namespace="ex-auth"), rules=rules)


def test_a_refused_role_lists_what_is_missing() -> None:
    checker = _checker(_rule("get list create", "configmaps"))
    with pytest.raises(EscalationDenied) as refused:
        asyncio.run(checker.check_role(SMALL, _role(_rule("get delete", "configmaps pods"))))
    assert str(refused.value) == (
        'user "system:serviceaccount:ex-auth:small" (groups=["system:serviceaccounts"'
        ' "system:serviceaccounts:ex-auth" "system:authenticated"]) is attempting to grant RBAC permissions not'
        ' currently held:\n{APIGroups:[""], Resources:["configmaps"], Verbs:["delete"]}\n'
        '{APIGroups:[""], Resources:["pods"], Verbs:["get" "delete"]}'
    )


def test_a_smaller_role_may_be_written() -> None:
    asyncio.run(_checker(_rule("get list", "configmaps")).check_role(SMALL, _role(_rule("get", "configmaps"))))


def test_an_unchanged_role_is_not_checked_again() -> None:
    role = _role(_rule("*", "*"))
    asyncio.run(_checker().check_role(SMALL, role, role))


def test_the_verb_escalate_exempts() -> None:
    checker = _checker(_rule("escalate", "roles", "rbac.authorization.k8s.io"))
    asyncio.run(checker.check_role(SMALL, _role(_rule("*", "*"))))


def test_masters_are_exempt() -> None:
    asyncio.run(_checker().check_role(UserInfo("root", groups=("system:masters",)), _role(_rule("*", "*"))))


def test_a_binding_needs_the_roles_rules_or_the_verb_bind() -> None:
    binding = RoleBinding(
        metadata=ObjectMeta(name="b", namespace="ex-auth"), role_ref=RoleRef(kind="ClusterRole", name="reader")
    )
    with pytest.raises(EscalationDenied):
        asyncio.run(_checker().check_binding(SMALL, binding))
    asyncio.run(_checker(_rule("get list", "pods")).check_binding(SMALL, binding))
    asyncio.run(_checker(_rule("bind", "clusterroles", "rbac.authorization.k8s.io")).check_binding(SMALL, binding))


def test_a_binding_to_no_role_is_not_found() -> None:
    binding = RoleBinding(
        metadata=ObjectMeta(name="b", namespace="ex-auth"), role_ref=RoleRef(kind="Role", name="nothere")
    )
    with pytest.raises(RoleNotFound):
        asyncio.run(_checker().check_binding(SMALL, binding))


def test_an_aggregation_rule_needs_everything() -> None:
    role = ClusterRole(
        metadata=ObjectMeta(name="sum"),
        aggregation_rule=AggregationRule(cluster_role_selectors=(LabelSelector(match_labels={"a": "b"}),)),
    )
    with pytest.raises(EscalationDenied, match="must have cluster-admin privileges to use the aggregationRule"):
        asyncio.run(_checker().check_role(SMALL, role))


def test_a_rule_for_one_name_does_not_cover_all_names() -> None:
    named = PolicyRule(api_groups=("",), resources=("secrets",), resource_names=("one",), verbs=("get",))
    checker = _checker(named)
    asyncio.run(checker.check_role(SMALL, _role(named)))
    with pytest.raises(EscalationDenied, match=r'\{APIGroups:\[""\], Resources:\["secrets"\], Verbs:\["get"\]\}'):
        asyncio.run(checker.check_role(SMALL, _role(_rule("get", "secrets"))))


def test_the_reason_is_given_in_words() -> None:
    checker = _checker(_rule("get", "configmaps"))
    assert asyncio.run(checker.why_not(SMALL, _role(_rule("get", "configmaps")))) == ""
    assert asyncio.run(checker.why_not(SMALL, _role(_rule("get", "pods")))).startswith(
        'user "system:serviceaccount:ex-auth:small"'
    )
    binding = RoleBinding(
        metadata=ObjectMeta(name="b", namespace="ex-auth"), role_ref=RoleRef(kind="Role", name="nothere")
    )
    with pytest.raises(errors.NotFound) as missing:
        asyncio.run(checker.why_not(SMALL, binding))
    assert missing.value.message == 'rolebindings.rbac.authorization.k8s.io "nothere" not found'
