"""Which level and flow a request is of."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.api.flowcontrol_v1 import (
    FlowDistinguisherMethod,
    FlowSchema,
    FlowSchemaSpec,
    GroupSubject,
    NonResourcePolicyRule,
    PolicyRulesWithSubjects,
    PriorityLevelConfiguration,
    PriorityLevelConfigurationReference,
    ResourcePolicyRule,
    Subject,
    UserSubject,
)
from keelback.apimachinery.meta import ObjectMeta, replace, with_metadata
from keelback.auth.attributes import Attributes
from keelback.auth.users import AUTHENTICATED_GROUP, UserInfo
from keelback.flowcontrol.levels import PriorityLevels
from keelback.flowcontrol.queue_set import Ticket
from keelback.flowcontrol.width import ONE
from keelback.registry import bootstrap_flow_control

ALL = bootstrap_flow_control.plan((), ()).create
SCHEMAS = [one for one in ALL if isinstance(one, FlowSchema)]
LEVELS = [one for one in ALL if isinstance(one, PriorityLevelConfiguration)]


def made() -> PriorityLevels:
    levels = PriorityLevels(600, *bootstrap_flow_control.mandatory(), 0.0)
    levels.configure(SCHEMAS, LEVELS, 0.0)
    return levels


def asked(name: str, *groups: str, **what: Any) -> Attributes:
    given = {"verb": "get", "resource": "pods", "namespace": "default"} | what
    return Attributes(user=UserInfo(name, groups=(*groups, AUTHENTICATED_GROUP)), **given)


KUBE_SYSTEM = ("system:serviceaccounts", "system:serviceaccounts:kube-system")


@pytest.mark.parametrize(
    ("attributes", "schema", "level", "distinguisher"),
    [
        (asked("admin", "system:masters"), "exempt", "exempt", ""),
        (asked("jane"), "global-default", "global-default", "jane"),
        (asked("system:node:a", "system:nodes"), "system-nodes", "system", "system:node:a"),
        (
            asked("system:node:a", "system:nodes", verb="update", resource="nodes", subresource="status", namespace=""),
            "system-node-high",
            "node-high",
            "system:node:a",
        ),
        (
            asked("system:kube-scheduler", verb="update", group="coordination.k8s.io", resource="leases").__class__(
                user=UserInfo("system:kube-scheduler", groups=(AUTHENTICATED_GROUP,)),
                verb="update",
                group="coordination.k8s.io",
                resource="leases",
                namespace="kube-system",
            ),
            "system-leader-election",
            "leader-election",
            "system:kube-scheduler",
        ),
        (asked("system:kube-scheduler"), "kube-scheduler", "workload-high", ""),
        (
            asked("system:serviceaccount:kube-system:job-controller", *KUBE_SYSTEM),
            "kube-system-service-accounts",
            "workload-high",
            "",
        ),
        (
            asked("system:serviceaccount:shop:web", "system:serviceaccounts", "system:serviceaccounts:shop"),
            "service-accounts",
            "workload-low",
            "system:serviceaccount:shop:web",
        ),
        (
            asked("jane", verb="get", path="/healthz", is_resource_request=False, resource="", namespace=""),
            "probes",
            "exempt",
            "",
        ),
    ],
)
def test_requests_are_classified_as_upstream_classifies_them(
    attributes: Attributes, schema: str, level: str, distinguisher: str
) -> None:
    flow = made().classify(attributes)
    assert (flow.schema, flow.level.name) == (schema, level)
    assert flow.distinguisher == (distinguisher or flow.distinguisher)


def schema(name: str, precedence: int, level: str, user: str = "jane", **rules: Any) -> FlowSchema:
    everything = ResourcePolicyRule(verbs=("*",), api_groups=("*",), resources=("*",), namespaces=("*",))
    given = {"resource_rules": (everything,)} | rules
    return FlowSchema(
        metadata=ObjectMeta(name=name, uid=f"uid-of-{name}"),
        spec=FlowSchemaSpec(
            matching_precedence=precedence,
            priority_level_configuration=PriorityLevelConfigurationReference(name=level),
            distinguisher_method=FlowDistinguisherMethod(type="ByNamespace"),
            rules=(PolicyRulesWithSubjects(subjects=(Subject(kind="User", user=UserSubject(name=user)),), **given),),
        ),
    )


def test_the_lowest_precedence_wins_and_then_the_name() -> None:
    levels = made()
    own = [schema("b", 500, "system"), schema("a", 500, "workload-low"), schema("c", 600, "workload-high")]
    levels.configure([*SCHEMAS, *own], LEVELS, 0.0)
    flow = levels.classify(asked("jane", namespace="shop"))
    assert (flow.schema, flow.distinguisher) == ("a", "shop")
    assert flow.headers["x-kubernetes-pf-flowschema-uid"] == "uid-of-a"


def test_a_schema_of_a_level_that_does_not_exist_is_passed_over() -> None:
    levels = made()
    levels.configure([*SCHEMAS, schema("lost", 2, "nowhere")], LEVELS, 0.0)
    assert levels.classify(asked("jane")).schema == "global-default"


def test_rules_say_subresources_namespaces_and_paths() -> None:
    levels = made()
    status = ResourcePolicyRule(
        verbs=("update",), api_groups=("apps",), resources=("deployments/status",), namespaces=("shop",)
    )
    cluster = ResourcePolicyRule(verbs=("get",), api_groups=("",), resources=("nodes",), cluster_scope=True)
    paths = NonResourcePolicyRule(verbs=("get",), non_resource_urls=("/debug/*",))
    own = schema("own", 2, "system", resource_rules=(status, cluster), non_resource_rules=(paths,))
    levels.configure([*SCHEMAS, own], LEVELS, 0.0)

    def matched(**what: Any) -> bool:
        return levels.classify(asked("jane", **what)).schema == "own"

    deployment = {"verb": "update", "group": "apps", "resource": "deployments", "subresource": "status"}
    assert matched(**deployment, namespace="shop")
    assert not matched(**deployment, namespace="other")
    assert not matched(**{**deployment, "subresource": ""}, namespace="shop")
    assert matched(resource="nodes", namespace="")
    assert not matched(resource="nodes", namespace="shop")
    assert matched(is_resource_request=False, path="/debug/flags/v", resource="", namespace="")
    assert not matched(is_resource_request=False, path="/debugging", resource="", namespace="")


def test_who_matches_nothing_is_caught() -> None:
    levels = PriorityLevels(600, *bootstrap_flow_control.mandatory(), 0.0)
    assert levels.classify(asked("jane")).schema == "catch-all"
    stranger = Attributes(user=UserInfo("stranger"), verb="get")
    assert made().classify(stranger).schema == "catch-all"


def test_groups_match_with_a_star() -> None:
    levels = made()
    everybody = schema("everybody", 2, "system")
    rules = replace(everybody.spec.rules[0], subjects=(Subject(kind="Group", group=GroupSubject(name="*")),))
    own = replace(everybody, spec=replace(everybody.spec, rules=(rules,)))
    levels.configure([*SCHEMAS, own], LEVELS, 0.0)
    assert levels.classify(Attributes(user=UserInfo("stranger"), verb="get", namespace="a")).schema == "everybody"


def test_a_changed_level_holds_from_the_next_request_on() -> None:
    levels = made()
    before = levels.levels["workload-low"].limits.nominal
    doubled = [
        replace(one, spec=replace(one.spec, limited=replace(one.spec.limited, nominal_concurrency_shares=200)))
        if one.metadata.name == "workload-low" and one.spec.limited is not None
        else one
        for one in LEVELS
    ]
    levels.configure(SCHEMAS, doubled, 1.0)
    assert levels.levels["workload-low"].limits.nominal > before


def test_a_deleted_level_is_quiescing_until_its_requests_are_done() -> None:
    levels = made()
    flow = levels.classify(asked("jane"))
    ticket = Ticket(ONE, 0.0, flow.hand)
    flow.level.queues.arrive(ticket, 0.0)
    levels.configure(SCHEMAS, [one for one in LEVELS if one.metadata.name != "global-default"], 1.0)
    assert levels.classify(asked("jane")).level.name == "catch-all"
    assert [one.name for one in levels.all_levels() if one.is_quiescing] == ["global-default"]
    flow.level.queues.leave(ticket, 2.0)
    assert not [one for one in levels.all_levels() if one.is_quiescing]


def test_uids_follow_their_objects() -> None:
    levels = made()
    named = [with_metadata(one, uid=f"level-{one.metadata.name}") for one in LEVELS]
    levels.configure(SCHEMAS, named, 0.0)
    headers = levels.classify(asked("jane")).headers
    assert headers["x-kubernetes-pf-prioritylevel-uid"] == "level-global-default"


def test_one_request_takes_no_more_than_a_part_of_its_level() -> None:
    """15 % of the nominal seats, and no more than its flow has of them (`priorityLevelMaxSeatsPercent`)."""
    levels = made()
    assert levels.levels["workload-low"].most_seats == min(37, 245 // 6)
    assert levels.levels["catch-all"].most_seats == 0


def test_a_level_that_is_wanted_borrows() -> None:
    levels = made()
    flow = levels.classify(asked("jane"))
    before = flow.level.queues.seats
    for _ in range(400):
        flow.level.queues.arrive(Ticket(ONE, 0.0, flow.hand), 0.0)
    levels.adjust(10.0)
    assert flow.level.queues.seats > before
    assert flow.level.statistics.latest.highest > 200
