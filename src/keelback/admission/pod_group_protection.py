"""PodGroupProtection and PodGroupWorkloadExists: what holds for a PodGroup from its start. https://kep.k8s.io/4671

Both are of the gate GenericWorkload. From 1.37 on there is no PodGroupWorkloadExists upstream.
"""

from __future__ import annotations

from typing import Final

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, NewestReader
from keelback.api.scheduling_v1alpha2 import PodGroup, Workload
from keelback.apimachinery import errors
from keelback.apimachinery.meta import with_metadata

FINALIZER: Final = "scheduling.k8s.io/podgroup-protection"
_RESOURCES: Final = frozenset({"scheduling.k8s.io/podgroups"})


class PodGroupProtection(AdmissionPlugin):
    """Gives a new group the finalizer that keeps it while pods of it run; a controller takes it away."""

    name = "PodGroupProtection"
    resources = _RESOURCES

    async def admit(self, request: AdmissionRequest) -> PodGroup:
        group = request.new(PodGroup)
        if FINALIZER in group.metadata.finalizers:
            return group
        return with_metadata(group, finalizers=(*group.metadata.finalizers, FINALIZER))


class PodGroupWorkloadExists(AdmissionPlugin):
    """Refuses a group that is made of a template which its Workload does not have."""

    name = "PodGroupWorkloadExists"
    resources = _RESOURCES

    def __init__(self, reader: NewestReader) -> None:
        self._reader = reader

    async def validate(self, request: AdmissionRequest) -> None:
        reference = request.new(PodGroup).spec.pod_group_template_ref
        if reference is None or reference.workload is None:
            return
        name, template = reference.workload.workload_name, reference.workload.pod_group_template_name
        try:
            workload = await self._workload(name, request.namespace)
        except errors.NotFound:
            raise request.forbidden(f'PodGroup rejected: Workload "{name}" not found') from None
        if workload.metadata.deletion_timestamp is not None:
            raise request.forbidden(f'PodGroup rejected: Workload "{name}" is being deleted')
        if template not in {one.name for one in workload.spec.pod_group_templates}:
            raise request.forbidden(f'PodGroup rejected: PodGroupTemplate "{template}" not found in Workload "{name}"')

    async def _workload(self, name: str, namespace: str) -> Workload:
        try:
            return await self._reader.get(Workload, name, namespace)
        except errors.NotFound:
            # It may have been made a moment ago.
            return await self._reader.newest(Workload, name, namespace)
