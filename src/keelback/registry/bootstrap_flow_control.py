"""The FlowSchemas and PriorityLevelConfigurations that every cluster has: the mandatory ones, which nobody can change
for long, and the suggested ones, which are kept up to date until somebody takes them over (KEP-1040)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from keelback.api.flowcontrol_v1 import (
    ExemptPriorityLevelConfiguration,
    FlowDistinguisherMethod,
    FlowSchema,
    FlowSchemaSpec,
    GroupSubject,
    LimitedPriorityLevelConfiguration,
    LimitResponse,
    NonResourcePolicyRule,
    PolicyRulesWithSubjects,
    PriorityLevelConfiguration,
    PriorityLevelConfigurationReference,
    PriorityLevelConfigurationSpec,
    QueuingConfiguration,
    ResourcePolicyRule,
    ServiceAccountSubject,
    Subject,
    UserSubject,
)
from keelback.apimachinery.meta import ObjectMeta, replace, with_metadata

AUTO_UPDATE: Final = "apf.kubernetes.io/autoupdate-spec"
MANDATORY: Final = frozenset({"exempt", "catch-all"})

_EVERYTHING: Final = (
    ResourcePolicyRule(verbs=("*",), api_groups=("*",), resources=("*",), cluster_scope=True, namespaces=("*",)),
)
_EVERY_PATH: Final = (NonResourcePolicyRule(verbs=("*",), non_resource_urls=("*",)),)
_EVERYBODY: Final = ("system:unauthenticated", "system:authenticated")


@dataclass(frozen=True, slots=True)
class Planned:
    """What brings a cluster's objects into step with these."""

    create: tuple[FlowSchema | PriorityLevelConfiguration, ...]
    update: tuple[FlowSchema | PriorityLevelConfiguration, ...]


def plan(schemas: Iterable[FlowSchema], levels: Iterable[PriorityLevelConfiguration]) -> Planned:
    """Make what is missing; put right what is mandatory, and what is suggested where its annotation allows it."""
    known_schemas = {one.metadata.name: one for one in schemas}
    known_levels = {one.metadata.name: one for one in levels}
    create: list[FlowSchema | PriorityLevelConfiguration] = []
    update: list[FlowSchema | PriorityLevelConfiguration] = []
    pairs: list[tuple[Any, Any]] = [(one, known_levels.get(one.metadata.name)) for one in _LEVELS]
    pairs += [(one, known_schemas.get(one.metadata.name)) for one in _SCHEMAS]
    for wanted, existing in pairs:
        if existing is None:
            create.append(wanted)
        elif existing.spec != wanted.spec and _may_update(existing):
            annotations = {**existing.metadata.annotations, AUTO_UPDATE: "true"}
            update.append(with_metadata(replace(existing, spec=wanted.spec), annotations=annotations))
    return Planned(tuple(create), tuple(update))


def mandatory() -> tuple[tuple[FlowSchema, ...], tuple[PriorityLevelConfiguration, ...]]:
    """What holds even before it is stored."""
    return (
        tuple(one for one in _SCHEMAS if one.metadata.name in MANDATORY),
        tuple(one for one in _LEVELS if one.metadata.name in MANDATORY),
    )


def mandatory_schema(name: str) -> FlowSchema | None:
    """The schema of that name that nobody may change, if it is one."""
    return next((one for one in _SCHEMAS if one.metadata.name == name and name in MANDATORY), None)


def mandatory_level(name: str) -> PriorityLevelConfiguration | None:
    """The level of that name that nobody may change, if it is one."""
    return next((one for one in _LEVELS if one.metadata.name == name and name in MANDATORY), None)


def _may_update(existing: FlowSchema | PriorityLevelConfiguration) -> bool:
    metadata = existing.metadata
    if metadata.name in MANDATORY:
        return True
    said = metadata.annotations.get(AUTO_UPDATE)
    # Without the annotation, an object that was never edited is still the server's.
    return said == "true" if said is not None else metadata.generation == 1


def _meta(name: str) -> ObjectMeta:
    return ObjectMeta(name=name, annotations={AUTO_UPDATE: "true"})


def _level(
    name: str, shares: int, lendable_percent: int, queues: int, hand_size: int = 6
) -> PriorityLevelConfiguration:
    queuing = QueuingConfiguration(queues=queues, hand_size=hand_size, queue_length_limit=50)
    return _limited(name, shares, lendable_percent, LimitResponse(type="Queue", queuing=queuing))


def _limited(name: str, shares: int, lendable_percent: int, response: LimitResponse) -> PriorityLevelConfiguration:
    limited = LimitedPriorityLevelConfiguration(
        nominal_concurrency_shares=shares, lendable_percent=lendable_percent, limit_response=response
    )
    return PriorityLevelConfiguration(
        metadata=_meta(name), spec=PriorityLevelConfigurationSpec(type="Limited", limited=limited)
    )


def _users(*names: str) -> tuple[Subject, ...]:
    return tuple(Subject(kind="User", user=UserSubject(name=one)) for one in names)


def _groups(*names: str) -> tuple[Subject, ...]:
    return tuple(Subject(kind="Group", group=GroupSubject(name=one)) for one in names)


def _system_accounts(*names: str) -> tuple[Subject, ...]:
    return tuple(
        Subject(kind="ServiceAccount", service_account=ServiceAccountSubject(namespace="kube-system", name=one))
        for one in names
    )


def _rule(verbs: str, group: str, resources: str, *, cluster_scope: bool = False) -> ResourcePolicyRule:
    return ResourcePolicyRule(
        verbs=tuple(verbs.split()),
        api_groups=(group,),
        resources=tuple(resources.split()),
        cluster_scope=cluster_scope,
        namespaces=("*",),
    )


def _schema(
    name: str,
    level: str,
    precedence: int,
    subjects: tuple[Subject, ...],
    resource_rules: tuple[ResourcePolicyRule, ...] = _EVERYTHING,
    non_resource_rules: tuple[NonResourcePolicyRule, ...] = _EVERY_PATH,
    *,
    by_user: bool = True,
) -> FlowSchema:
    rules = PolicyRulesWithSubjects(
        subjects=subjects, resource_rules=resource_rules, non_resource_rules=non_resource_rules
    )
    spec = FlowSchemaSpec(
        priority_level_configuration=PriorityLevelConfigurationReference(name=level),
        matching_precedence=precedence,
        distinguisher_method=FlowDistinguisherMethod(type="ByUser") if by_user else None,
        rules=(rules,),
    )
    return FlowSchema(metadata=_meta(name), spec=spec)


_LEVELS: Final[tuple[PriorityLevelConfiguration, ...]] = (
    PriorityLevelConfiguration(
        metadata=_meta("exempt"),
        spec=PriorityLevelConfigurationSpec(
            type="Exempt", exempt=ExemptPriorityLevelConfiguration(nominal_concurrency_shares=0, lendable_percent=0)
        ),
    ),
    _limited("catch-all", 5, 0, LimitResponse(type="Reject")),
    _level("system", 30, 33, 64),
    _level("node-high", 40, 25, 64),
    _level("leader-election", 10, 0, 16, hand_size=4),
    _level("workload-high", 40, 50, 128),
    _level("workload-low", 100, 90, 128),
    _level("global-default", 20, 50, 128),
)

_LEASES: Final = _rule("get create update", "coordination.k8s.io", "leases")
_CONTROLLER_MANAGER: Final = "system:kube-controller-manager"
_SCHEDULER: Final = "system:kube-scheduler"
_HEALTH: Final = NonResourcePolicyRule(verbs=("get",), non_resource_urls=("/healthz", "/readyz", "/livez"))

_SCHEMAS: Final[tuple[FlowSchema, ...]] = (
    _schema("exempt", "exempt", 1, _groups("system:masters"), by_user=False),
    _schema("catch-all", "catch-all", 10000, _groups(*_EVERYBODY)),
    _schema("system-nodes", "system", 500, _groups("system:nodes")),
    _schema(
        "system-node-high",
        "node-high",
        400,
        _groups("system:nodes"),
        (_rule("*", "", "nodes nodes/status", cluster_scope=True), _rule("*", "coordination.k8s.io", "leases")),
        (),
    ),
    _schema("probes", "exempt", 2, _groups(*_EVERYBODY), (), (_HEALTH,), by_user=False),
    _schema(
        "system-leader-election",
        "leader-election",
        100,
        (*_users(_CONTROLLER_MANAGER, _SCHEDULER), *_system_accounts("*")),
        (_LEASES,),
        (),
    ),
    _schema(
        "endpoint-controller",
        "workload-high",
        150,
        (
            *_users(_CONTROLLER_MANAGER),
            *_system_accounts("endpoint-controller", "endpointslicemirroring-controller"),
        ),
        (_rule("get create update", "", "endpoints"),),
        (),
    ),
    _schema(
        "workload-leader-election",
        "leader-election",
        200,
        _system_accounts("*"),
        (_rule("get create update", "", "endpoints configmaps"), _LEASES),
        (),
    ),
    _schema("kube-controller-manager", "workload-high", 800, _users(_CONTROLLER_MANAGER)),
    _schema("kube-scheduler", "workload-high", 800, _users(_SCHEDULER)),
    _schema("kube-system-service-accounts", "workload-high", 900, _system_accounts("*")),
    _schema("service-accounts", "workload-low", 9000, _groups("system:serviceaccounts")),
    _schema("global-default", "global-default", 9900, _groups(*_EVERYBODY)),
)
