"""All admission plugins in the order in which they act, and which of them are on.

The order is upstream's: a plugin may rely on those before it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from keelback.admission import admission_configuration
from keelback.admission.admission_configuration import AdmissionSettings
from keelback.admission.always_admit import AlwaysAdmit, AlwaysDeny, JobValidation
from keelback.admission.always_pull_images import AlwaysPullImages
from keelback.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
    ClusterTrustBundleAttest,
)
from keelback.admission.default_ingress_class import DefaultIngressClass
from keelback.admission.default_storage_class import DefaultStorageClass
from keelback.admission.default_toleration_seconds import DEFAULT_SECONDS, DefaultTolerationSeconds
from keelback.admission.deny_service_external_ips import DenyServiceExternalIPs
from keelback.admission.event_rate_limit import EventRateLimit
from keelback.admission.grants import Grants, WhyNotGrant
from keelback.admission.image_policy_webhook import ImagePolicyWebhook, ReviewImages
from keelback.admission.limit_ranger import LimitRanger
from keelback.admission.metrics import AdmissionMetrics
from keelback.admission.mutating_admission_policy import MutatingAdmissionPolicyPlugin
from keelback.admission.namespace_exists import CreateNamespace, NamespaceAutoProvision, NamespaceExists
from keelback.admission.namespace_lifecycle import NamespaceLifecycle
from keelback.admission.node_declared_feature_validator import NodeDeclaredFeatureValidator
from keelback.admission.node_restriction import NodeRestriction
from keelback.admission.owner_references_permission_enforcement import (
    OwnerReferencesPermissionEnforcement,
    ResourceOf,
)
from keelback.admission.param_access import ParamAccess
from keelback.admission.persistent_volume_claim_resize import PersistentVolumeClaimResize
from keelback.admission.plugin import AdmissionChain, AdmissionPlugin, IsAllowed, NewestReader, Rules
from keelback.admission.pod_group_protection import PodGroupProtection, PodGroupWorkloadExists
from keelback.admission.pod_node_selector import PodNodeSelector
from keelback.admission.pod_resize_validator import PodResizeValidator
from keelback.admission.pod_restrictions import (
    ExtendedResourceToleration,
    LimitPodHardAntiAffinityTopology,
    PodTolerationRestriction,
)
from keelback.admission.pod_security import PodSecurity
from keelback.admission.pod_topology_labels import PodTopologyLabels
from keelback.admission.priority import Priority
from keelback.admission.resource_quota import QuotaStatus, ResourceQuotaPlugin
from keelback.admission.resources import Resources
from keelback.admission.runtime_class import RuntimeClassPlugin
from keelback.admission.service_account import ServiceAccountPlugin
from keelback.admission.storage_object_in_use_protection import StorageObjectInUseProtection
from keelback.admission.taint_nodes_by_condition import TaintNodesByCondition
from keelback.admission.validating_admission_policy import ValidatingAdmissionPolicyPlugin
from keelback.admission.webhooks import (
    MutatingAdmissionWebhook,
    ValidatingAdmissionWebhook,
    WebhookCaller,
    WebhookDependencies,
)
from keelback.apimachinery.kubernetes_versions import DEFAULT, KubernetesVersion
from keelback.component.evaluations import Evaluations
from keelback.concurrency.clock import Clock


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What plugins are given: a plugin takes only what it uses."""

    reader: NewestReader
    is_allowed: IsAllowed
    rules: Rules
    resources: Resources
    chance: random.Random
    clock: Clock
    quota_status: QuotaStatus
    webhooks: WebhookCaller
    """Of those that mutate and, unless `validating_webhooks` says otherwise, of all."""
    new_uid: Callable[[], str]
    resource_of: ResourceOf
    evaluations: Evaluations
    metrics: AdmissionMetrics
    create_namespace: CreateNamespace
    validating_webhooks: WebhookCaller | None = None
    review_images: ReviewImages | None = None
    """For ImagePolicyWebhook: who has no server to ask cannot have the plugin."""
    why_not_grant: WhyNotGrant | None = None
    settings: AdmissionSettings = admission_configuration.DEFAULT
    not_ready_seconds: int = DEFAULT_SECONDS
    unreachable_seconds: int = DEFAULT_SECONDS

    def asking(self, webhooks: WebhookCaller) -> WebhookDependencies:
        """What both webhook plugins take."""
        return WebhookDependencies(
            self.reader, self.resources, self.rules, webhooks, self.new_uid, self.evaluations, self.metrics
        )


@dataclass(frozen=True, slots=True)
class FeatureGate:
    """The gate without which a plugin does nothing, and since which minor version of Kubernetes it is on, if any."""

    name: str
    on_since: int | None

    def is_on(self, version: KubernetesVersion, asked: Mapping[str, bool]) -> bool:
        """Whether it is on in a version, given what was asked of gates."""
        return asked.get(self.name, self.on_since is not None and version.minor >= self.on_since)


@dataclass(frozen=True, slots=True)
class Registration:
    """One plugin: its upstream name, whether it is on unless told otherwise, and how it is made.

    `minors` are the minor versions of Kubernetes that have it.
    """

    name: str
    is_default: bool
    make: Callable[[Dependencies], AdmissionPlugin]
    gate: FeatureGate | None = None
    minors: range = range(1000)


_GENERIC_WORKLOAD = FeatureGate("GenericWorkload", on_since=None)

PLUGINS: Sequence[Registration] = (
    Registration("AlwaysAdmit", False, lambda given: AlwaysAdmit()),
    Registration(
        "NamespaceAutoProvision", False, lambda given: NamespaceAutoProvision(given.reader, given.create_namespace)
    ),
    Registration("NamespaceLifecycle", True, lambda given: NamespaceLifecycle(given.reader)),
    Registration("NamespaceExists", False, lambda given: NamespaceExists(given.reader)),
    Registration("LimitPodHardAntiAffinityTopology", False, lambda given: LimitPodHardAntiAffinityTopology()),
    Registration("LimitRanger", True, lambda given: LimitRanger(given.reader)),
    Registration("ServiceAccount", True, lambda given: ServiceAccountPlugin(given.reader, given.chance)),
    Registration("NodeRestriction", False, lambda given: NodeRestriction(given.reader)),
    Registration("TaintNodesByCondition", True, lambda given: TaintNodesByCondition()),
    Registration("AlwaysPullImages", False, lambda given: AlwaysPullImages()),
    Registration("ImagePolicyWebhook", False, lambda given: _image_policy_webhook(given)),
    Registration(
        "PodSecurity", True, lambda given: PodSecurity(given.reader, given.settings.pod_security, given.metrics)
    ),
    Registration("PodNodeSelector", False, lambda given: PodNodeSelector(given.reader, given.settings.node_selectors)),
    Registration("Priority", True, lambda given: Priority(given.reader)),
    Registration(
        "DefaultTolerationSeconds",
        True,
        lambda given: DefaultTolerationSeconds(given.not_ready_seconds, given.unreachable_seconds),
    ),
    Registration(
        "PodTolerationRestriction",
        False,
        lambda given: PodTolerationRestriction(given.reader, given.settings.pod_tolerations),
    ),
    Registration("EventRateLimit", False, lambda given: EventRateLimit(given.settings.event_rate_limits, given.clock)),
    Registration("ExtendedResourceToleration", False, lambda given: ExtendedResourceToleration()),
    Registration("DefaultStorageClass", True, lambda given: DefaultStorageClass(given.reader)),
    Registration("StorageObjectInUseProtection", True, lambda given: StorageObjectInUseProtection()),
    Registration(
        "PodGroupProtection", True, lambda given: PodGroupProtection(), _GENERIC_WORKLOAD, minors=range(36, 1000)
    ),
    Registration(
        "OwnerReferencesPermissionEnforcement",
        False,
        lambda given: OwnerReferencesPermissionEnforcement(given.is_allowed, given.resource_of),
    ),
    Registration("PersistentVolumeClaimResize", True, lambda given: PersistentVolumeClaimResize(given.reader)),
    Registration("RuntimeClass", True, lambda given: RuntimeClassPlugin(given.reader)),
    Registration("CertificateApproval", True, lambda given: CertificateApproval(given.is_allowed)),
    Registration("CertificateSigning", True, lambda given: CertificateSigning(given.is_allowed)),
    Registration("ClusterTrustBundleAttest", True, lambda given: ClusterTrustBundleAttest(given.is_allowed)),
    Registration("CertificateSubjectRestriction", True, lambda given: CertificateSubjectRestriction()),
    Registration("DefaultIngressClass", True, lambda given: DefaultIngressClass(given.reader)),
    Registration("DenyServiceExternalIPs", False, lambda given: DenyServiceExternalIPs()),
    Registration(
        "PodTopologyLabels",
        True,
        lambda given: PodTopologyLabels(given.reader),
        FeatureGate("PodTopologyLabelsAdmission", on_since=35),
        minors=range(33, 1000),
    ),
    Registration(
        "PodGroupWorkloadExists",
        True,
        lambda given: PodGroupWorkloadExists(given.reader),
        _GENERIC_WORKLOAD,
        minors=range(36, 37),
    ),
    Registration(
        "NodeDeclaredFeatureValidator",
        True,
        lambda given: NodeDeclaredFeatureValidator(given.reader),
        FeatureGate("NodeDeclaredFeatures", on_since=36),
        minors=range(35, 1000),
    ),
    Registration("JobValidation", True, lambda given: JobValidation(), minors=range(36, 1000)),
    Registration("PodResizeValidator", True, lambda given: PodResizeValidator(given.reader), minors=range(36, 1000)),
    Registration(
        "MutatingAdmissionPolicy",
        True,
        lambda given: MutatingAdmissionPolicyPlugin(
            given.reader, given.resources, given.rules, given.clock, given.evaluations, given.metrics
        ),
    ),
    Registration(
        "MutatingAdmissionWebhook", True, lambda given: MutatingAdmissionWebhook(given.asking(given.webhooks))
    ),
    Registration(
        "ValidatingAdmissionPolicy",
        True,
        lambda given: ValidatingAdmissionPolicyPlugin(
            given.reader, given.resources, given.rules, given.clock, given.evaluations, given.metrics
        ),
    ),
    Registration(
        "ValidatingAdmissionWebhook",
        True,
        lambda given: ValidatingAdmissionWebhook(given.asking(given.validating_webhooks or given.webhooks)),
    ),
    Registration(
        "ResourceQuota",
        True,
        lambda given: ResourceQuotaPlugin(
            given.reader, given.quota_status, given.clock, given.settings.limited_resources
        ),
    ),
    Registration("AlwaysDeny", False, lambda given: AlwaysDeny()),
)


def known(version: KubernetesVersion = DEFAULT) -> frozenset[str]:
    """The names of the plugins that a minor version of Kubernetes has."""
    return frozenset(one.name for one in PLUGINS if version.minor in one.minors)


def gates(version: KubernetesVersion) -> frozenset[str]:
    """The feature gates that turn plugins on and off in a minor version."""
    return frozenset(one.gate.name for one in PLUGINS if one.gate is not None and version.minor in one.minors)


def build(
    given: Dependencies,
    *,
    enable: Iterable[str] = (),
    disable: Iterable[str] = (),
    version: KubernetesVersion = DEFAULT,
    gates: Mapping[str, bool] = MappingProxyType({}),
    always: Sequence[AdmissionPlugin] = (),
) -> AdmissionChain:
    """The chain of the plugins that are on, and of those that nobody can turn off.

    Raises ValueError for a name that is none, or that is in both lists.
    """
    enabled, disabled = frozenset(enable), frozenset(disable)
    unknown = sorted((enabled | disabled) - known(version))
    if unknown:
        raise ValueError(f"unknown admission plugin: {unknown[0]}")
    both = sorted(enabled & disabled)
    if both:
        raise ValueError(f"[{', '.join(both)}] in enable-admission-plugins and disable-admission-plugins overlapped")
    # Upstream, these rights are asked for where objects are checked, before anything looks at what will be stored.
    chosen: list[AdmissionPlugin] = [ParamAccess(given.reader, given.is_allowed, given.resources), *always]
    chosen += [
        one.make(given)
        for one in PLUGINS
        if (one.is_default or one.name in enabled)
        and one.name not in disabled
        and version.minor in one.minors
        and (one.gate is None or one.gate.is_on(version, gates))
    ]
    if given.why_not_grant is not None:
        chosen.append(Grants(given.why_not_grant))
    return AdmissionChain(chosen, given.metrics)


def _image_policy_webhook(given: Dependencies) -> ImagePolicyWebhook:
    if given.review_images is None or given.settings.image_policy is None:
        raise ValueError("ImagePolicyWebhook: no config specified")
    return ImagePolicyWebhook(given.review_images, default_allow=given.settings.image_policy.default_allow)
