"""The fields that feature gates stand for: where a gate is off, its fields are dropped as if they had not been sent.

So a gate that is off leaves nothing of its behaviour: no component sees what would ask for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keelback.apimachinery.kubernetes_versions import DEFAULT, KubernetesVersion
from keelback.component import feature_gates

FIELDS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "AppArmorFields": (("PodSecurityContext", "appArmorProfile"), ("SecurityContext", "appArmorProfile")),
    "ContainerRestartRules": (
        ("Container", "restartPolicyRules"),
        ("EphemeralContainer", "restartPolicyRules"),
    ),
    "CustomResourceFieldSelectors": (("CustomResourceDefinitionVersion", "selectableFields"),),
    "DeploymentReplicaSetTerminatingReplicas": (
        ("DeploymentStatus", "terminatingReplicas"),
        ("ReplicaSetStatus", "terminatingReplicas"),
    ),
    "DRAAdminAccess": (
        ("ExactDeviceRequest", "adminAccess"),
        ("DeviceRequestAllocationResult", "adminAccess"),
    ),
    "DRAConsumableCapacity": (
        ("Device", "allowMultipleAllocations"),
        ("DeviceCapacity", "requestPolicy"),
        ("ExactDeviceRequest", "capacity"),
        ("DeviceSubRequest", "capacity"),
        ("DeviceConstraint", "distinctAttribute"),
    ),
    "DRADeviceBindingConditions": (
        ("Device", "bindsToNode"),
        ("Device", "bindingConditions"),
        ("Device", "bindingFailureConditions"),
    ),
    "DRADeviceTaints": (
        ("Device", "taints"),
        ("ExactDeviceRequest", "tolerations"),
        ("DeviceSubRequest", "tolerations"),
    ),
    "DRAExtendedResource": (("DeviceClassSpec", "extendedResourceName"), ("PodStatus", "extendedResourceClaimStatus")),
    "DRAPartitionableDevices": (
        ("ResourceSliceSpec", "sharedCounters"),
        ("ResourceSliceSpec", "perDeviceNodeSelection"),
        ("Device", "consumesCounters"),
        ("Device", "nodeName"),
        ("Device", "nodeSelector"),
        ("Device", "allNodes"),
    ),
    "DRAPrioritizedList": (("DeviceRequest", "firstAvailable"),),
    "DRAResourceClaimDeviceStatus": (("ResourceClaimStatus", "devices"),),
    "DynamicResourceAllocation": (
        ("PodSpec", "resourceClaims"),
        ("PodStatus", "resourceClaimStatuses"),
        ("ResourceRequirements", "claims"),
    ),
    "EnvFiles": (("EnvVarSource", "fileKeyRef"),),
    "HPAConfigurableTolerance": (("HPAScalingRules", "tolerance"),),
    "HostnameOverride": (("PodSpec", "hostnameOverride"),),
    "ImageVolume": (("Volume", "image"),),
    "InPlacePodVerticalScaling": (
        ("Container", "resizePolicy"),
        ("ContainerStatus", "allocatedResources"),
        ("ContainerStatus", "resources"),
        ("EphemeralContainer", "resizePolicy"),
        ("PodStatus", "resize"),
    ),
    "JobBackoffLimitPerIndex": (
        ("JobSpec", "backoffLimitPerIndex"),
        ("JobSpec", "maxFailedIndexes"),
        ("JobStatus", "failedIndexes"),
    ),
    "JobManagedBy": (("JobSpec", "managedBy"),),
    "JobPodReplacementPolicy": (("JobSpec", "podReplacementPolicy"), ("JobStatus", "terminating")),
    "JobSuccessPolicy": (("JobSpec", "successPolicy"),),
    "LoadBalancerIPMode": (("LoadBalancerIngress", "ipMode"),),
    "MatchLabelKeysInPodAffinity": (
        ("PodAffinityTerm", "matchLabelKeys"),
        ("PodAffinityTerm", "mismatchLabelKeys"),
    ),
    "MaxUnavailableStatefulSet": (("RollingUpdateStatefulSetStrategy", "maxUnavailable"),),
    "MutableCSINodeAllocatableCount": (
        ("CSIDriverSpec", "nodeAllocatableUpdatePeriodSeconds"),
        ("VolumeError", "errorCode"),
    ),
    "PersistentVolumeLastPhaseTransitionTime": (("PersistentVolumeStatus", "lastPhaseTransitionTime"),),
    "PodHostIPs": (("PodStatus", "hostIPs"),),
    "PodLevelResources": (("PodSpec", "resources"),),
    "PodLifecycleSleepAction": (("LifecycleHandler", "sleep"),),
    "PodObservedGenerationTracking": (("PodStatus", "observedGeneration"), ("PodCondition", "observedGeneration")),
    "PreferSameTrafficDistribution": (("EndpointHints", "forNodes"),),
    "ProcMountType": (("SecurityContext", "procMount"),),
    "RecursiveReadOnlyMounts": (("VolumeMount", "recursiveReadOnly"), ("VolumeMountStatus", "recursiveReadOnly")),
    "SELinuxChangePolicy": (("PodSecurityContext", "seLinuxChangePolicy"),),
    "ServiceTrafficDistribution": (("ServiceSpec", "trafficDistribution"),),
    "SidecarContainers": (("Container", "restartPolicy"),),
    "SupplementalGroupsPolicy": (
        ("PodSecurityContext", "supplementalGroupsPolicy"),
        ("ContainerStatus", "user"),
    ),
    "UserNamespacesSupport": (("PodSpec", "hostUsers"),),
    "VolumeAttributesClass": (
        ("PersistentVolumeSpec", "volumeAttributesClassName"),
        ("PersistentVolumeClaimSpec", "volumeAttributesClassName"),
        ("PersistentVolumeClaimStatus", "currentVolumeAttributesClassName"),
        ("PersistentVolumeClaimStatus", "modifyVolumeStatus"),
    ),
}
"""By gate: the type that has the field, and the field's name on the wire."""


POD_GROUPS: Final = "GenericWorkload"
"""The gate of pods' `schedulingGroup`, which is off by default in every version (see `pod_groups`)."""

SWITCHABLE: Final = frozenset(FIELDS) - {
    "DynamicResourceAllocation",
    "InPlacePodVerticalScaling",
    "VolumeAttributesClass",
}
"""The gates that may be asked to be other than by default. Not those that kinds or subresources come and go with."""


def switchable(version: KubernetesVersion) -> frozenset[str]:
    """The gates that a server of that version may be asked to turn."""
    # Before 1.36 pods named their group otherwise, and from 1.37 on the groups are of another version.
    return SWITCHABLE | {POD_GROUPS} if version.minor == 36 else SWITCHABLE


def off(version: KubernetesVersion, asked: Mapping[str, bool]) -> frozenset[tuple[str, str]]:
    """The fields of the gates that are off in a version, as far as not all servers are without them."""
    if version == DEFAULT and not asked.keys() - {POD_GROUPS}:
        return frozenset()
    gates = feature_gates.FeatureGates(feature_gates.known(version), asked)
    return frozenset(
        field for gate, fields in FIELDS.items() if gate in gates.known and not gates.enabled(gate) for field in fields
    )
