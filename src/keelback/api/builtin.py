"""Every built-in kind that is kept in the store, group by group. A list is the registration: add a kind here."""

from __future__ import annotations

from keelback.api import (
    admissionregistration_v1,
    apiextensions_v1,
    apiregistration_v1,
    apps_v1,
    autoscaling_v1,
    autoscaling_v2,
    batch_v1,
    certificates_v1,
    coordination_v1,
    core_v1,
    discovery_v1,
    events_v1,
    flowcontrol_v1,
    networking_v1,
    node_v1,
    policy_v1,
    rbac_v1,
    resource_v1,
    scheduling_v1,
    storage_v1,
)
from keelback.apimachinery.meta import Object

STORED: tuple[type[Object], ...] = (
    core_v1.ConfigMap,
    core_v1.Endpoints,
    core_v1.Event,
    core_v1.LimitRange,
    core_v1.Namespace,
    core_v1.Node,
    core_v1.PersistentVolume,
    core_v1.PersistentVolumeClaim,
    core_v1.Pod,
    core_v1.PodTemplate,
    core_v1.ReplicationController,
    core_v1.ResourceQuota,
    core_v1.Secret,
    core_v1.Service,
    core_v1.ServiceAccount,
    apps_v1.ControllerRevision,
    apps_v1.DaemonSet,
    apps_v1.Deployment,
    apps_v1.ReplicaSet,
    apps_v1.StatefulSet,
    batch_v1.CronJob,
    batch_v1.Job,
    autoscaling_v1.HorizontalPodAutoscaler,
    autoscaling_v2.HorizontalPodAutoscaler,
    policy_v1.PodDisruptionBudget,
    networking_v1.IPAddress,
    networking_v1.Ingress,
    networking_v1.IngressClass,
    networking_v1.NetworkPolicy,
    networking_v1.ServiceCIDR,
    discovery_v1.EndpointSlice,
    events_v1.Event,
    coordination_v1.Lease,
    rbac_v1.ClusterRole,
    rbac_v1.ClusterRoleBinding,
    rbac_v1.Role,
    rbac_v1.RoleBinding,
    admissionregistration_v1.MutatingAdmissionPolicy,
    admissionregistration_v1.MutatingAdmissionPolicyBinding,
    admissionregistration_v1.MutatingWebhookConfiguration,
    admissionregistration_v1.ValidatingAdmissionPolicy,
    admissionregistration_v1.ValidatingAdmissionPolicyBinding,
    admissionregistration_v1.ValidatingWebhookConfiguration,
    apiextensions_v1.CustomResourceDefinition,
    apiregistration_v1.APIService,
    certificates_v1.CertificateSigningRequest,
    scheduling_v1.PriorityClass,
    storage_v1.CSIDriver,
    storage_v1.CSINode,
    storage_v1.CSIStorageCapacity,
    storage_v1.StorageClass,
    storage_v1.VolumeAttachment,
    storage_v1.VolumeAttributesClass,
    node_v1.RuntimeClass,
    flowcontrol_v1.FlowSchema,
    flowcontrol_v1.PriorityLevelConfiguration,
    resource_v1.DeviceClass,
    resource_v1.ResourceClaim,
    resource_v1.ResourceClaimTemplate,
    resource_v1.ResourceSlice,
)

_REGISTERED = {(one.__kind__.api_version, one.__kind__.kind) for one in STORED}
_OTHER_VERSIONS = frozenset(
    {
        *("extensions/v1beta1", "apps/v1beta1", "apps/v1beta2"),
        *("admissionregistration.k8s.io/v1beta1", "admissionregistration.k8s.io/v1alpha1"),
        *("certificates.k8s.io/v1beta1", "certificates.k8s.io/v1alpha1"),
        *("coordination.k8s.io/v1beta1", "coordination.k8s.io/v1alpha2"),
        *("networking.k8s.io/v1beta1", "storage.k8s.io/v1beta1", "scheduling.k8s.io/v1alpha2"),
        *("resource.k8s.io/v1beta2", "resource.k8s.io/v1beta1", "resource.k8s.io/v1alpha3"),
        *("internal.apiserver.k8s.io/v1alpha1", "storagemigration.k8s.io/v1beta1"),
    }
)
"""Those that are gone, and those that are served only when asked for."""
_VERSIONS = frozenset(version for version, _ in _REGISTERED) | _OTHER_VERSIONS


def is_registered(api_version: str, kind_name: str) -> bool:
    """Whether a built-in kind (or its list) of that version exists."""
    return (api_version, kind_name) in _REGISTERED or (api_version, kind_name.removesuffix("List")) in _REGISTERED


def is_registered_version(api_version: str) -> bool:
    """Whether a built-in group has, or once had, that version."""
    return api_version in _VERSIONS
