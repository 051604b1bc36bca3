"""The sample application: three replicas behind a Service, deployed and called as a user's would be."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import msgspec

from keelback.api.apps_v1 import Deployment, DeploymentSpec
from keelback.api.core_v1 import (
    Container,
    ContainerPort,
    HTTPGetAction,
    PodSpec,
    PodTemplateSpec,
    Probe,
    Service,
    ServicePort,
    ServiceSpec,
)
from keelback.apimachinery import errors
from keelback.apimachinery.meta import LabelSelector, Object, ObjectMeta
from keelback.bootstrap import sample
from keelback.bootstrap.cluster_state import ClusterError, Place, Settings
from keelback.bootstrap.processes import Process
from keelback.bootstrap.progress import Progress
from keelback.client import Client, kubeconfig
from keelback.concurrency.clock import Clock
from keelback.network import namespaces

NAME = "hello"
REPLICAS = 3
READY_SECONDS = 60.0
ANSWER_SECONDS = 10.0
_LABELS = {"app": NAME}


class _NodeRecord(msgspec.Struct):
    """As much of a node's record as is needed to enter its network."""

    init: Process


def objects() -> tuple[Object, Object]:
    """The Deployment and its Service."""
    container = Container(
        name=NAME,
        image=sample.IMAGE,
        image_pull_policy="IfNotPresent",
        ports=(ContainerPort(container_port=sample.PORT),),
        readiness_probe=Probe(http_get=HTTPGetAction(port=sample.PORT), period_seconds=1),
    )
    template = PodTemplateSpec(metadata=ObjectMeta(labels=_LABELS), spec=PodSpec(containers=(container,)))
    deployment = Deployment(
        metadata=ObjectMeta(name=NAME, namespace="default", labels=_LABELS),
        spec=DeploymentSpec(replicas=REPLICAS, selector=LabelSelector(match_labels=_LABELS), template=template),
    )
    service = Service(
        metadata=ObjectMeta(name=NAME, namespace="default", labels=_LABELS),
        spec=ServiceSpec(selector=_LABELS, ports=(ServicePort(port=80, target_port=sample.PORT),)),
    )
    return deployment, service


async def deploy_and_call(place: Place, settings: Settings, progress: Progress, clock: Clock) -> str:
    """Deploy, wait until all replicas are Ready, and call the Service; its answer, empty where nodes are simulated.

    Raises ClusterError when the replicas do not become Ready in time or the Service does not answer.
    """
    transport = kubeconfig.transport(kubeconfig.load(place.kubeconfig), clock)
    try:
        client = Client(transport)
        for obj in objects():
            with contextlib.suppress(errors.AlreadyExists):
                await client.create(obj)
        progress.done(f"Deployment {NAME} asks for {REPLICAS} replicas, Service {NAME} stands before them")
        await _wait_ready(client, progress, clock)
        service = await client.get(Service, NAME, "default")
    finally:
        await transport.close()
    if settings.simulated:
        return ""
    answer = await _call(place, service.spec.cluster_ip, clock)
    progress.done(f"Called http://{service.spec.cluster_ip}/ from a node")
    return answer


async def _wait_ready(client: Client, progress: Progress, clock: Clock) -> None:
    deadline = clock.monotonic() + READY_SECONDS
    while True:
        status = (await client.get(Deployment, NAME, "default")).status
        if status.ready_replicas >= REPLICAS and status.updated_replicas >= REPLICAS:
            progress.done(f"{status.ready_replicas} of {REPLICAS} replicas are Ready")
            return
        if clock.monotonic() > deadline:
            raise ClusterError(
                f"only {status.ready_replicas} of {REPLICAS} replicas became Ready within {READY_SECONDS:.0f} s: "
                f"see `kubectl describe pods -l app={NAME}`"
            )
        progress.doing(f"{status.ready_replicas} of {REPLICAS} replicas are Ready")
        await clock.sleep(0.05)


async def _call(place: Place, address: str, clock: Clock) -> str:
    """GET / of an address that only nodes and pods can reach."""
    record = msgspec.json.decode((place.run / "node-0" / "node.json").read_bytes(), type=_NodeRecord)
    network = Path("/proc", str(record.init.pid), "ns", "net")
    deadline = clock.monotonic() + ANSWER_SECONDS
    while True:
        try:
            return await _get(network, address)
        except (OSError, TimeoutError) as error:
            # The node's proxy hears of Ready endpoints a moment after the Deployment does.
            if clock.monotonic() > deadline:
                raise ClusterError(f"the Service at {address} does not answer: {error}") from error
        await clock.sleep(0.05)


async def _get(network: Path, address: str) -> str:
    connection = await namespaces.connect_in(network, address, 80)
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(sock=connection)
        writer.write(f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
    return answer.partition(b"\r\n\r\n")[2].decode().strip()


def next_steps(place: Place, settings: Settings) -> str:
    """What to type next."""
    steps = [
        "kubectl get pods -o wide",
        f"kubectl scale deployment {NAME} --replicas=5",
        f"kubectl port-forward service/{NAME} 8080:80     # then open http://127.0.0.1:8080",
        f"keelback down --name {place.name}",
    ]
    if settings.simulated:
        steps.pop(2)
    return "What to type next:\n" + "\n".join(f"  {step}" for step in steps)
