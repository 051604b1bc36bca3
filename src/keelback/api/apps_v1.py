"""The types of apps/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from typing import Annotated

import msgspec

from keelback.api.core_v1 import PersistentVolumeClaim, PodTemplateSpec
from keelback.apimachinery.meta import (
    Atomic,
    IntOrString,
    LabelSelector,
    ListMap,
    Object,
    RetainKeys,
    Time,
    Value,
    defaulted,
    kind,
    written,
    written_as,
)


@kind("apps/v1", "controllerrevisions")
class ControllerRevision(Object):
    data: msgspec.Raw = msgspec.Raw()
    revision: int = written(0)


class DaemonSetUpdateStrategy(Value):
    rolling_update: RollingUpdateDaemonSet | None = None
    type: str = defaulted("RollingUpdate")


class DaemonSetSpec(Value):
    min_ready_seconds: int = 0
    revision_history_limit: int = written(10)
    selector: Annotated[LabelSelector | None, Atomic()] = None
    template: PodTemplateSpec = written(PodTemplateSpec())
    update_strategy: DaemonSetUpdateStrategy = written(DaemonSetUpdateStrategy())


class DaemonSetStatus(Value):
    collision_count: int | None = None
    conditions: Annotated[tuple[DaemonSetCondition, ...], ListMap("type", merge_key="type")] = ()
    current_number_scheduled: int = written(0)
    desired_number_scheduled: int = written(0)
    number_available: int = 0
    number_misscheduled: int = written(0)
    number_ready: int = written(0)
    number_unavailable: int = 0
    observed_generation: int = 0
    updated_number_scheduled: int = 0


@kind("apps/v1", "daemonsets", short_names=("ds",), categories=("all",))
class DaemonSet(Object):
    spec: DaemonSetSpec = written(DaemonSetSpec())
    status: DaemonSetStatus = written(DaemonSetStatus())


class DaemonSetCondition(Value):
    last_transition_time: Time | None = written(None)
    message: str = ""
    reason: str = ""
    status: str = written("")
    type: str = written("")


class DeploymentStrategy(Value):
    rolling_update: RollingUpdateDeployment | None = None
    type: str = defaulted("RollingUpdate")


class DeploymentSpec(Value):
    min_ready_seconds: int = 0
    paused: bool = False
    progress_deadline_seconds: int = written(600)
    replicas: int = written(1)
    revision_history_limit: int = written(10)
    selector: Annotated[LabelSelector | None, Atomic()] = None
    strategy: Annotated[DeploymentStrategy, RetainKeys()] = written(DeploymentStrategy())
    template: PodTemplateSpec = written(PodTemplateSpec())


class DeploymentStatus(Value):
    available_replicas: int = 0
    collision_count: int | None = None
    conditions: Annotated[tuple[DeploymentCondition, ...], ListMap("type", merge_key="type")] = ()
    observed_generation: int = 0
    ready_replicas: int = 0
    replicas: int = 0
    terminating_replicas: int | None = None
    unavailable_replicas: int = 0
    updated_replicas: int = 0


@kind("apps/v1", "deployments", short_names=("deploy",), categories=("all",))
class Deployment(Object):
    spec: DeploymentSpec = written(DeploymentSpec())
    status: DeploymentStatus = written(DeploymentStatus())


class DeploymentCondition(Value):
    last_transition_time: Time | None = written(None)
    last_update_time: Time | None = written(None)
    message: str = ""
    reason: str = ""
    status: str = written("")
    type: str = written("")


class ReplicaSetSpec(Value):
    min_ready_seconds: int = 0
    replicas: int = written(1)
    selector: Annotated[LabelSelector | None, Atomic()] = None
    template: PodTemplateSpec = written(PodTemplateSpec())


class ReplicaSetStatus(Value):
    available_replicas: int = 0
    conditions: Annotated[tuple[ReplicaSetCondition, ...], ListMap("type", merge_key="type")] = ()
    fully_labeled_replicas: int = 0
    observed_generation: int = 0
    ready_replicas: int = 0
    replicas: int = written(0)
    terminating_replicas: int | None = None


@kind("apps/v1", "replicasets", short_names=("rs",), categories=("all",))
class ReplicaSet(Object):
    spec: ReplicaSetSpec = written(ReplicaSetSpec())
    status: ReplicaSetStatus = written(ReplicaSetStatus())


class ReplicaSetCondition(Value):
    last_transition_time: Time | None = written(None)
    message: str = ""
    reason: str = ""
    status: str = written("")
    type: str = written("")


class RollingUpdateDaemonSet(Value):
    max_surge: IntOrString = written(0)
    max_unavailable: IntOrString = written(1)


class RollingUpdateDeployment(Value):
    max_surge: IntOrString = written("25%")
    max_unavailable: IntOrString = written("25%")


class RollingUpdateStatefulSetStrategy(Value):
    max_unavailable: IntOrString | None = None
    partition: int = written(0)


class StatefulSetPersistentVolumeClaimRetentionPolicy(Value):
    when_deleted: str = defaulted("Retain")
    when_scaled: str = defaulted("Retain")


class StatefulSetUpdateStrategy(Value):
    rolling_update: RollingUpdateStatefulSetStrategy | None = None
    type: str = ""


class StatefulSetSpec(Value):
    min_ready_seconds: int = 0
    ordinals: StatefulSetOrdinals | None = None
    persistent_volume_claim_retention_policy: StatefulSetPersistentVolumeClaimRetentionPolicy = written(
        StatefulSetPersistentVolumeClaimRetentionPolicy()
    )
    pod_management_policy: str = defaulted("OrderedReady")
    replicas: int = written(1)
    revision_history_limit: int = written(10)
    selector: Annotated[LabelSelector | None, Atomic()] = None
    service_name: str = written("")
    template: PodTemplateSpec = written(PodTemplateSpec())
    update_strategy: StatefulSetUpdateStrategy = written(StatefulSetUpdateStrategy())
    volume_claim_templates: tuple[VolumeClaimTemplate, ...] = ()


class VolumeClaimTemplate(PersistentVolumeClaim):
    """A claim inside a StatefulSet; unlike other nested objects it says on the wire what it is."""

    type_kind: str = written_as("kind", "PersistentVolumeClaim")
    type_api_version: str = written_as("apiVersion", "v1")


class StatefulSetStatus(Value):
    available_replicas: int = written(0)
    collision_count: int | None = None
    conditions: Annotated[tuple[StatefulSetCondition, ...], ListMap("type", merge_key="type")] = ()
    current_replicas: int = 0
    current_revision: str = ""
    observed_generation: int = 0
    ready_replicas: int = 0
    replicas: int = written(0)
    update_revision: str = ""
    updated_replicas: int = 0


@kind("apps/v1", "statefulsets", short_names=("sts",), categories=("all",))
class StatefulSet(Object):
    spec: StatefulSetSpec = written(StatefulSetSpec())
    status: StatefulSetStatus = written(StatefulSetStatus())


class StatefulSetCondition(Value):
    last_transition_time: Time | None = written(None)
    message: str = ""
    reason: str = ""
    status: str = written("")
    type: str = written("")


class StatefulSetOrdinals(Value):
    start: int | None = None
