"""Stopping things: a container with its pre-stop hook within a grace period, and a pod's containers in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from keelback.api import pods
from keelback.api.core_v1 import Pod
from keelback.cri.runtime import ContainerRuntimeError
from keelback.cri.values import ContainerState, ContainerStatus, SandboxState
from keelback.kubelet.observed import PodRuntime, is_running
from keelback.kubelet.plan import AnyContainer, Kill
from keelback.kubelet.probing import Answer, probe
from keelback.kubelet.services import NodeServices
from keelback.kubelet.starting import field_path

MINIMUM_GRACE_SECONDS = 2.0


def grace_of(pod: Pod, kill: Kill) -> float:
    """The grace of a container stopped by itself: a probe may have its own."""
    container = pods.container(pod.spec, kill.name)
    if pod.metadata.deletion_timestamp is None and container is not None and kill.cause:
        spec = container.liveness_probe if kill.cause == "liveness" else container.startup_probe
        if spec is not None and spec.termination_grace_period_seconds is not None:
            return float(spec.termination_grace_period_seconds)
    return float(pods.grace_period_seconds(pod))


async def kill_container(
    pod: Pod,
    status: ContainerStatus,
    message: str,
    grace_seconds: float,
    node: NodeServices,
    pod_ip: str,
    drained: asyncio.Task[None] | None = None,
) -> None:
    """Run the pre-stop hook, send the stop signal, and kill when the grace is over. Raises ContainerRuntimeError.

    The signal waits until the pod is `drained`, which goes on beside the hook and at the expense of the same grace.
    """
    name = status.container.name
    container = _spec(pod, name)
    text = message or f"Stopping container {name}"
    node.recorder.event(pod, "Normal", "Killing", text, container=field_path(pod, name))
    left = grace_seconds
    if container is not None and is_running(status) and grace_seconds > 0:
        began = node.clock.monotonic()
        await _pre_stop(pod, container, status.container.id, grace_seconds, node, pod_ip)
        if drained is not None:
            await asyncio.wait([drained])
        left -= node.clock.monotonic() - began
    # A hook that took all of the grace still leaves the process a moment to end by itself.
    left = max(left, MINIMUM_GRACE_SECONDS) if grace_seconds > 0 else 0.0
    await node.runtime.stop_container(status.container.id, left)


async def kill_by_id(
    pod: Pod, observed: PodRuntime, container_id: str, message: str, grace_seconds: float, node: NodeServices
) -> None:
    """Stop one container of the pod; one that is gone already is no matter."""
    ip = observed.ip_of(pod, node.config.node_ips)
    for one in observed.containers:
        if one.container.id == container_id:
            await kill_container(pod, one, message, grace_seconds, node, ip)


async def kill_pod(
    pod: Pod,
    observed: PodRuntime,
    grace_seconds: float,
    node: NodeServices,
    drained: asyncio.Task[None] | None = None,
) -> None:
    """Stop all containers, the sidecars after the others and in reverse order, then the sandboxes."""
    ip = observed.ip_of(pod, node.config.node_ips)
    began = node.clock.monotonic()
    sidecar_names = [one.name for one in pods.sidecars(pod.spec)]
    started = []
    for one in observed.running:
        if one.container.state == ContainerState.CREATED:
            # Its start was interrupted. There is nothing to stop, and a runtime told to stop it leaves it as it is.
            await node.runtime.remove_container(one.container.id)
        else:
            started.append(one)
    first = [one for one in started if one.container.name not in sidecar_names]
    await _all([kill_container(pod, one, "", grace_seconds, node, ip, drained) for one in first])
    for name in reversed(sidecar_names):
        left = max(0.0, grace_seconds - (node.clock.monotonic() - began))
        for one in started:
            if one.container.name == name:
                await kill_container(pod, one, "", max(left, MINIMUM_GRACE_SECONDS if grace_seconds else 0), node, ip)
    for each in observed.sandboxes:
        if each.sandbox.state == SandboxState.READY or each.ips:
            await node.runtime.stop_pod_sandbox(each.sandbox.id)


async def _all(kills: Sequence[object]) -> None:
    results = await asyncio.gather(*kills, return_exceptions=True)  # type: ignore[call-overload]
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def _pre_stop(
    pod: Pod, container: AnyContainer, container_id: str, grace_seconds: float, node: NodeServices, pod_ip: str
) -> None:
    hook = container.lifecycle.pre_stop if container.lifecycle is not None else None
    if hook is None:
        return
    answer = Answer(True)
    try:
        async with asyncio.timeout(grace_seconds):
            if hook.sleep is not None:
                await node.clock.sleep(hook.sleep.seconds)
            else:
                answer = await probe(hook, container, pod, container_id, pod_ip, node.runtime, grace_seconds)
    except TimeoutError:
        return
    except (ValueError, ContainerRuntimeError) as error:
        answer = Answer(False, str(error))
    if not answer.ok:
        message = f"PreStopHook failed: {answer.text}".rstrip(": ")
        node.recorder.event(pod, "Warning", "FailedPreStopHook", message, container=field_path(pod, container.name))


def _spec(pod: Pod, name: str) -> AnyContainer | None:
    every: tuple[AnyContainer, ...] = (*pods.all_containers(pod.spec), *pod.spec.ephemeral_containers)
    return next((one for one in every if one.name == name), None)
