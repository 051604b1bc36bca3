"""The strategies of group versions that are served only when `--runtime-config` says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from keelback.api import resource_v1, resource_v1beta1
from keelback.api.apiserverinternal_v1alpha1 import StorageVersion
from keelback.api.certificates_v1beta1 import PodCertificateRequest
from keelback.api.coordination_v1beta1 import LeaseCandidate
from keelback.api.resource_v1alpha3 import DeviceTaintRule, ResourcePoolStatusRequest
from keelback.api.scheduling_v1alpha2 import PodGroup, Workload
from keelback.api.storagemigration_v1beta1 import StorageVersionMigration
from keelback.apimachinery import codecs, names, semantic_versions
from keelback.apimachinery.errors import FieldError, invalid, not_supported, required
from keelback.registry import (
    admissionpolicies,
    admissionpolicybindings,
    device_taint_times,
    deviceclasses,
    ipaddresses,
    resource_claims,
    resourceslices,
    servicecidrs,
    volumeattributesclasses,
)
from keelback.registry.clustertrustbundles import ClusterTrustBundleStrategy
from keelback.registry.other_versions import in_version
from keelback.registry.signer_names import problems as signer_name_problems
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text

_IMMUTABLE = "field is immutable"


def strategies(group: str, version: str) -> Iterator[Strategy[Any]]:
    """The strategies of one of `runtime_config.OPTIONAL`. Raises KeyError for another."""
    match (group, version):
        case ("admissionregistration.k8s.io", "v1beta1" | "v1alpha1"):
            yield in_version(admissionpolicies.MutatingAdmissionPolicyStrategy, version)
            yield in_version(admissionpolicybindings.MutatingAdmissionPolicyBindingStrategy, version)
        case ("certificates.k8s.io", "v1beta1"):
            yield ClusterTrustBundleStrategy()
            yield PodCertificateRequestStrategy()
        case ("certificates.k8s.io", "v1alpha1"):
            yield in_version(ClusterTrustBundleStrategy, version)
        case ("coordination.k8s.io", "v1beta1"):
            yield LeaseCandidateStrategy()
        case ("coordination.k8s.io", "v1alpha2"):
            yield in_version(LeaseCandidateStrategy, version)
        case ("internal.apiserver.k8s.io", "v1alpha1"):
            yield StorageVersionStrategy()
        case ("networking.k8s.io", "v1beta1"):
            yield in_version(ipaddresses.IPAddressStrategy, version)
            yield in_version(servicecidrs.ServiceCIDRStrategy, version)
        case ("resource.k8s.io", _):
            yield from _resource_strategies(version)
        case ("scheduling.k8s.io", "v1alpha2"):
            yield WorkloadStrategy()
            yield PodGroupStrategy()
        case ("storage.k8s.io", "v1beta1"):
            yield in_version(volumeattributesclasses.VolumeAttributesClassStrategy, version)
        case ("storagemigration.k8s.io", "v1beta1"):
            yield StorageVersionMigrationStrategy()
        case _:
            raise KeyError(f"{group}/{version}")


def _resource_strategies(version: str) -> Iterator[Strategy[Any]]:
    match version:
        case "v1alpha3":
            yield DeviceTaintRuleStrategy()
            yield ResourcePoolStatusRequestStrategy()
        case "v1beta1":
            yield in_version(deviceclasses.DeviceClassStrategy, version)
            yield ResourceClaimV1beta1Strategy()
            yield ResourceClaimTemplateV1beta1Strategy()
            yield ResourceSliceV1beta1Strategy()
        case "v1beta2":
            yield in_version(deviceclasses.DeviceClassStrategy, version)
            yield in_version(DeviceTaintRuleStrategy, version)
            yield in_version(resource_claims.ResourceClaimStrategy, version)
            yield in_version(resource_claims.ResourceClaimTemplateStrategy, version)
            yield in_version(resourceslices.ResourceSliceStrategy, version)
        case _:
            raise KeyError(f"resource.k8s.io/{version}")


class PodCertificateRequestStrategy(Strategy[PodCertificateRequest]):
    kind = PodCertificateRequest
    subresources = ("status",)
    counts_generations = False
    columns = (
        text("PodName", lambda one: one.spec.pod_name),
        text("ServiceAccountName", lambda one: one.spec.service_account_name),
        text("NodeName", lambda one: one.spec.node_name),
        text("SignerName", lambda one: one.spec.signer_name),
        AGE,
    )

    def validate(self, new: PodCertificateRequest) -> Iterator[FieldError]:
        spec = new.spec
        yield from signer_name_problems(spec.signer_name, "spec.signerName")
        for path, value, check in (
            ("podName", spec.pod_name, names.dns1123_subdomain),
            ("serviceAccountName", spec.service_account_name, names.dns1123_subdomain),
            ("nodeName", spec.node_name, names.dns1123_subdomain),
        ):
            for complaint in check(value):
                yield invalid(f"spec.{path}", value, complaint)
        for path, uid in (
            ("podUID", spec.pod_uid),
            ("serviceAccountUID", spec.service_account_uid),
            ("nodeUID", spec.node_uid),
        ):
            if not uid:
                yield invalid(f"spec.{path}", uid, "must not be empty")

    def validate_update(self, new: PodCertificateRequest, old: PodCertificateRequest) -> Iterator[FieldError]:
        if new.spec != old.spec:
            yield invalid("spec", new.spec, _IMMUTABLE)


class LeaseCandidateStrategy(Strategy[LeaseCandidate]):
    kind = LeaseCandidate
    counts_generations = False
    columns = (
        text("LeaseName", lambda one: one.spec.lease_name),
        text("BinaryVersion", lambda one: one.spec.binary_version),
        text("EmulationVersion", lambda one: one.spec.emulation_version),
        text("Strategy", lambda one: one.spec.strategy),
        AGE,
    )

    def validate(self, new: LeaseCandidate) -> Iterator[FieldError]:
        spec = new.spec
        if not spec.lease_name:
            yield required("spec.leaseName")
        if not spec.binary_version:
            yield required("spec.binaryVersion")
        elif not _is_version(spec.binary_version):
            yield invalid("spec.binaryVersion", spec.binary_version, "unable to parse binary version")
        if not spec.strategy:
            yield required("spec.strategy")
        elif spec.strategy == "OldestEmulationVersion" and not spec.emulation_version:
            yield required("spec.emulationVersion", "must be specified when `strategy` is 'OldestEmulationVersion'")

    def validate_update(self, new: LeaseCandidate, old: LeaseCandidate) -> Iterator[FieldError]:
        yield from self.validate(new)
        if new.spec.lease_name != old.spec.lease_name:
            yield invalid("spec.leaseName", new.spec.lease_name, _IMMUTABLE)


class StorageVersionStrategy(Strategy[StorageVersion]):
    kind = StorageVersion
    subresources = ("status",)
    columns = (
        text("CommonEncodingVersion", lambda one: one.status.common_encoding_version or "<none>"),
        text(
            "StorageVersions",
            lambda one: ",".join(
                f"{held.api_server_id}={held.encoding_version}" for held in one.status.storage_versions
            ),
        ),
        AGE,
    )


class DeviceTaintRuleStrategy(Strategy[DeviceTaintRule]):
    kind = DeviceTaintRule
    answers_deleted_object = True
    subresources = ("status",)

    def prepare_for_create(self, new: DeviceTaintRule) -> DeviceTaintRule:
        return device_taint_times.of_rule(super().prepare_for_create(new), new.metadata.creation_timestamp)

    def with_times(self, new: DeviceTaintRule, old: DeviceTaintRule, now: datetime) -> DeviceTaintRule:
        return device_taint_times.of_rule(new, now)

    def validate(self, new: DeviceTaintRule) -> Iterator[FieldError]:
        taint = new.spec.taint
        if not taint.key:
            yield required("spec.taint.key")
        else:
            for complaint in names.qualified_name(taint.key):
                yield invalid("spec.taint.key", taint.key, complaint)
        for complaint in names.label_value(taint.value):
            yield invalid("spec.taint.value", taint.value, complaint)
        effects = ("NoExecute", "NoSchedule", "None")
        if not taint.effect:
            yield required("spec.taint.effect")
        elif taint.effect not in effects:
            yield not_supported("spec.taint.effect", taint.effect, effects)


class ResourcePoolStatusRequestStrategy(Strategy[ResourcePoolStatusRequest]):
    kind = ResourcePoolStatusRequest
    answers_deleted_object = True
    subresources = ("status",)

    def validate(self, new: ResourcePoolStatusRequest) -> Iterator[FieldError]:
        if not new.spec.driver:
            yield required("spec.driver")
        if new.spec.limit is not None and new.spec.limit <= 0:
            yield invalid("spec.limit", new.spec.limit, "must be greater than zero")

    def validate_update(self, new: ResourcePoolStatusRequest, old: ResourcePoolStatusRequest) -> Iterator[FieldError]:
        if new.spec != old.spec:
            yield invalid("spec", new.spec, _IMMUTABLE)


class WorkloadStrategy(Strategy[Workload]):
    kind = Workload

    def validate(self, new: Workload) -> Iterator[FieldError]:
        templates = new.spec.pod_group_templates
        if not templates:
            yield required("spec.podGroupTemplates", "must have at least one item")
        for index, template in enumerate(templates):
            path = f"spec.podGroupTemplates[{index}]"
            for complaint in names.dns1123_label(template.name):
                yield invalid(f"{path}.name", template.name, complaint)
            yield from _policy(template.scheduling_policy, f"{path}.schedulingPolicy")

    def validate_update(self, new: Workload, old: Workload) -> Iterator[FieldError]:
        yield from self.validate(new)
        if new.spec.pod_group_templates != old.spec.pod_group_templates:
            yield invalid("spec.podGroupTemplates", new.spec.pod_group_templates, _IMMUTABLE)


class PodGroupStrategy(Strategy[PodGroup]):
    kind = PodGroup
    subresources = ("status",)

    def validate(self, new: PodGroup) -> Iterator[FieldError]:
        yield from _policy(new.spec.scheduling_policy, "spec.schedulingPolicy")

    def validate_update(self, new: PodGroup, old: PodGroup) -> Iterator[FieldError]:
        if new.spec != old.spec:
            yield invalid("spec", new.spec, _IMMUTABLE)


class StorageVersionMigrationStrategy(Strategy[StorageVersionMigration]):
    kind = StorageVersionMigration
    subresources = ("status",)
    columns = (
        text("Resource", lambda one: ".".join(filter(None, (one.spec.resource.resource, one.spec.resource.group)))),
        AGE,
    )

    def validate(self, new: StorageVersionMigration) -> Iterator[FieldError]:
        if not new.spec.resource.resource:
            yield required("spec.resource.resource", "resource is required")

    def validate_update(self, new: StorageVersionMigration, old: StorageVersionMigration) -> Iterator[FieldError]:
        if new.spec != old.spec:
            yield invalid("spec", new.spec, _IMMUTABLE)


class ResourceClaimV1beta1Strategy(Strategy[resource_v1beta1.ResourceClaim]):
    kind = resource_v1beta1.ResourceClaim
    answers_deleted_object = True
    storage_kind = resource_v1.ResourceClaim
    subresources = ("status",)
    counts_generations = False
    columns = resource_claims.ResourceClaimStrategy.columns
    _stored = resource_claims.ResourceClaimStrategy()

    def from_storage(self, data: bytes) -> bytes:
        return codecs.encode_stored(resource_v1beta1.claim_from_v1(self._stored.decode(data)))

    def to_storage(self, data: bytes) -> bytes:
        return codecs.encode_stored(resource_v1beta1.claim_to_v1(self.decode(data)))

    def default(
        self, new: resource_v1beta1.ResourceClaim, old: resource_v1beta1.ResourceClaim | None = None
    ) -> resource_v1beta1.ResourceClaim:
        return resource_v1beta1.claim_from_v1(self._stored.default(resource_v1beta1.claim_to_v1(new)))

    def validate(self, new: resource_v1beta1.ResourceClaim) -> Iterator[FieldError]:
        return self._stored.validate(resource_v1beta1.claim_to_v1(new))

    def validate_update(
        self, new: resource_v1beta1.ResourceClaim, old: resource_v1beta1.ResourceClaim
    ) -> Iterator[FieldError]:
        return self._stored.validate_update(resource_v1beta1.claim_to_v1(new), resource_v1beta1.claim_to_v1(old))


class ResourceClaimTemplateV1beta1Strategy(Strategy[resource_v1beta1.ResourceClaimTemplate]):
    kind = resource_v1beta1.ResourceClaimTemplate
    answers_deleted_object = True
    storage_kind = resource_v1.ResourceClaimTemplate
    counts_generations = False
    _stored = resource_claims.ResourceClaimTemplateStrategy()

    def from_storage(self, data: bytes) -> bytes:
        return codecs.encode_stored(resource_v1beta1.template_from_v1(self._stored.decode(data)))

    def to_storage(self, data: bytes) -> bytes:
        return codecs.encode_stored(resource_v1beta1.template_to_v1(self.decode(data)))

    def default(
        self, new: resource_v1beta1.ResourceClaimTemplate, old: resource_v1beta1.ResourceClaimTemplate | None = None
    ) -> resource_v1beta1.ResourceClaimTemplate:
        return resource_v1beta1.template_from_v1(self._stored.default(resource_v1beta1.template_to_v1(new)))

    def validate(self, new: resource_v1beta1.ResourceClaimTemplate) -> Iterator[FieldError]:
        return self._stored.validate(resource_v1beta1.template_to_v1(new))

    def validate_update(
        self, new: resource_v1beta1.ResourceClaimTemplate, old: resource_v1beta1.ResourceClaimTemplate
    ) -> Iterator[FieldError]:
        changed = resource_v1beta1.template_to_v1(new)
        return self._stored.validate_update(changed, resource_v1beta1.template_to_v1(old))


class ResourceSliceV1beta1Strategy(Strategy[resource_v1beta1.ResourceSlice]):
    kind = resource_v1beta1.ResourceSlice
    answers_deleted_object = True
    storage_kind = resource_v1.ResourceSlice
    columns = resourceslices.ResourceSliceStrategy.columns
    _stored = resourceslices.ResourceSliceStrategy()

    def from_storage(self, data: bytes) -> bytes:
        return codecs.encode_stored(resource_v1beta1.slice_from_v1(self._stored.decode(data)))

    def to_storage(self, data: bytes) -> bytes:
        return codecs.encode_stored(resource_v1beta1.slice_to_v1(self.decode(data)))

    def validate(self, new: resource_v1beta1.ResourceSlice) -> Iterator[FieldError]:
        return self._stored.validate(resource_v1beta1.slice_to_v1(new))

    def validate_update(
        self, new: resource_v1beta1.ResourceSlice, old: resource_v1beta1.ResourceSlice
    ) -> Iterator[FieldError]:
        return self._stored.validate_update(resource_v1beta1.slice_to_v1(new), resource_v1beta1.slice_to_v1(old))


def _policy(policy: Any, path: str) -> Iterator[FieldError]:
    given = [name for name in ("basic", "gang") if getattr(policy, name) is not None]
    if not given:
        yield required(path, "must specify one of: `basic`, `gang`")
    elif len(given) > 1:
        listed = ", ".join(f"`{one}`" for one in given)
        yield invalid(path, "{" + ", ".join(given) + "}", f"must specify exactly one of: {listed}")
    if policy.gang is not None and policy.gang.min_count < 1:
        yield invalid(f"{path}.gang.minCount", policy.gang.min_count, "must be greater than or equal to 1")


def _is_version(text_: str) -> bool:
    try:
        semantic_versions.parse(text_)
    except semantic_versions.VersionError:
        return False
    return True
