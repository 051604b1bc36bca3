"""The types of flowcontrol/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from typing import Annotated

from keelback.apimachinery.meta import ListMap, ListSet, Object, Time, Value, kind, written, written_as


class ExemptPriorityLevelConfiguration(Value):
    lendable_percent: int | None = None
    nominal_concurrency_shares: int | None = None


class FlowDistinguisherMethod(Value):
    type: str = written("")


class PriorityLevelConfigurationReference(Value):
    name: str = written("")


class FlowSchemaSpec(Value):
    distinguisher_method: FlowDistinguisherMethod | None = None
    matching_precedence: int = 0
    priority_level_configuration: PriorityLevelConfigurationReference = written(PriorityLevelConfigurationReference())
    rules: tuple[PolicyRulesWithSubjects, ...] = ()


class FlowSchemaStatus(Value):
    conditions: Annotated[tuple[FlowSchemaCondition, ...], ListMap("type", merge_key="type")] = ()


@kind("flowcontrol.apiserver.k8s.io/v1", "flowschemas", namespaced=False)
class FlowSchema(Object):
    spec: FlowSchemaSpec = written(FlowSchemaSpec())
    status: FlowSchemaStatus = written(FlowSchemaStatus())


class FlowSchemaCondition(Value):
    last_transition_time: Time | None = written(None)
    message: str = ""
    reason: str = ""
    status: str = ""
    type: str = ""


class GroupSubject(Value):
    name: str = written("")


class LimitResponse(Value):
    queuing: QueuingConfiguration | None = None
    type: str = written("")


class LimitedPriorityLevelConfiguration(Value):
    borrowing_limit_percent: int | None = None
    lendable_percent: int | None = None
    limit_response: LimitResponse = written(LimitResponse())
    nominal_concurrency_shares: int | None = None


class NonResourcePolicyRule(Value):
    non_resource_urls: Annotated[tuple[str, ...], ListSet()] = written_as("nonResourceURLs", ())
    verbs: Annotated[tuple[str, ...], ListSet()] = written(())


class PolicyRulesWithSubjects(Value):
    non_resource_rules: tuple[NonResourcePolicyRule, ...] = ()
    resource_rules: tuple[ResourcePolicyRule, ...] = ()
    subjects: tuple[Subject, ...] = written(())


class PriorityLevelConfigurationSpec(Value):
    exempt: ExemptPriorityLevelConfiguration | None = None
    limited: LimitedPriorityLevelConfiguration | None = None
    type: str = written("")


class PriorityLevelConfigurationStatus(Value):
    conditions: Annotated[tuple[PriorityLevelConfigurationCondition, ...], ListMap("type", merge_key="type")] = ()


@kind("flowcontrol.apiserver.k8s.io/v1", "prioritylevelconfigurations", namespaced=False)
class PriorityLevelConfiguration(Object):
    spec: PriorityLevelConfigurationSpec = written(PriorityLevelConfigurationSpec())
    status: PriorityLevelConfigurationStatus = written(PriorityLevelConfigurationStatus())


class PriorityLevelConfigurationCondition(Value):
    last_transition_time: Time | None = written(None)
    message: str = ""
    reason: str = ""
    status: str = ""
    type: str = ""


class QueuingConfiguration(Value):
    hand_size: int = 0
    queue_length_limit: int = 0
    queues: int = 0


class ResourcePolicyRule(Value):
    api_groups: Annotated[tuple[str, ...], ListSet()] = written(())
    cluster_scope: bool = False
    namespaces: Annotated[tuple[str, ...], ListSet()] = ()
    resources: Annotated[tuple[str, ...], ListSet()] = written(())
    verbs: Annotated[tuple[str, ...], ListSet()] = written(())


class ServiceAccountSubject(Value):
    name: str = written("")
    namespace: str = written("")


class Subject(Value):
    group: GroupSubject | None = None
    kind: str = written("")
    service_account: ServiceAccountSubject | None = None
    user: UserSubject | None = None


class UserSubject(Value):
    name: str = written("")
