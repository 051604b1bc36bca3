"""Keeping one real node of this machine: its environment, its containerd, its images, and its `keelback node` process.

All of them outlive this process; the next one adopts what still runs and starts what does not.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from keelback import __version__
from keelback.bootstrap.addresses import ClusterAddresses
from keelback.bootstrap.cluster_state import Place
from keelback.bootstrap.containerd import PAUSE_IMAGE
from keelback.bootstrap.node_namespace import NodeEnvironment, NodeSpec
from keelback.bootstrap.pki import ClusterPKI, ensure_node_credentials
from keelback.bootstrap.processes import Process
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.network.fabric import Fabric

_RESTART_SECONDS = (0.2, 10.0)
_STEADY_SECONDS = 60.0
_STOP_SECONDS = 5.0
_log = logger("node-host")


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the `keelback node` process is told, in a file. Paths are as the node's mount namespace has them."""

    name: str
    address: str
    pod_cidr: str
    cluster_cidr: str
    server: str
    ca: Path
    client_certificate: Path
    client_key: Path
    serving_certificate: Path
    serving_key: Path
    proxy_certificate: Path
    proxy_key: Path
    runtime_socket: str
    cgroup_root: str
    gateway: str
    """Where the API server, the machine's name servers and the way out are."""
    dns_ip: str
    resolv_conf: Path
    kubelet_arguments: tuple[str, ...] = ()


class AgentProcess(Process, frozen=True):
    """A node's process, and a digest of what it was started with: flags, addresses, certificates, this program."""

    told: str = ""


def node_specs(place: Place, count: int, addresses: ClusterAddresses, egress_proxy: str) -> tuple[NodeSpec, ...]:
    """The nodes of a cluster."""
    return tuple(
        NodeSpec(
            name=f"node-{index}",
            index=index,
            pod_cidrs=(addresses.node_pods(index),),
            run_directory=place.run / f"node-{index}",
            data_directory=place.data / "nodes" / f"node-{index}",
            cgroup_parent=f"/keelback-{place.name}/node-{index}",
            egress_proxy=egress_proxy,
        )
        for index in range(count)
    )


@dataclass(slots=True)
class NodeHost:
    """One node, kept."""

    place: Place
    spec: NodeSpec
    specs: Sequence[NodeSpec]
    fabric: Fabric
    addresses: ClusterAddresses
    keys: ClusterPKI
    server: str
    kubelet_arguments: tuple[str, ...]
    clock: Clock
    tell: Callable[[str, str], None]
    """Told of the node's name and what it is doing."""

    async def run(self) -> None:
        """Make the node or adopt it, and keep its parts running until cancelled. Raises what `create` raises."""
        peers = [spec.attachment(self.fabric) for spec in self.specs if spec.index != self.spec.index]
        environment = await NodeEnvironment.create(self.spec, self.fabric, self.clock, peers)
        self.tell(self.spec.name, "Starting containerd")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_agent(environment))
            await environment.containerd.wait_ready()
            tasks.create_task(environment.containerd.supervise())
            self.tell(self.spec.name, "Loading images")
            await self._load_images(environment)
            self.tell(self.spec.name, "Starting kubelet")

    async def _load_images(self, environment: NodeEnvironment) -> None:
        from keelback.bootstrap import images, sample
        from keelback.cri.containerd import CRIRuntime
        from keelback.cri.values import ImageSpec

        builders = {PAUSE_IMAGE: images.pause_image, sample.IMAGE: sample.build}
        runtime = CRIRuntime(environment.socket, self.clock)
        try:
            for name, build in builders.items():
                if await runtime.image_status(ImageSpec(name)) is None:
                    image = await asyncio.to_thread(build)
                    await images.load(environment.socket, image, self.clock)
        finally:
            await runtime.close()

    async def _keep_agent(self, environment: NodeEnvironment) -> None:
        config = self._write_config(environment)
        delay_seconds, most_seconds = _RESTART_SECONDS
        while True:
            process = await self._adopted(config) or await self._start_agent(environment, config)
            began = self.clock.monotonic()
            while not await process.wait_gone(3600.0):
                pass
            if self.clock.monotonic() - began > _STEADY_SECONDS:
                delay_seconds = _RESTART_SECONDS[0]
            _log.warning("A node's process ended and is started again", node=self.spec.name)
            await self.clock.sleep(delay_seconds)
            delay_seconds = min(delay_seconds * 2, most_seconds)

    @property
    def _record(self) -> Path:
        return self.spec.run_directory / "agent.json"

    async def _adopted(self, config: Path) -> Process | None:
        """The process that runs already. One that was told other things is ended: its containers go on without it."""
        try:
            process = msgspec.json.decode(self._record.read_bytes(), type=AgentProcess)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        if not process.is_alive():
            return None
        if process.told == _digest(config):
            return process
        _log.info("A node's process is started anew, with what it is to be told now", node=self.spec.name)
        await process.stop(_STOP_SECONDS)
        return None

    async def _start_agent(self, environment: NodeEnvironment, config: Path) -> Process:
        arguments = [sys.executable, "-m", "keelback.cli.main", "node", "--config", str(config)]
        with self.place.node_log(self.spec.name).open("ab") as output:
            child = await environment.run(arguments, environment=os.environ, output=output)
        process = msgspec.structs.replace(AgentProcess.of(child.pid), told=_digest(config))
        self.place.write(self._record, process)
        return process

    def _write_config(self, environment: NodeEnvironment) -> Path:
        name, address, gateway = self.spec.name, str(environment.address), str(self.fabric.plan.gateway)
        held = ensure_node_credentials(self.keys, name, self.clock.now(), addresses=(address,))
        resolv_conf = self.spec.data_directory / "resolv.conf"
        resolv_conf.write_text(f"nameserver {gateway}\n")
        path = self.spec.data_directory / "node.json"
        config = AgentConfig(
            name=name,
            address=address,
            pod_cidr=self.spec.pod_cidrs[0],
            cluster_cidr=str(self.addresses.pods),
            server=self.server,
            ca=self.keys.ca.certificate_path,
            client_certificate=held.client.certificate_path,
            client_key=held.client.key_path,
            serving_certificate=held.serving.certificate_path,
            serving_key=held.serving.key_path,
            proxy_certificate=self.keys.proxy.certificate_path,
            proxy_key=self.keys.proxy.key_path,
            runtime_socket=str(environment.socket),
            cgroup_root=self.spec.cgroup_parent,
            gateway=gateway,
            dns_ip=self.addresses.dns_ip,
            resolv_conf=resolv_conf,
            kubelet_arguments=self.kubelet_arguments,
        )
        self.place.write(path, config)
        return path


def _digest(config: Path) -> str:
    """Of the config and of the certificates it names, which keep their paths when they are issued anew."""
    content = config.read_bytes()
    told = msgspec.json.decode(content, type=AgentConfig, dec_hook=lambda kind, text: kind(text))
    digest = hashlib.sha256(__version__.encode())
    certificates = (told.ca, told.client_certificate, told.serving_certificate, told.proxy_certificate)
    for part in (content, *(path.read_bytes() for path in certificates)):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()
