"""The strategies that a Kubernetes version needs beside those of the kinds that are stored: views of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keelback.registry import (
    admissionpolicies,
    admissionpolicybindings,
    earlier_flow_control,
    ipaddresses,
    optional_kinds,
    servicecidrs,
    volumeattributesclasses,
)
from keelback.registry.clustertrustbundles import ClusterTrustBundleStrategy
from keelback.registry.other_versions import in_version
from keelback.registry.strategy import Strategy


def strategies(group: str, version: str) -> Iterator[Strategy[Any]]:
    """Every kind that the group version has, or had, in some Kubernetes version, as far as it can be shown."""
    match (group, version):
        case ("admissionregistration.k8s.io", "v1beta1" | "v1alpha1"):
            yield in_version(admissionpolicies.ValidatingAdmissionPolicyStrategy, version)
            yield in_version(admissionpolicybindings.ValidatingAdmissionPolicyBindingStrategy, version)
            yield from optional_kinds.strategies(group, version)
        case ("authentication.k8s.io", _):
            return  # reviews are asked, not kept
        case ("certificates.k8s.io", "v1" | "v1alpha1"):
            yield in_version(ClusterTrustBundleStrategy, version)
            yield in_version(optional_kinds.PodCertificateRequestStrategy, version)
        case ("flowcontrol.apiserver.k8s.io", "v1beta2" | "v1beta3"):
            yield from earlier_flow_control.strategies(version)
        case ("networking.k8s.io", "v1alpha1"):
            yield in_version(ipaddresses.IPAddressStrategy, version)
            yield in_version(servicecidrs.ServiceCIDRStrategy, version)
        case ("resource.k8s.io", "v1"):
            yield in_version(optional_kinds.DeviceTaintRuleStrategy, version)
        case ("storage.k8s.io", "v1alpha1"):
            yield in_version(volumeattributesclasses.VolumeAttributesClassStrategy, version)
        case ("storagemigration.k8s.io", "v1"):
            yield in_version(optional_kinds.StorageVersionMigrationStrategy, version)
        case _:
            yield from optional_kinds.strategies(group, version)


WITH_VIEWS = (
    ("certificates.k8s.io", "v1"),
    ("flowcontrol.apiserver.k8s.io", "v1beta3"),
    ("flowcontrol.apiserver.k8s.io", "v1beta2"),
    ("resource.k8s.io", "v1"),
    ("storagemigration.k8s.io", "v1"),
)
"""The group versions that are on by default in some version, and show there what is stored as another."""
