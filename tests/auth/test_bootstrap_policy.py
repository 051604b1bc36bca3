from __future__ import annotations

from keelback.api.rbac_v1 import ClusterRole, PolicyRule
from keelback.auth import bootstrap_policy, bootstrap_policy_controllers
from keelback.auth.attributes import Attributes
from keelback.auth.escalation import compact
from keelback.auth.rbac import Policy, RBACAuthorizer, rules_for
from keelback.auth.users import UserInfo
from keelback.controllers.builtin import BUILTIN


def _policy() -> Policy:
    return Policy(
        [
            *bootstrap_policy.with_aggregation(bootstrap_policy.cluster_roles()),
            *bootstrap_policy.cluster_role_bindings(),
            *bootstrap_policy.roles(),
            *bootstrap_policy.role_bindings(),
        ]
    )


def _filled() -> dict[str, ClusterRole]:
    return {role.metadata.name: role for role in bootstrap_policy.with_aggregation(bootstrap_policy.cluster_roles())}


def test_every_object_is_marked_and_has_its_own_name() -> None:
    objects = bootstrap_policy.objects()
    names = {(type(obj), obj.metadata.namespace, obj.metadata.name) for obj in objects}
    assert len(names) == len(objects)
    for obj in objects:
        assert obj.metadata.labels["kubernetes.io/bootstrapping"] == "rbac-defaults"
        assert obj.metadata.annotations == {"rbac.authorization.kubernetes.io/autoupdate": "true"}


def test_every_binding_refers_to_a_role_that_exists() -> None:
    policy = _policy()
    for binding in (*bootstrap_policy.cluster_role_bindings(), *bootstrap_policy.role_bindings()):
        policy.role_rules(binding.role_ref, binding.metadata.namespace)


def test_every_controller_has_a_role_of_its_own() -> None:
    accounts = {account for _, account in bootstrap_policy_controllers.service_accounts()}
    accounts |= {
        subject.name for _, _, _, subjects in bootstrap_policy_controllers.ROLE_BINDINGS for subject in subjects
    }
    assert {entry.role for entry in BUILTIN} <= accounts


def test_controllers_may_patch_what_they_may_update() -> None:
    for rules in bootstrap_policy_controllers.CLUSTER_ROLES.values():
        assert all("patch" in rule.verbs for rule in rules if "update" in rule.verbs)


def test_view_is_within_edit_and_edit_within_admin() -> None:
    roles = _filled()
    assert set(roles["view"].rules) < set(roles["edit"].rules) < set(roles["admin"].rules)
    writes = {verb for rule in roles["view"].rules for verb in rule.verbs} - {"get", "list", "watch"}
    assert not writes
    assert not any("secrets" in rule.resources for rule in roles["view"].rules)


def test_an_anonymous_user_sees_health_and_version_only() -> None:
    authorizer = RBACAuthorizer(_policy())
    anonymous = UserInfo("system:anonymous", groups=("system:unauthenticated",))

    def may(path: str) -> bool:
        return authorizer.decide(Attributes(anonymous, "get", path=path, is_resource_request=False)).is_allowed

    assert may("/healthz")
    assert may("/version")
    assert not may("/api")
    assert not may("/metrics")


def test_an_authenticated_users_rules_are_the_recorded_ones() -> None:
    rules, errors = rules_for(
        _policy(), UserInfo("joe", groups=("system:serviceaccounts", "system:authenticated")), "x"
    )
    assert errors == []
    assert {rule.non_resource_urls for rule in rules if rule.non_resource_urls} == {
        (
            "/.well-known/openid-configuration",
            "/.well-known/openid-configuration/",
            "/openid/v1/jwks",
            "/openid/v1/jwks/",
        ),
        (
            "/api",
            "/api/*",
            "/apis",
            "/apis/*",
            "/healthz",
            "/livez",
            "/openapi",
            "/openapi/*",
            "/readyz",
            "/version",
            "/version/",
        ),
        ("/.well-known", "/.well-known/*"),
        ("/healthz", "/livez", "/readyz", "/version", "/version/"),
    }
    assert [rule for rule in rules if rule.resources] == [
        PolicyRule(
            verbs=("create",),
            api_groups=("authorization.k8s.io",),
            resources=("selfsubjectaccessreviews", "selfsubjectrulesreviews"),
        ),
        PolicyRule(verbs=("create",), api_groups=("authentication.k8s.io",), resources=("selfsubjectreviews",)),
    ]


def test_rules_of_the_same_resource_are_joined() -> None:
    one = PolicyRule(api_groups=("",), resources=("pods",), verbs=("get",))
    two = PolicyRule(api_groups=("",), resources=("pods",), verbs=("list",))
    assert compact([one, two]) == [PolicyRule(api_groups=("",), resources=("pods",), verbs=("get", "list"))]
