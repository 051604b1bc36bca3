"""Letting the Services forget a pod before its containers are asked to stop.

Upstream sends the stop signal at once and leaves it to a pre-stop hook that no connection reaches a stopped server.
Here the signal waits, within the grace period, until every node's rules have let go of the pod.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Final

from keelback.api import pods
from keelback.api.core_v1 import Pod, Service
from keelback.kubelet.services import NodeServices

_SETTLE_SECONDS: Final = 0.1
_OTHER_PROXY: Final = "service.kubernetes.io/service-proxy-name"


async def drain(pod: Pod, grace_seconds: float, node: NodeServices) -> None:
    """Return when no Service sends new connections to the pod, or when that has taken half of its grace period.

    At once for a pod that is not Ready, has no Service, is not being deleted, or has no grace.
    """
    keys = services_of(pod, node.services())
    is_leaving = pod.metadata.deletion_timestamp is not None and not pods.is_static(pod)
    if not keys or not is_leaving or not pods.is_ready(pod) or grace_seconds <= 0:
        return
    began = node.clock.monotonic()
    has_left = False
    if node.endpoints is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(node.config.endpoint_drain_limit_seconds, grace_seconds / 2)):
                has_left = await node.endpoints.wait_left(pod.metadata.uid, keys)
                if not has_left:
                    await node.clock.sleep(min(node.config.endpoint_drain_seconds, grace_seconds / 4))
    else:
        await node.clock.sleep(min(node.config.endpoint_drain_seconds, grace_seconds / 4))
    if has_left:
        # Connections made just before are still being accepted, the more slowly the busier the machine is.
        took = node.clock.monotonic() - began
        await node.clock.sleep(min(max(_SETTLE_SECONDS, took), grace_seconds / 4))


def services_of(pod: Pod, services: Iterable[Service]) -> list[tuple[str, str]]:
    """The Services, by namespace and name, whose address may lead to the pod by way of the nodes' rules."""
    labels = pod.metadata.labels
    return [
        (service.metadata.namespace, service.metadata.name)
        for service in services
        if service.metadata.namespace == pod.metadata.namespace
        and service.spec.type != "ExternalName"
        and service.spec.cluster_ip not in {"", "None"}
        and _OTHER_PROXY not in service.metadata.labels
        and service.spec.selector
        and all(labels.get(name) == value for name, value in service.spec.selector.items())
    ]
