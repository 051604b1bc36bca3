"""Pods: a spec that hardly changes once written, a status of the kubelet's, a deletion that takes its time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final

import msgspec

from keelback.api import pods
from keelback.api.core_v1 import Pod, PodCondition, PodSpec, PodStatus
from keelback.apimachinery import field_set
from keelback.apimachinery.errors import FieldError, forbidden
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.apimachinery.remembered import remembered
from keelback.registry import (
    containers,
    disabled_fields,
    pod_annotations,
    pod_cells,
    pod_label_keys,
    pod_resizes,
    pod_specs,
    pod_statuses,
    pod_templates,
    pod_updates,
    pod_warnings,
)
from keelback.registry.known_specs import KnownSpecs
from keelback.registry.strategy import Strategy
from keelback.scheduling import scheduling_gates


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    node_name: str = ""
    restart_policy: str = ""
    scheduler_name: str = ""
    service_account_name: str = ""
    host_network: bool = False


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    phase: str = ""
    pod_ip: str = msgspec.field(name="podIP", default="")
    nominated_node_name: str = ""


class PodFields(msgspec.Struct, frozen=True):
    """What pods can be selected by."""

    spec: _Spec = _Spec()
    status: _Status = _Status()


class PodStrategy(Strategy[Pod]):
    """Pods of one template share their spec, which is decoded, defaulted and judged once."""

    kind = Pod
    checks_metadata_as_new = True
    columns = pod_cells.COLUMNS
    not_owned_by_status = field_set.of(("spec",), ("metadata", "deletionTimestamp"), ("metadata", "ownerReferences"))
    subresources = (
        "attach",
        "binding",
        "ephemeralcontainers",
        "eviction",
        "exec",
        "log",
        "portforward",
        "proxy",
        "resize",
        "status",
    )
    answers_deleted_object = True
    field_type: ClassVar[type[msgspec.Struct]] = PodFields
    field_names = (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    )

    def fields(self, narrow: Any) -> Mapping[str, str]:
        return {
            "spec.nodeName": narrow.spec.node_name,
            "spec.restartPolicy": narrow.spec.restart_policy,
            "spec.schedulerName": narrow.spec.scheduler_name,
            "spec.serviceAccountName": narrow.spec.service_account_name,
            "spec.hostNetwork": "true" if narrow.spec.host_network else "false",
            "status.phase": narrow.status.phase,
            "status.podIP": narrow.status.pod_ip,
            "status.nominatedNodeName": narrow.status.nominated_node_name,
        }

    def __init__(self) -> None:
        super().__init__()
        self._known = KnownSpecs()

    def decode_body(self, data: bytes) -> Pod:
        return self._known.decode(data) or self._known.learn(data, super().decode_body(data))

    def strict_errors_of_body(self, data: bytes) -> list[str]:
        found = super().strict_errors_of_body(self._known.without_spec(data))
        if not found:
            self._known.learn_sound(data)
        return found

    def default(self, new: Pod, old: Pod | None = None) -> Pod:
        spec = _with_defaults(new.spec)
        if old is None:
            # The class follows from the requests, which the defaults may just have made.
            return replace(new, spec=spec, status=_first_status(spec))
        return new if spec is new.spec else replace(new, spec=spec)

    def prepare_for_create(self, new: Pod) -> Pod:
        spec = pod_label_keys.with_selected_labels(_without_disabled(new.spec), new.metadata.labels)
        return replace(new, spec=spec, status=_first_status(spec))

    def prepare_for_update(self, new: Pod, old: Pod) -> Pod:
        spec = disabled_fields.dropped(new.spec)
        return replace(new, spec=spec, status=old.status)

    def prepare_for_status_update(self, new: Pod, old: Pod) -> Pod:
        status = pod_statuses.with_same_addresses(disabled_fields.dropped_from_status(new.status))
        status = pod_statuses.with_what_was_left_out(status, old.status)
        # Old kubelets spoil owner references, which the garbage collector lives by.
        metadata = replace(new.metadata, owner_references=old.metadata.owner_references)
        return replace(new, metadata=metadata, spec=old.spec, status=status)

    def graceful_deletion_seconds(self, obj: Pod, wanted: int | None) -> int:
        if not obj.spec.node_name or pods.is_terminal(obj):
            return 0
        seconds = obj.spec.termination_grace_period_seconds if wanted is None else wanted
        return seconds if seconds >= 0 else 1

    def warnings(self, new: Pod, old: Pod | None) -> Iterable[str]:
        if old is None:
            yield from pod_warnings.of_pod(new)

    def validate(self, new: Pod) -> Iterator[FieldError]:
        yield from _metadata_and_spec(new)
        if new.spec.ephemeral_containers:
            yield forbidden("spec.ephemeralContainers", "cannot be set on create")
        if new.spec.node_name and new.spec.scheduling_gates:
            yield forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")
        if pod_annotations.concern(new.metadata.annotations):
            yield from pod_annotations.validate_agreement(new.metadata.annotations, new.spec, "spec")

    def validate_update(self, new: Pod, old: Pod) -> Iterator[FieldError]:
        if new.spec != old.spec or new.metadata.annotations != old.metadata.annotations:
            yield from _metadata_and_spec(new)
            yield from _annotations_update(new, old)
            yield from pod_updates.validate_update(new, old)

    def validate_status_update(self, new: Pod, old: Pod) -> Iterator[FieldError]:
        yield from _annotations_update(new, old)
        yield from pod_statuses.validate_update(new, old)

    def validate_part_update(self, subresource: str, new: Pod, old: Pod) -> Iterator[FieldError]:
        if subresource == "binding":
            return
        if subresource == "ephemeralcontainers":
            if pods.is_mirror(old):
                yield forbidden("", "static pods do not support ephemeral containers")
                return
            yield from _metadata_and_spec(new)
            yield from _annotations_update(new, old)
            yield from pod_updates.validate_ephemeral_containers_update(new, old)
        elif subresource == "resize":
            yield from pod_resizes.validate(new, old, tuple(_metadata_and_spec(new)))
        else:
            yield from _metadata_and_spec(new)


def _metadata_and_spec(pod: Pod) -> Iterator[FieldError]:
    """What holds of a pod however it is written; of a template some of it does not."""
    spec, annotations = pod.spec, pod.metadata.annotations
    if annotations and pod_annotations.concern(annotations):
        yield from pod_annotations.validate(annotations, spec, "metadata.annotations")
    if spec.volumes or spec.resource_claims:
        # Claims are made for them by the pod's name.
        yield from pod_templates.validate_spec(spec, pod.metadata, "spec")
    else:
        yield from _problems_of_spec(spec)
    if not spec.service_account_name:
        for index, volume in enumerate(spec.volumes):
            for place, source in enumerate(volume.projected.sources if volume.projected is not None else ()):
                if source.service_account_token is not None:
                    where = f"spec.volumes[{index}].projected.sources[{place}].serviceAccountToken"
                    yield forbidden(where, "must not be specified when serviceAccountName is not set")
    yield from _problems_of_images(spec)


def _annotations_update(new: Pod, old: Pod) -> Iterator[FieldError]:
    after, before = new.metadata.annotations, old.metadata.annotations
    if after == before or not (pod_annotations.concern(after) or pod_annotations.concern(before)):
        return
    yield from pod_annotations.validate_update(after, before, "metadata.annotations")
    yield from pod_annotations.validate(after, new.spec, "metadata.annotations")


@remembered
def _problems_of_spec(spec: PodSpec) -> tuple[FieldError, ...]:
    return tuple(pod_templates.validate_spec(spec, _NAMELESS, "spec"))


@remembered
def _problems_of_images(spec: PodSpec) -> tuple[FieldError, ...]:
    return tuple(
        problem
        for field, given in (("containers", spec.containers), ("initContainers", spec.init_containers))
        for index, container in enumerate(given)
        for problem in containers.validate_image_of_pod(container, f"spec.{field}[{index}]")
    )


_NAMELESS: Final = ObjectMeta()
_with_defaults: Final = remembered(pod_specs.with_pod_defaults)
_without_disabled: Final = remembered(disabled_fields.dropped)


@remembered
def _first_status(spec: PodSpec) -> PodStatus:
    status = PodStatus(phase="Pending", qos_class=pods.compute_qos_class(spec))
    return replace(status, conditions=(_GATED,)) if spec.scheduling_gates else status


_GATED: Final = PodCondition(
    type="PodScheduled", status="False", reason="SchedulingGated", message=scheduling_gates.MESSAGE
)
