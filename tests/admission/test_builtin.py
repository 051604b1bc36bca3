from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from keelback.admission.admission_configuration import AdmissionSettings
from keelback.admission.builtin import PLUGINS, Dependencies, build, known
from keelback.admission.image_policy_webhook import ImagePolicySettings, ImageReviewStatus
from keelback.admission.metrics import AdmissionMetrics
from keelback.admission.plugin import Question, Ruling
from keelback.api.admissionregistration_v1 import WebhookClientConfig
from keelback.api.core_v1 import Namespace, ResourceQuota
from keelback.apimachinery import kubernetes_versions
from keelback.apimachinery.meta import Object
from keelback.apiserver.served_resources import ServedResources
from keelback.component.evaluations import Evaluations
from keelback.component.metrics import Registry

T = TypeVar("T", bound=Object)


class Nothing:
    """Every edge of the plugins, none of which is used to build them."""

    async def get(self, kind: type[T], name: str, namespace: str = "") -> T:
        raise NotImplementedError

    async def list(self, kind: type[T], namespace: str = "") -> Sequence[T]:
        raise NotImplementedError

    async def read_quota(self, namespace: str, name: str) -> ResourceQuota:
        raise NotImplementedError

    async def write_quota_status(self, quota: ResourceQuota) -> None:
        raise NotImplementedError

    async def call(self, config: WebhookClientConfig, url: str, body: bytes, timeout_seconds: float) -> bytes:
        raise NotImplementedError

    def now(self) -> datetime:
        raise NotImplementedError

    def monotonic(self) -> float:
        raise NotImplementedError

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


async def _is_not_allowed(question: Question) -> bool:
    return False


async def _denying(question: Question) -> Ruling:
    return Ruling(False)


async def _no_namespace(namespace: Namespace) -> None:
    raise NotImplementedError


async def _no_review(spec: Mapping[str, Any]) -> ImageReviewStatus:
    raise NotImplementedError


async def _may_grant(user: object, new: object, old: object) -> str:
    return ""


def _dependencies() -> Dependencies:
    nothing = Nothing()
    return Dependencies(
        reader=nothing,
        is_allowed=_is_not_allowed,
        rules=_denying,
        resources=ServedResources({}),
        chance=random.Random(1),
        clock=nothing,
        quota_status=nothing,
        webhooks=nothing,
        new_uid=lambda: "",
        resource_of=lambda api_version, kind: None,
        evaluations=Evaluations(),
        metrics=AdmissionMetrics(Registry()),
        create_namespace=_no_namespace,
        review_images=_no_review,
        why_not_grant=_may_grant,
        settings=AdmissionSettings(image_policy=ImagePolicySettings(Path("images.conf"))),
    )


def test_every_plugin_can_be_made_under_its_upstream_name() -> None:
    given = _dependencies()
    assert [one.make(given).name for one in PLUGINS] == [one.name for one in PLUGINS]


def test_they_are_those_of_kubernetes_in_its_order() -> None:
    """`--help` of kube-apiserver 1.36 names them by the alphabet, its sources in the order in which they act."""
    assert [one.name for one in PLUGINS] == [
        "AlwaysAdmit",
        "NamespaceAutoProvision",
        "NamespaceLifecycle",
        "NamespaceExists",
        "LimitPodHardAntiAffinityTopology",
        "LimitRanger",
        "ServiceAccount",
        "NodeRestriction",
        "TaintNodesByCondition",
        "AlwaysPullImages",
        "ImagePolicyWebhook",
        "PodSecurity",
        "PodNodeSelector",
        "Priority",
        "DefaultTolerationSeconds",
        "PodTolerationRestriction",
        "EventRateLimit",
        "ExtendedResourceToleration",
        "DefaultStorageClass",
        "StorageObjectInUseProtection",
        "PodGroupProtection",
        "OwnerReferencesPermissionEnforcement",
        "PersistentVolumeClaimResize",
        "RuntimeClass",
        "CertificateApproval",
        "CertificateSigning",
        "ClusterTrustBundleAttest",
        "CertificateSubjectRestriction",
        "DefaultIngressClass",
        "DenyServiceExternalIPs",
        "PodTopologyLabels",
        "PodGroupWorkloadExists",
        "NodeDeclaredFeatureValidator",
        "JobValidation",
        "PodResizeValidator",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionWebhook",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionWebhook",
        "ResourceQuota",
        "AlwaysDeny",
    ]
    assert known(kubernetes_versions.parse("1.34")) == known() - {
        "PodGroupProtection",
        "PodGroupWorkloadExists",
        "NodeDeclaredFeatureValidator",
        "JobValidation",
        "PodResizeValidator",
    }
    assert known() - known(kubernetes_versions.parse("1.37")) == {"PodGroupWorkloadExists"}


def test_what_is_on_is_what_kubernetes_has_on() -> None:
    assert {one.name for one in PLUGINS if one.is_default} == {
        "PodGroupProtection",
        "PodGroupWorkloadExists",
        "NodeDeclaredFeatureValidator",
        "JobValidation",
        "PodResizeValidator",
        "NamespaceLifecycle",
        "LimitRanger",
        "ServiceAccount",
        "TaintNodesByCondition",
        "PodSecurity",
        "Priority",
        "DefaultTolerationSeconds",
        "DefaultStorageClass",
        "StorageObjectInUseProtection",
        "PersistentVolumeClaimResize",
        "RuntimeClass",
        "CertificateApproval",
        "CertificateSigning",
        "CertificateSubjectRestriction",
        "ClusterTrustBundleAttest",
        "DefaultIngressClass",
        "PodTopologyLabels",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionWebhook",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionWebhook",
        "ResourceQuota",
    }


def test_a_wrong_choice_is_refused() -> None:
    build(_dependencies(), enable=["NodeRestriction"], disable=["PodSecurity"])
    with pytest.raises(ValueError, match="unknown admission plugin: Nope"):
        build(_dependencies(), enable=["Nope"])
    with pytest.raises(ValueError, match="unknown admission plugin: PodResizeValidator"):
        build(_dependencies(), disable=["PodResizeValidator"], version=kubernetes_versions.parse("1.35"))
    with pytest.raises(ValueError, match="ImagePolicyWebhook: no config specified"):
        build(replace(_dependencies(), review_images=None), enable=["ImagePolicyWebhook"])
    with pytest.raises(ValueError, match="overlapped"):
        build(_dependencies(), enable=["PodSecurity"], disable=["PodSecurity"])
