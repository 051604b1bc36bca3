from __future__ import annotations

from keelback.api.rbac_v1 import ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject
from keelback.apimachinery.meta import ObjectMeta, replace, with_metadata
from keelback.auth import bootstrap_policy
from keelback.auth.bootstrap_policy_reconciliation import Reconciliation, plan

GET = PolicyRule(api_groups=("",), resources=("pods",), verbs=("get",))
LIST = PolicyRule(api_groups=("",), resources=("pods",), verbs=("list",))
BOTH = PolicyRule(api_groups=("",), resources=("pods",), verbs=("get", "list"))


def _role(*rules: PolicyRule, autoupdate: str = "") -> ClusterRole:
    wire = {"rbac.authorization.kubernetes.io/autoupdate": autoupdate} if autoupdate else {}
    return ClusterRole(metadata=ObjectMeta(name="r", annotations=wire), rules=rules)


def _binding(role: str, *users: str) -> ClusterRoleBinding:
    return ClusterRoleBinding(
        metadata=ObjectMeta(name="b"),
        role_ref=RoleRef(kind="ClusterRole", name=role),
        subjects=tuple(Subject(kind="User", name=user) for user in users),
    )


def test_a_new_cluster_gets_everything_and_then_nothing_more() -> None:
    wanted = bootstrap_policy.objects()
    assert plan(wanted, []) == Reconciliation(create=wanted)
    assert plan(wanted, wanted) == Reconciliation()


def test_filled_aggregated_roles_are_left_to_their_controller() -> None:
    filled = bootstrap_policy.with_aggregation(bootstrap_policy.cluster_roles())
    assert plan(bootstrap_policy.cluster_roles(), filled) == Reconciliation()


def test_what_is_missing_is_added_and_what_was_added_stays() -> None:
    assert plan([_role(BOTH)], [_role(GET)]).update == [_role(GET, LIST)]
    assert plan([_role(GET)], [_role(BOTH)]) == Reconciliation()
    assert plan([_binding("r", "a", "b")], [_binding("r", "c")]).update == [_binding("r", "c", "a", "b")]


def test_who_does_not_wish_it_is_left_alone() -> None:
    assert plan([_role(BOTH)], [_role(GET, autoupdate="false")]) == Reconciliation()


def test_a_binding_to_another_role_is_made_anew() -> None:
    old = with_metadata(_binding("old", "a"), uid="u", resource_version="7")
    assert plan([_binding("r", "a")], [old]).recreate == [_binding("r", "a")]


def test_labels_are_put_back() -> None:
    wanted = with_metadata(_role(GET), labels={"k": "v"})
    assert plan([wanted], [_role(GET)]).update == [wanted]
    assert plan([wanted], [replace(wanted, rules=(GET,))]) == Reconciliation()
