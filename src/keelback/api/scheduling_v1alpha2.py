"""The types of scheduling/v1alpha2: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from typing import Annotated

from keelback.apimachinery.meta import Condition, ListMap, Object, Value, kind, written


class TypedLocalObjectReference(Value):
    api_group: str = ""
    kind: str = written("")
    name: str = written("")


class BasicSchedulingPolicy(Value):
    """Nothing: pods are scheduled one by one."""


class GangSchedulingPolicy(Value):
    min_count: int = written(0)


class PodGroupSchedulingPolicy(Value):
    basic: BasicSchedulingPolicy | None = None
    gang: GangSchedulingPolicy | None = None


class TopologyConstraint(Value):
    key: str = written("")


class PodGroupSchedulingConstraints(Value):
    topology: tuple[TopologyConstraint, ...] = ()


class PodGroupResourceClaim(Value):
    name: str = written("")
    resource_claim_name: str | None = None
    resource_claim_template_name: str | None = None


_Claims = Annotated[tuple[PodGroupResourceClaim, ...], ListMap("name", merge_key="name", retain_keys=True)]


class PodGroupTemplate(Value):
    disruption_mode: str | None = None
    name: str = written("")
    priority: int | None = None
    priority_class_name: str = ""
    resource_claims: _Claims = ()
    scheduling_constraints: PodGroupSchedulingConstraints | None = None
    scheduling_policy: PodGroupSchedulingPolicy = written(PodGroupSchedulingPolicy())


class WorkloadSpec(Value):
    controller_ref: TypedLocalObjectReference | None = None
    pod_group_templates: Annotated[tuple[PodGroupTemplate, ...], ListMap("name")] = written(())


@kind("scheduling.k8s.io/v1alpha2", "workloads")
class Workload(Object):
    spec: WorkloadSpec = written(WorkloadSpec())


class WorkloadPodGroupTemplateReference(Value):
    pod_group_template_name: str = written("")
    workload_name: str = written("")


class PodGroupTemplateReference(Value):
    workload: WorkloadPodGroupTemplateReference | None = None


class PodGroupSpec(Value):
    disruption_mode: str | None = None
    pod_group_template_ref: PodGroupTemplateReference | None = None
    priority: int | None = None
    priority_class_name: str = ""
    resource_claims: _Claims = ()
    scheduling_constraints: PodGroupSchedulingConstraints | None = None
    scheduling_policy: PodGroupSchedulingPolicy = written(PodGroupSchedulingPolicy())


class PodGroupResourceClaimStatus(Value):
    name: str = written("")
    resource_claim_name: str | None = None


class PodGroupStatus(Value):
    conditions: Annotated[tuple[Condition, ...], ListMap("type", merge_key="type")] = ()
    resource_claim_statuses: Annotated[
        tuple[PodGroupResourceClaimStatus, ...], ListMap("name", merge_key="name", retain_keys=True)
    ] = ()


@kind("scheduling.k8s.io/v1alpha2", "podgroups")
class PodGroup(Object):
    spec: PodGroupSpec = written(PodGroupSpec())
    status: PodGroupStatus = written(PodGroupStatus())
