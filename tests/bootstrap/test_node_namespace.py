"""A node in namespaces: found again after any end, its pods reach those of others, and nothing of it stays behind."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import shutil
import signal
import tarfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from keelback.bootstrap import cgroups, images, sample
from keelback.bootstrap.containerd import ContainerdError
from keelback.bootstrap.node_namespace import NodeEnvironment, NodeEnvironmentError, NodeSpec, destroy_remains
from keelback.concurrency.clock import SystemClock
from keelback.cri.containerd import CRIRuntime
from keelback.cri.runtime import Unavailable
from keelback.cri.values import ContainerConfig, ContainerState, ImageSpec, PodSandboxConfig, SandboxState
from keelback.network import namespaces
from keelback.network.fabric import Fabric

pytestmark = [
    pytest.mark.containers,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("containerd") is None, reason="needs root and containerd"),
]
CLOCK = SystemClock()


class Place:
    """Where one test's nodes live."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.run = Path("/run/keelback") / name
        self.data = Path("/var/tmp/keelback") / name
        self.fabric = Fabric(self.run / "fabric")

    def spec(self, index: int) -> NodeSpec:
        name = f"node-{index}"
        return NodeSpec(
            name=name,
            index=index,
            pod_cidrs=(f"10.244.{index}.0/24",),
            run_directory=self.run / name,
            data_directory=self.data / name,
            cgroup_parent=f"/{self.name}/{name}",
        )

    async def node(self, index: int) -> NodeEnvironment:
        peers = [self.spec(other).attachment(self.fabric) for other in range(3)]
        return await NodeEnvironment.create(self.spec(index), self.fabric, CLOCK, peers)

    async def loaded(self, index: int) -> NodeEnvironment:
        node = await self.node(index)
        await node.containerd.wait_ready()
        for image in (images.pause_image(), sample.build()):
            await images.load(node.socket, image, CLOCK)
        return node

    def remains(self) -> list[str]:
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if self.name in line]
        groups = [str(mount / self.name) for mount, _ in cgroups.hierarchies() if (mount / self.name).exists()]
        processes = []
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                if self.name.encode() in (directory / "cmdline").read_bytes():
                    processes.append(str(directory))
            except OSError:
                continue
        return mounts + groups + processes


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    place = Place(f"kbtest-{os.getpid()}")
    links = sorted(os.listdir("/sys/class/net"))
    place.fabric.create()
    yield place

    async def clear() -> None:
        for index in range(3):
            await destroy_remains(place.spec(index).run_directory, place.fabric)
        place.fabric.destroy()

    asyncio.run(clear())
    shutil.rmtree(place.run, ignore_errors=True)
    shutil.rmtree(place.data, ignore_errors=True)
    assert place.remains() == []
    assert sorted(os.listdir("/sys/class/net")) == links


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def body() -> None:
        async with asyncio.timeout(90):
            await scenario()

    asyncio.run(body())


async def start_pod(node: NodeEnvironment, name: str, image: str = sample.IMAGE) -> tuple[str, str, str]:
    """Sandbox, container and address of a pod of one image."""
    runtime = CRIRuntime(node.socket)
    config = PodSandboxConfig(
        name, "default", f"uid-{name}", hostname=name, cgroup_parent=f"{node.spec.cgroup_parent}/k"
    )
    sandbox_id = await runtime.run_pod_sandbox(config)
    container_id = await runtime.create_container(sandbox_id, ContainerConfig("c", ImageSpec(image)), config)
    await runtime.start_container(container_id)
    (address,) = (await runtime.pod_sandbox_status(sandbox_id)).ips
    await runtime.close()
    return sandbox_id, container_id, address


async def back(runtime: CRIRuntime) -> None:
    """Wait until a client made before the runtime's end has found the new one."""
    while True:
        try:
            await runtime.version()
            return
        except Unavailable:
            await asyncio.sleep(0.01)


async def fetch(netns: Path, address: str, port: int = sample.PORT) -> str:
    """What a web server says, asked from a network namespace."""
    while True:
        try:
            connection = await namespaces.connect_in(netns, address, port)
            break
        except ConnectionRefusedError:
            await asyncio.sleep(0.005)
    reader, writer = await asyncio.open_connection(sock=connection)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.decode().rpartition("\r\n\r\n")[2].strip()


def test_a_node_has_its_own_of_everything(place: Place) -> None:
    async def scenario() -> None:
        node = await place.node(0)
        script = "hostname; cat /proc/1/comm; ip -4 -o address show eth0; cat /proc/mounts"
        said = await node.check(["sh", "-c", script])
        assert said.startswith("node-0\n")
        assert "\npause\n" in said
        assert f" {node.address}/16 " in said
        assert not cgroups.is_hybrid() or "cgroup2" not in said
        await node.destroy()
        assert not node.spec.data_directory.exists()
        assert not node.is_alive

    run(scenario)


def test_the_same_node_is_adopted_by_whoever_comes_next(place: Place) -> None:
    async def scenario() -> None:
        first = await place.loaded(0)
        sandbox_id, container_id, address = await start_pod(first, "web")
        second = await place.node(0)
        assert second.init == first.init
        assert second.containerd.process == first.containerd.process
        assert await fetch(place.fabric.path, address) == "web"
        second.containerd.kill()
        third = await place.node(0)
        await third.containerd.wait_ready()
        assert third.containerd.process != second.containerd.process
        runtime = CRIRuntime(third.socket)
        assert (await runtime.pod_sandbox_status(sandbox_id)).sandbox.state is SandboxState.READY
        assert (await runtime.container_status(container_id)).container.state is ContainerState.RUNNING
        assert (await runtime.exec_sync(container_id, ["hostname"], 10)).stdout == b"web\n"
        await runtime.close()

    run(scenario)


def test_a_dead_containerd_is_started_again_and_its_pods_never_notice(place: Place) -> None:
    async def scenario() -> None:
        node = await place.loaded(0)
        _, container_id, address = await start_pod(node, "web")
        restarted = asyncio.Event()

        async def note() -> None:
            restarted.set()

        runtime = CRIRuntime(node.socket)
        events = runtime.events()
        broken = asyncio.ensure_future(anext(events))
        await runtime.version()
        supervisor = asyncio.ensure_future(node.containerd.supervise(note))
        node.containerd.kill()
        assert await fetch(place.fabric.path, address) == "web"
        await restarted.wait()
        with pytest.raises(Unavailable):
            await broken
        await back(runtime)
        assert (await runtime.container_status(container_id)).container.state is ContainerState.RUNNING
        supervisor.cancel()
        await runtime.close()

    run(scenario)


def test_a_node_whose_pid_1_was_killed_comes_back_with_its_images(place: Place) -> None:
    async def scenario() -> None:
        node = await place.loaded(0)
        sandbox_id, _, _ = await start_pod(node, "web")
        node.init.send(signal.SIGKILL)
        assert await node.init.wait_gone(10)
        again = await place.node(0)
        assert again.init != node.init
        await again.containerd.wait_ready()
        runtime = CRIRuntime(again.socket)
        assert await runtime.image_status(ImageSpec(sample.IMAGE)) is not None
        assert (await runtime.pod_sandbox_status(sandbox_id)).sandbox.state is SandboxState.NOT_READY
        await runtime.remove_pod_sandbox(sandbox_id)
        await runtime.close()
        _, _, address = await start_pod(again, "web")
        assert await fetch(place.fabric.path, address) == "web"

    run(scenario)


def test_pods_of_three_nodes_reach_one_another_and_a_cut_off_node_is_alone(place: Place) -> None:
    async def scenario() -> None:
        nodes = await asyncio.gather(*(place.loaded(index) for index in range(3)))
        pods = await asyncio.gather(*(start_pod(node, f"web-{index}") for index, node in enumerate(nodes)))
        inside = [Path(f"/proc/{node.init.pid}/ns/net") for node in nodes]
        for netns in (*inside, place.fabric.path):
            said = await asyncio.gather(*(fetch(netns, address) for _, _, address in pods))
            assert said == ["web-0", "web-1", "web-2"]
        await nodes[1].set_connected(False)
        with pytest.raises((TimeoutError, OSError)):
            await namespaces.connect_in(inside[0], pods[1][2], sample.PORT, timeout_seconds=0.5)
        assert await fetch(inside[0], pods[2][2]) == "web-2"
        await nodes[1].set_connected(True)
        assert await fetch(inside[0], pods[1][2]) == "web-1"

    run(scenario)


def test_a_failed_start_names_the_step_and_leaves_nothing(place: Place) -> None:
    async def scenario() -> None:
        place.fabric.destroy()
        with pytest.raises(NodeEnvironmentError, match="node-0"):
            await place.node(0)
        assert place.remains() == []
        place.fabric.create()
        node = await place.node(0)
        await node.containerd.stop()
        node.containerd.configuration.write_text("version = 2\nnonsense")
        with pytest.raises(ContainerdError, match="ended while starting"):
            await node.containerd.start()

    run(scenario)


def test_two_clusters_may_use_the_same_addresses(place: Place) -> None:
    async def scenario() -> None:
        other = Place(f"{place.name}-b")
        other.fabric.create()
        try:
            ours, theirs = await asyncio.gather(place.node(0), other.node(0))
            assert ours.address == theirs.address
            assert ours.init != theirs.init
            await theirs.destroy()
            assert ours.is_alive
        finally:
            await destroy_remains(other.spec(0).run_directory, other.fabric)
            other.fabric.destroy()
            shutil.rmtree(other.run, ignore_errors=True)
            shutil.rmtree(other.data, ignore_errors=True)

    run(scenario)


def test_a_node_that_was_never_written_down_is_found_and_replaced(place: Place) -> None:
    async def scenario() -> None:
        lost = await place.node(0)
        (lost.spec.run_directory / "node.json").unlink()
        node = await place.node(0)
        assert not lost.is_alive
        assert node.is_alive
        # The same for a containerd: two on one root would wait for each other.
        (node.spec.run_directory / "containerd.json").unlink()
        again = await place.node(0)
        assert again.containerd.process == node.containerd.process

    run(scenario)


def test_a_record_of_another_boot_is_nobody(place: Place) -> None:
    async def scenario() -> None:
        node = await place.node(0)
        record = node.spec.run_directory / "node.json"
        before = record.read_text()
        record.write_text(before.replace(node.init.boot_id, "another-boot"))
        assert await NodeEnvironment.adopt(replace(node.spec), place.fabric, CLOCK) is None
        record.write_text(before)
        await node.destroy()

    run(scenario)


def test_images_of_docker_save_are_loaded(place: Place) -> None:
    def saved() -> bytes:
        """The sample as `docker save` writes it."""
        with tarfile.open(fileobj=io.BytesIO(sample.build())) as archive:
            files = {name: file.read() for name in archive.getnames() if (file := archive.extractfile(name))}
        blobs = {name.rpartition("/")[2]: content for name, content in files.items() if name.startswith("blobs/")}
        index = json.loads(files["index.json"])
        manifest = json.loads(blobs[index["manifests"][0]["digest"].removeprefix("sha256:")])
        layer = gzip.decompress(blobs[manifest["layers"][0]["digest"].removeprefix("sha256:")])
        config = blobs[manifest["config"]["digest"].removeprefix("sha256:")]
        listed = [{"Config": "config.json", "RepoTags": ["saved:1"], "Layers": ["layer/layer.tar"]}]
        content = {"config.json": config, "layer/layer.tar": layer, "manifest.json": json.dumps(listed).encode()}
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, data in content.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        return buffer.getvalue()

    async def scenario() -> None:
        node = await place.loaded(0)
        assert await images.load(node.socket, saved(), CLOCK) == ["docker.io/library/saved:1"]
        _, _, address = await start_pod(node, "web", "saved:1")
        assert await fetch(place.fabric.path, address) == "web"
        with pytest.raises(images.ImageError, match="image archive"):
            await images.load(node.socket, b"nothing", CLOCK)

    run(scenario)


def test_a_package_is_built_loaded_and_served(place: Place) -> None:
    async def scenario() -> None:
        site = {
            "/etc/nginx/sites-enabled/default": images.File.link("/etc/nginx/sites-available/default"),
            "/var/www/html/index.html": images.File(b"from a package"),
        }
        config = images.ImageConfig(command=("nginx", "-g", "daemon off;"), ports=(80,))
        built = asyncio.to_thread(images.from_packages, "nginx:1", ["nginx-light"], config, files=site)
        node, image = await asyncio.gather(place.loaded(0), built)
        await images.load(node.socket, image, CLOCK)
        _, _, address = await start_pod(node, "web", "nginx:1")
        assert await fetch(place.fabric.path, address, 80) == "from a package"

    run(scenario)
