"""The APIService of each group version that the server itself serves: what `kubectl get apiservices` lists.

They are registered when the server starts, as kube-apiserver does, and made again what they were, unless somebody has
taken their label away. Groups of custom resources have their own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterable, Iterator, Mapping
from datetime import datetime

from keelback.api.apiregistration_v1 import APIService, APIServiceSpec, APIServiceStatus
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.apiserver import api_service_status
from keelback.client import Client

# (group, version): the least priority of the group, the priority of the version in it; as in kube-apiserver.
PRIORITIES: Mapping[tuple[str, str], tuple[int, int]] = {
    ("", "v1"): (18000, 1),
    ("apps", "v1"): (17800, 15),
    ("events.k8s.io", "v1"): (17750, 15),
    ("authentication.k8s.io", "v1"): (17700, 15),
    ("authorization.k8s.io", "v1"): (17600, 15),
    ("autoscaling", "v1"): (17500, 15),
    ("autoscaling", "v2"): (17500, 30),
    ("batch", "v1"): (17400, 15),
    ("certificates.k8s.io", "v1"): (17300, 15),
    ("networking.k8s.io", "v1"): (17200, 15),
    ("policy", "v1"): (17100, 15),
    ("rbac.authorization.k8s.io", "v1"): (17000, 15),
    ("storage.k8s.io", "v1"): (16800, 15),
    ("apiextensions.k8s.io", "v1"): (16700, 15),
    ("admissionregistration.k8s.io", "v1"): (16700, 15),
    ("scheduling.k8s.io", "v1"): (16600, 15),
    ("coordination.k8s.io", "v1"): (16500, 15),
    ("node.k8s.io", "v1"): (16300, 15),
    ("discovery.k8s.io", "v1"): (16200, 12),
    ("flowcontrol.apiserver.k8s.io", "v1"): (16100, 21),
    ("resource.k8s.io", "v1"): (15900, 15),
    ("certificates.k8s.io", "v1beta1"): (17300, 12),
    ("certificates.k8s.io", "v1alpha1"): (17300, 1),
    ("networking.k8s.io", "v1beta1"): (17200, 12),
    ("storage.k8s.io", "v1beta1"): (16800, 9),
    ("admissionregistration.k8s.io", "v1beta1"): (16700, 12),
    ("admissionregistration.k8s.io", "v1alpha1"): (16700, 9),
    ("scheduling.k8s.io", "v1alpha2"): (16600, 9),
    ("coordination.k8s.io", "v1beta1"): (16500, 12),
    ("coordination.k8s.io", "v1alpha2"): (16500, 9),
    ("internal.apiserver.k8s.io", "v1alpha1"): (16000, 9),
    ("resource.k8s.io", "v1beta2"): (15900, 12),
    ("resource.k8s.io", "v1beta1"): (15900, 10),
    ("resource.k8s.io", "v1alpha3"): (15900, 9),
    ("storagemigration.k8s.io", "v1beta1"): (15800, 9),
    ("storagemigration.k8s.io", "v1"): (15800, 15),
    ("flowcontrol.apiserver.k8s.io", "v1beta3"): (16100, 18),
    ("flowcontrol.apiserver.k8s.io", "v1beta2"): (16100, 15),
    ("authentication.k8s.io", "v1beta1"): (17700, 9),
    ("authentication.k8s.io", "v1alpha1"): (17700, 1),
    ("networking.k8s.io", "v1alpha1"): (17200, 1),
    ("storage.k8s.io", "v1alpha1"): (16800, 1),
    # As metrics-server's own: after all that is built in.
    ("metrics.k8s.io", "v1beta1"): (100, 100),
}
LABEL = "kube-aggregator.kubernetes.io/automanaged"
_LABELS = {LABEL: "onstart"}
# Whoever installs a metrics-server replaces it; `kubectl apply` would leave the label there.
_LEFT_ALONE = frozenset({("metrics.k8s.io", "v1beta1")})


def always_available(now: datetime) -> APIServiceStatus:
    """The status of an APIService that is this server's own."""
    return APIServiceStatus(conditions=(api_service_status.local(now),))


def wanted(group: str, version: str) -> APIService:
    """The APIService of a built-in group version."""
    group_priority, version_priority = PRIORITIES[group, version]
    return APIService(
        metadata=ObjectMeta(name=f"{version}.{group}", labels={} if (group, version) in _LEFT_ALONE else _LABELS),
        spec=APIServiceSpec(
            group=group,
            version=version,
            group_priority_minimum=group_priority,
            version_priority=version_priority,
        ),
    )


def plan(existing: Iterable[APIService], now: datetime, served: Container[tuple[str, str]]) -> Iterator[APIService]:
    """Those that are missing of the versions that are served, with the status that they always have."""
    known = {(one.spec.group, one.spec.version) for one in existing}
    status = always_available(now)
    for place in PRIORITIES:
        if place not in known and place in served:
            yield replace(wanted(*place), status=status)


def strayed(existing: Iterable[APIService], served: Container[tuple[str, str]]) -> Iterator[APIService]:
    """Those that say otherwise than a server makes them, and are still its own, as they should be."""
    for one in existing:
        place = (one.spec.group, one.spec.version)
        if one.metadata.labels.items() >= _LABELS.items() and place in PRIORITIES and place in served:
            spec = wanted(*place).spec
            if one.spec != spec:
                yield replace(one, spec=spec)


def outlived(existing: Iterable[APIService], served: Container[tuple[str, str]]) -> Iterator[APIService]:
    """Those that a server has made for versions which it serves no more."""
    for one in existing:
        place = (one.spec.group, one.spec.version)
        is_made_here = one.metadata.labels.items() >= _LABELS.items() and one.spec.service is None
        if is_made_here and place in PRIORITIES and place not in served:
            yield one


async def ensure(client: Client, now: datetime, served: Container[tuple[str, str]]) -> None:
    """Create what is missing and delete what has outlived its version; run it at every start."""
    existing = (await client.list(APIService)).items
    for missing in plan(existing, now, served):
        # Another server may do the same.
        with contextlib.suppress(errors.AlreadyExists, errors.Conflict):
            made = await client.create(missing)
            await client.update(replace(made, status=missing.status), subresource="status")
    for one in strayed(existing, served):
        with contextlib.suppress(errors.NotFound, errors.Conflict):
            await client.update(one)
    for one in outlived(existing, served):
        with contextlib.suppress(errors.NotFound):
            await client.delete(APIService, one.metadata.name)
