"""The strategy of every built-in resource. A list is the registration: a kind with a strategy of its own replaces its
plain one here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keelback.api.builtin import STORED
from keelback.apimachinery.meta import Object
from keelback.registry import (
    admissionpolicies,
    admissionpolicybindings,
    apiservices,
    certificatesigningrequests,
    clusterrolebindings,
    clusterroles,
    configmaps,
    controllerrevisions,
    cronjobs,
    csidrivers,
    csinodes,
    csistoragecapacities,
    customresourcedefinitions,
    daemonsets,
    deployments,
    deviceclasses,
    endpoints,
    endpointslices,
    events,
    events_events_k8s_io,
    flowschemas,
    horizontalpodautoscalers,
    ingressclasses,
    ingresses,
    ipaddresses,
    jobs,
    leases,
    limitranges,
    namespaces,
    networkpolicies,
    nodes,
    persistentvolumeclaims,
    persistentvolumes,
    poddisruptionbudgets,
    pods,
    podtemplates,
    priorityclasses,
    prioritylevelconfigurations,
    replicasets,
    replicationcontrollers,
    resource_claims,
    resourcequotas,
    resourceslices,
    rolebindings,
    roles,
    runtimeclasses,
    secrets,
    serviceaccounts,
    servicecidrs,
    services,
    statefulsets,
    storageclasses,
    volumeattachments,
    volumeattributesclasses,
    webhookconfigurations,
)
from keelback.registry.strategy import Strategy

SPECIAL: tuple[type[Strategy[Any]], ...] = (
    admissionpolicies.ValidatingAdmissionPolicyStrategy,
    admissionpolicybindings.ValidatingAdmissionPolicyBindingStrategy,
    admissionpolicies.MutatingAdmissionPolicyStrategy,
    admissionpolicybindings.MutatingAdmissionPolicyBindingStrategy,
    apiservices.APIServiceStrategy,
    certificatesigningrequests.CertificateSigningRequestStrategy,
    clusterrolebindings.ClusterRoleBindingStrategy,
    clusterroles.ClusterRoleStrategy,
    configmaps.ConfigMapStrategy,
    controllerrevisions.ControllerRevisionStrategy,
    cronjobs.CronJobStrategy,
    csidrivers.CSIDriverStrategy,
    csinodes.CSINodeStrategy,
    csistoragecapacities.CSIStorageCapacityStrategy,
    customresourcedefinitions.CustomResourceDefinitionStrategy,
    daemonsets.DaemonSetStrategy,
    deployments.DeploymentsStrategy,
    deviceclasses.DeviceClassStrategy,
    endpoints.EndpointsStrategy,
    endpointslices.EndpointSliceStrategy,
    events.EventStrategy,
    events_events_k8s_io.EventStrategy,
    flowschemas.FlowSchemaStrategy,
    horizontalpodautoscalers.HorizontalPodAutoscalerStrategy,
    horizontalpodautoscalers.HorizontalPodAutoscalerV1Strategy,
    ingressclasses.IngressClassStrategy,
    ingresses.IngressStrategy,
    ipaddresses.IPAddressStrategy,
    jobs.JobStrategy,
    leases.LeaseStrategy,
    limitranges.LimitRangeStrategy,
    namespaces.NamespaceStrategy,
    networkpolicies.NetworkPolicyStrategy,
    nodes.NodeStrategy,
    persistentvolumeclaims.PersistentVolumeClaimStrategy,
    persistentvolumes.PersistentVolumeStrategy,
    poddisruptionbudgets.PodDisruptionBudgetStrategy,
    pods.PodStrategy,
    podtemplates.PodTemplateStrategy,
    priorityclasses.PriorityClassStrategy,
    prioritylevelconfigurations.PriorityLevelConfigurationStrategy,
    replicasets.ReplicaSetStrategy,
    replicationcontrollers.ReplicationControllerStrategy,
    resource_claims.ResourceClaimStrategy,
    resource_claims.ResourceClaimTemplateStrategy,
    resourceslices.ResourceSliceStrategy,
    resourcequotas.ResourceQuotaStrategy,
    rolebindings.RoleBindingStrategy,
    roles.RoleStrategy,
    runtimeclasses.RuntimeClassStrategy,
    secrets.SecretStrategy,
    serviceaccounts.ServiceAccountStrategy,
    servicecidrs.ServiceCIDRStrategy,
    services.ServiceStrategy,
    statefulsets.StatefulSetStrategy,
    storageclasses.StorageClassStrategy,
    volumeattachments.VolumeAttachmentStrategy,
    volumeattributesclasses.VolumeAttributesClassStrategy,
    webhookconfigurations.MutatingWebhookConfigurationStrategy,
    webhookconfigurations.ValidatingWebhookConfigurationStrategy,
)


def strategies() -> Iterator[Strategy[Any]]:
    """One strategy per stored kind."""
    special = {one.kind.__kind__: one for one in SPECIAL}
    for kind in STORED:
        found = special.get(kind.__kind__)
        yield found() if found is not None else _plain(kind)


def _plain(kind: type[Object]) -> Strategy[Any]:
    """The strategy of a kind about which nothing is special."""
    name = kind.__kind__.kind
    made: type[Strategy[Any]] = type(f"{name}Strategy", (Strategy,), {"kind": kind})
    return made()
