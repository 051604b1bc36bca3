from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keelback.api.rbac_v1 import ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject
from keelback.apimachinery.meta import ObjectMeta
from keelback.auth.attributes import Attributes, Decision, Verdict, denial_message
from keelback.auth.rbac import Policy, RBACAuthorizer, RBACObject, decide, rules_for, url_matches
from keelback.auth.users import UserInfo

JOE = UserInfo("joe", groups=("dev", "system:authenticated"))
SMALL = UserInfo("system:serviceaccount:x:small", groups=("system:serviceaccounts",))


def _role(name: str, *rules: PolicyRule, namespace: str = "x") -> Role:
    return Role(metadata=ObjectMeta(name=name, namespace=namespace), rules=rules)


def _cluster_role(name: str, *rules: PolicyRule) -> ClusterRole:
    return ClusterRole(metadata=ObjectMeta(name=name), rules=rules)


def _binding(name: str, kind: str, role: str, *subjects: Subject, namespace: str = "x") -> RoleBinding:
    return RoleBinding(
        metadata=ObjectMeta(name=name, namespace=namespace), role_ref=RoleRef(kind=kind, name=role), subjects=subjects
    )


def _cluster_binding(name: str, role: str, *subjects: Subject) -> ClusterRoleBinding:
    return ClusterRoleBinding(
        metadata=ObjectMeta(name=name), role_ref=RoleRef(kind="ClusterRole", name=role), subjects=subjects
    )


PODS = PolicyRule(api_groups=("",), resources=("pods",), verbs=("get", "list"))
USER_JOE = Subject(kind="User", name="joe")
ACCOUNT = Subject(kind="ServiceAccount", name="small", namespace="x")


def _asks(policy: Policy, attributes: Attributes) -> Verdict:
    return RBACAuthorizer(policy).decide(attributes)


def test_rules_for_some_names_are_asked_name_by_name_and_others_once() -> None:
    named = PolicyRule(api_groups=("",), resources=("pods",), verbs=("delete",), resource_names=("a",))
    policy = Policy([_cluster_role("r", PODS, named), _cluster_binding("b", "r", USER_JOE)])
    authorizer = RBACAuthorizer(policy)

    def answers(verb: str) -> list[bool]:
        asked = (Attributes(JOE, verb, resource="pods", namespace="x", name=name) for name in ("a", "b", "a", "b", ""))
        return [authorizer.decide(one).is_allowed for one in asked]

    assert answers("get") == [True] * 5
    assert answers("delete") == [True, False, True, False, False]
    policy.put(_cluster_role("r", PolicyRule(api_groups=("",), resources=("pods",), verbs=("delete",))))
    assert answers("get") == [False] * 5
    assert answers("delete") == [True] * 5


@pytest.mark.parametrize(
    ("objects", "attributes", "reason"),
    [
        (
            (_cluster_role("r", PODS), _cluster_binding("b", "r", USER_JOE)),
            Attributes(JOE, "get", resource="pods", namespace="any"),
            'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "r" to User "joe"',
        ),
        (
            (_cluster_role("r", PODS), _cluster_binding("b", "r", Subject(kind="Group", name="dev"))),
            Attributes(JOE, "list", resource="pods"),
            'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "r" to Group "dev"',
        ),
        (
            (_role("small", PODS), _binding("small", "Role", "small", ACCOUNT)),
            Attributes(SMALL, "get", resource="pods", namespace="x"),
            'RBAC: allowed by RoleBinding "small/x" of Role "small" to ServiceAccount "small/x"',
        ),
        (
            (_cluster_role("r", PODS), _binding("b", "ClusterRole", "r", USER_JOE)),
            Attributes(JOE, "get", resource="pods", namespace="x"),
            'RBAC: allowed by RoleBinding "b/x" of ClusterRole "r" to User "joe"',
        ),
    ],
)
def test_an_allowed_action_names_its_binding(
    objects: tuple[RBACObject, ...], attributes: Attributes, reason: str
) -> None:
    assert _asks(Policy(objects), attributes) == Verdict(Decision.ALLOW, reason)


@pytest.mark.parametrize(
    ("rule", "attributes", "is_allowed"),
    [
        (PODS, Attributes(JOE, "get", resource="pods", subresource="log"), False),
        (PODS, Attributes(JOE, "get", group="apps", resource="pods"), False),
        (
            PolicyRule(api_groups=("*",), resources=("*/scale",), verbs=("get",)),
            Attributes(JOE, "get", group="apps", resource="deployments", subresource="scale"),
            True,
        ),
        (
            PolicyRule(api_groups=("*",), resources=("*/scale",), verbs=("get",)),
            Attributes(JOE, "get", group="apps", resource="deployments"),
            False,
        ),
        (
            PolicyRule(api_groups=("",), resources=("*",), verbs=("*",)),
            Attributes(JOE, "create", resource="pods", subresource="exec"),
            True,
        ),
        (
            PolicyRule(api_groups=("",), resources=("secrets",), resource_names=("one",), verbs=("get",)),
            Attributes(JOE, "get", resource="secrets", name="one"),
            True,
        ),
        (
            PolicyRule(api_groups=("",), resources=("secrets",), resource_names=("one",), verbs=("get",)),
            Attributes(JOE, "get", resource="secrets", name="two"),
            False,
        ),
        (
            PolicyRule(non_resource_urls=("/api/*",), verbs=("get",)),
            Attributes(JOE, "get", path="/api/v1", is_resource_request=False),
            True,
        ),
        (
            PolicyRule(non_resource_urls=("/api/*",), verbs=("get",)),
            Attributes(JOE, "get", path="/api", is_resource_request=False),
            False,
        ),
    ],
)
def test_rules_cover_what_upstream_says(rule: PolicyRule, attributes: Attributes, is_allowed: bool) -> None:
    policy = Policy((_cluster_role("r", rule), _cluster_binding("b", "r", USER_JOE)))
    assert _asks(policy, attributes).is_allowed is is_allowed


def test_a_role_does_not_reach_beyond_its_namespace() -> None:
    policy = Policy((_role("r", PODS), _binding("b", "Role", "r", USER_JOE)))
    assert not _asks(policy, Attributes(JOE, "get", resource="pods", namespace="y")).is_allowed
    assert not _asks(policy, Attributes(JOE, "list", resource="pods")).is_allowed


def test_a_missing_role_is_said_in_the_reason() -> None:
    policy = Policy((_cluster_binding("b", "nothere", USER_JOE),))
    assert _asks(policy, Attributes(JOE, "get", resource="pods")) == Verdict(
        Decision.NO_OPINION, 'RBAC: clusterrole.rbac.authorization.k8s.io "nothere" not found'
    )


def test_a_change_is_seen_by_the_next_question() -> None:
    policy = Policy((_cluster_role("r", PODS), _cluster_binding("b", "r", USER_JOE)))
    authorizer = RBACAuthorizer(policy)
    question = Attributes(JOE, "delete", resource="pods")
    assert not authorizer.decide(question).is_allowed
    policy.put(_cluster_role("r", PolicyRule(api_groups=("",), resources=("pods",), verbs=("delete",))))
    assert authorizer.decide(question).is_allowed
    policy.remove(_cluster_binding("b", "r"))
    assert not authorizer.decide(question).is_allowed
    assert rules_for(policy, JOE, "x") == ([], [])


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            Attributes(UserInfo("u"), "list", resource="pods", namespace="x"),
            'pods is forbidden: User "u" cannot list resource "pods" in API group "" in the namespace "x"',
        ),
        (
            Attributes(UserInfo("u"), "get", resource="pods", subresource="log", namespace="x", name="a"),
            'pods "a" is forbidden: User "u" cannot get resource "pods/log" in API group "" in the namespace "x"',
        ),
        (
            Attributes(UserInfo("u"), "list", group="apps", resource="deployments"),
            'deployments.apps is forbidden: User "u" cannot list resource "deployments" in API group "apps"'
            " at the cluster scope",
        ),
        (
            Attributes(UserInfo("u"), "get", path="/metrics", is_resource_request=False),
            'forbidden: User "u" cannot get path "/metrics"',
        ),
    ],
)
def test_a_refusal_is_worded_as_upstream_words_it(attributes: Attributes, message: str) -> None:
    assert denial_message(attributes) == message
    assert denial_message(attributes, "because") == f"{message}: because"


VERBS = st.sampled_from(["get", "list", "create", "*"])
GROUPS = st.sampled_from(["", "apps", "*"])
RESOURCES = st.sampled_from(["pods", "pods/log", "deployments", "deployments/scale", "*/scale", "*"])
NAMES = st.sampled_from(["a", "b"])
URLS = st.sampled_from(["/api", "/api/*", "/healthz", "*"])


def _tuples(values: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(values, max_size=2).map(tuple)


RULES = st.builds(
    PolicyRule,
    verbs=_tuples(VERBS),
    api_groups=_tuples(GROUPS),
    resources=_tuples(RESOURCES),
    resource_names=_tuples(NAMES),
    non_resource_urls=_tuples(URLS),
)
USERS = st.builds(UserInfo, name=st.sampled_from(["joe", "ann"]), groups=_tuples(st.sampled_from(["dev", "ops"])))
SUBJECTS = st.builds(
    Subject, kind=st.sampled_from(["User", "Group"]), name=st.sampled_from(["joe", "ann", "dev", "ops"])
)
ROLE_NAMES = st.sampled_from(["r1", "r2"])
NAMESPACES = st.sampled_from(["x", "y"])
OBJECTS = st.one_of(
    st.builds(lambda name, rules: _cluster_role(name, *rules), ROLE_NAMES, st.lists(RULES, max_size=2)),
    st.builds(
        lambda name, rules, namespace: _role(name, *rules, namespace=namespace),
        ROLE_NAMES,
        st.lists(RULES, max_size=2),
        NAMESPACES,
    ),
    st.builds(
        lambda name, role, subjects: _cluster_binding(name, role, *subjects),
        NAMES,
        ROLE_NAMES,
        st.lists(SUBJECTS, max_size=2),
    ),
    st.builds(
        lambda name, kind, role, subjects, namespace: _binding(name, kind, role, *subjects, namespace=namespace),
        NAMES,
        st.sampled_from(["Role", "ClusterRole"]),
        ROLE_NAMES,
        st.lists(SUBJECTS, max_size=2),
        NAMESPACES,
    ),
)
QUESTIONS = st.builds(
    Attributes,
    USERS,
    st.sampled_from(["get", "list", "create"]),
    group=st.sampled_from(["", "apps"]),
    resource=st.sampled_from(["pods", "deployments"]),
    subresource=st.sampled_from(["", "log", "scale"]),
    namespace=st.sampled_from(["", "x", "y"]),
    name=st.sampled_from(["", "a"]),
    path=st.sampled_from(["/api", "/api/v1", "/healthz"]),
    is_resource_request=st.booleans(),
)


def _oracle(objects: dict[tuple[str, str, str], RBACObject], asked: Attributes) -> bool:
    """RBAC written as plainly as its documentation."""
    for binding in objects.values():
        if not isinstance(binding, (RoleBinding, ClusterRoleBinding)):
            continue
        namespace = binding.metadata.namespace
        if namespace and (not asked.is_resource_request or namespace != asked.namespace):
            continue
        who = {("User", asked.user.name), *(("Group", group) for group in asked.user.groups)}
        if who.isdisjoint({(subject.kind, subject.name) for subject in binding.subjects}):
            continue
        kind = binding.role_ref.kind
        role = objects.get((kind, namespace if kind == "Role" else "", binding.role_ref.name))
        if isinstance(role, (Role, ClusterRole)) and any(_oracle_rule(rule, asked) for rule in role.rules):
            return True
    return False


def _oracle_rule(rule: PolicyRule, asked: Attributes) -> bool:
    if "*" not in rule.verbs and asked.verb not in rule.verbs:
        return False
    if not asked.is_resource_request:
        return any(url_matches(url, asked.path) for url in rule.non_resource_urls)
    combined = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    resources = {"*", combined} | ({f"*/{asked.subresource}"} if asked.subresource else set())
    return (
        not {"*", asked.group}.isdisjoint(rule.api_groups)
        and not resources.isdisjoint(rule.resources)
        and (not rule.resource_names or asked.name in rule.resource_names)
    )


@settings(deadline=None)
@given(changes=st.lists(st.tuples(st.booleans(), OBJECTS), max_size=12), questions=st.lists(QUESTIONS, max_size=6))
def test_the_index_and_the_memory_agree_with_the_plain_reading(
    changes: list[tuple[bool, RBACObject]], questions: list[Attributes]
) -> None:
    policy = Policy()
    authorizer = RBACAuthorizer(policy)
    objects: dict[tuple[str, str, str], RBACObject] = {}
    for is_removed, obj in changes:
        key = (type(obj).__name__, obj.metadata.namespace, obj.metadata.name)
        if is_removed:
            policy.remove(obj)
            objects.pop(key, None)
        else:
            policy.put(obj)
            objects[key] = obj
        for question in questions:
            expected = _oracle(objects, question)
            assert authorizer.decide(question).is_allowed is expected
            assert authorizer.decide(question) == decide(policy, question)
