"""The APIService of each group version that the server itself serves: what `kubectl get apiservices` lists.

They are registered when the server starts, as kube-apiserver does; groups of custom resources have none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from keelback.api.apiregistration_v1 import APIService, APIServiceCondition, APIServiceSpec, APIServiceStatus
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta, replace
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
}
_LABELS = {"kube-aggregator.kubernetes.io/automanaged": "onstart"}


def plan(existing: Iterable[APIService], now: datetime) -> Iterator[APIService]:
    """Those that are missing, with the status that they always have."""
    known = {(one.spec.group, one.spec.version) for one in existing}
    available = APIServiceCondition(
        type="Available",
        status="True",
        reason="Local",
        message="Local APIServices are always available",
        last_transition_time=now,
    )
    for (group, version), (group_priority, version_priority) in PRIORITIES.items():
        if (group, version) not in known:
            yield APIService(
                metadata=ObjectMeta(name=f"{version}.{group}", labels=_LABELS),
                spec=APIServiceSpec(
                    group=group,
                    version=version,
                    group_priority_minimum=group_priority,
                    version_priority=version_priority,
                ),
                status=APIServiceStatus(conditions=(available,)),
            )


async def ensure(client: Client, now: datetime) -> None:
    """Create what is missing; run it at every start."""
    for wanted in plan((await client.list(APIService)).items, now):
        with contextlib.suppress(errors.AlreadyExists):
            made = await client.create(wanted)
            await client.update(replace(made, status=wanted.status), subresource="status")
