"""A node as a set of namespaces: its own network, mounts, host name, IPC and processes, held by a reaping pid 1.

Every node is one, a single node too, so that the machine's own namespaces are never altered. What a node is made of
stands in its run directory (processes by pid and start time), so that whoever comes next, after whatever end, finds
it again (`adopt`) or clears it away (`destroy`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import IO

import msgspec

from keelback.bootstrap import cgroups, packages, pause
from keelback.bootstrap.containerd import Containerd, ContainerdConfig, may_lower_oom_score, oci_runtime, render
from keelback.bootstrap.processes import Process, running
from keelback.concurrency.clock import Clock
from keelback.network import cni, namespaces
from keelback.network.fabric import Attachment, Fabric
from keelback.network.namespaces import NODE, Namespaces

_END_SECONDS = 10.0
_END_STEPS = 2000
_PROGRAM = "pause"


class NodeEnvironmentError(Exception):
    """A node's environment could not be made; the text says which step failed and why."""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """What is asked for. Both directories are the node's own."""

    name: str
    index: int
    """Decides the node's address on the fabric."""
    pod_cidrs: tuple[str, ...]
    run_directory: Path
    """Short (a socket's path has 107 characters), ignored after a reboot: `/run/keelback/CLUSTER/NODE`."""
    data_directory: Path
    """Images, containers, volumes and logs: kept until the cluster goes."""
    cgroup_parent: str
    """Above all of the node's cgroups, as `/keelback-CLUSTER/NODE`."""
    egress_proxy: str = ""
    """A proxy's URL for image pulls: a node's own network ends at the fabric."""
    registries: Path | None = None

    def attachment(self, fabric: Fabric) -> Attachment:
        first = next(IPv4Network(cidr) for cidr in self.pod_cidrs if ":" not in cidr)
        return Attachment(self.name, fabric.plan.node_address(self.index), first)


class _Record(msgspec.Struct, frozen=True):
    """What must be known to find or end a node without its spec."""

    name: str
    init: Process
    cgroup_parent: str
    link: str


@dataclass(slots=True)
class NodeEnvironment:
    """A node that exists. `create` and `adopt` make these."""

    spec: NodeSpec
    fabric: Fabric
    init: Process
    containerd: Containerd

    @classmethod
    async def create(
        cls, spec: NodeSpec, fabric: Fabric, clock: Clock, peers: Sequence[Attachment] = ()
    ) -> NodeEnvironment:
        """Make the node, or adopt the one that is there, and start its containerd without waiting for it.

        `NodeEnvironmentError` names what failed; nothing half-made stays behind then.
        """
        adopted = await cls.adopt(spec, fabric, clock)
        if adopted is not None:
            return adopted
        await destroy_remains(spec.run_directory, fabric)
        try:
            return await asyncio.to_thread(cls._create, spec, fabric, clock, tuple(peers))
        except (OSError, subprocess.SubprocessError, KeyError) as error:
            with contextlib.suppress(OSError):
                await destroy_remains(spec.run_directory, fabric)
            raise NodeEnvironmentError(f"node {spec.name}: {_explain(error)}") from error

    @classmethod
    async def adopt(cls, spec: NodeSpec, fabric: Fabric, clock: Clock) -> NodeEnvironment | None:
        """The node an earlier process made, with its containerd if that still runs; None when its pid 1 is gone."""
        record = _read_record(spec.run_directory)
        if record is None or not _is_usable(record.init) or not fabric.exists():
            return None
        environment = cls(spec, fabric, record.init, _containerd(spec, record.init, clock))
        environment.containerd.adopt()
        environment.containerd.launch()
        return environment

    @classmethod
    def _create(cls, spec: NodeSpec, fabric: Fabric, clock: Clock, peers: Sequence[Attachment]) -> NodeEnvironment:
        layout = Layout(spec)
        layout.make()
        program = spec.run_directory / _PROGRAM
        program.write_bytes(pause.executable(platform.machine()))
        program.chmod(0o755)
        child = namespaces.within_new(NODE, lambda: _become_node(spec.name, program, layout.binds()))
        namespaces.reap(child)
        init = Process.of(child.pid)
        attachment = spec.attachment(fabric)
        _write_record(
            spec.run_directory,
            _Record(name=spec.name, init=init, cgroup_parent=spec.cgroup_parent, link=attachment.link),
        )
        layout.write_configuration()
        containerd = _containerd(spec, init, clock)
        # containerd's start is the longest of it all, and needs no network yet.
        containerd.launch()
        fabric.attach(attachment, child.pid, peers)
        return cls(spec, fabric, init, containerd)

    @property
    def address(self) -> IPv4Address:
        """The node's InternalIP."""
        return self.spec.attachment(self.fabric).address

    @property
    def attachment(self) -> Attachment:
        return self.spec.attachment(self.fabric)

    @property
    def inside(self) -> Namespaces:
        return Namespaces.of(self.init.pid)

    @property
    def socket(self) -> Path:
        """The CRI socket, as named both outside and inside the node."""
        return self.containerd.socket

    @property
    def is_alive(self) -> bool:
        return _is_usable(self.init)

    async def run(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        output: IO[bytes] | int = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        """Start a program inside, a child in a session of its own; it ends with the node at the latest."""
        return await asyncio.to_thread(
            lambda: namespaces.spawn(self.inside, argv, environment=environment, output=output, pass_fds=pass_fds)
        )

    async def check(self, argv: Sequence[str], *, text: str = "", timeout_seconds: float = 30.0) -> str:
        """Run a program inside to its end; its output. `CalledProcessError` when it fails."""
        return await asyncio.to_thread(
            lambda: namespaces.run(self.inside, argv, text=text, timeout_seconds=timeout_seconds)
        )

    async def set_connected(self, connected: bool) -> None:
        """Cut the node off from the fabric, or connect it again."""
        await asyncio.to_thread(self.fabric.set_connected, self.attachment.link, connected)

    async def set_peers(self, peers: Sequence[Attachment]) -> None:
        """Tell the node the way to the pods of the others."""
        await asyncio.to_thread(self.fabric.set_peers, self.attachment, self.init.pid, tuple(peers))

    async def destroy(self, *, keep_data: bool = False) -> None:
        """End every process of the node and leave nothing of it; its data too, unless it is to be kept."""
        await destroy_remains(self.spec.run_directory, self.fabric)
        if not keep_data:
            await asyncio.to_thread(shutil.rmtree, self.spec.data_directory, True)


async def destroy_remains(run_directory: Path, fabric: Fabric | None = None) -> None:
    """End what stands written in a node's run directory, whoever made it. Nothing happens if there is nothing."""
    record = _read_record(run_directory)
    # Whoever was killed between making a node and writing it down left a pid 1 that only its program's path tells of.
    unrecorded = await asyncio.to_thread(running, run_directory / _PROGRAM)
    for init in {*unrecorded, *([record.init] if record is not None else [])}:
        if not await _end(init):
            raise NodeEnvironmentError(f"node {run_directory.name}: its processes do not end (pid {init.pid})")
    if record is not None:
        if fabric is not None and fabric.exists():
            await asyncio.to_thread(fabric.remove_link, record.link)
        await asyncio.to_thread(cgroups.remove_tree, record.cgroup_parent)
    await asyncio.to_thread(shutil.rmtree, run_directory, True)


async def set_connected(run_directory: Path, fabric: Fabric, connected: bool) -> bool:
    """Cut off or connect again the node of a run directory, whoever made it. False when no such node runs."""
    record = _read_record(run_directory)
    if record is None or not _is_usable(record.init) or not fabric.exists():
        return False
    await asyncio.to_thread(fabric.set_connected, record.link, connected)
    return True


async def _end(init: Process) -> bool:
    """End a node's pid 1: the kernel ends every process of the namespace with it, and the mounts and links with those.

    Zombies count as ended. One whose parent was killed stays until somebody reaps it, which on a machine with a poor
    pid 1 may be never, and until then the node's own pid 1 is neither alive nor gone.
    """
    members = await asyncio.to_thread(_members, init)
    init.send(signal.SIGKILL)
    ends = await asyncio.gather(*(member.wait_gone(_END_SECONDS) for member in members))
    for _ in range(_END_STEPS):
        if not _is_usable(init):
            return all(ends)
        await asyncio.sleep(_END_SECONDS / _END_STEPS)
    return False


def _is_usable(init: Process) -> bool:
    """Whether a pid 1 is alive and its namespaces can be entered."""
    return init.is_alive() and Path(f"/proc/{init.pid}/ns/net").exists()


def _members(init: Process) -> list[Process]:
    """The other processes of a pid namespace; those of containers, in namespaces below it, are not among them."""
    found = []
    try:
        namespace = os.stat(f"/proc/{init.pid}/ns/pid").st_ino
    except OSError:
        return []
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit() or int(directory.name) == init.pid:
            continue
        with contextlib.suppress(OSError):
            if os.stat(directory / "ns" / "pid").st_ino == namespace:
                found.append(Process.of(int(directory.name)))
    return found


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things of a node are, outside and inside."""

    spec: NodeSpec

    @property
    def containerd_state(self) -> Path:
        return self.spec.run_directory / "containerd"

    @property
    def configuration(self) -> Path:
        return self.spec.data_directory / "containerd.toml"

    def binds(self) -> list[tuple[Path, Path]]:
        """What of the node's own lies over the machine's directories, inside."""
        data = self.spec.data_directory
        return [
            (self.spec.run_directory / "netns", Path("/run/netns")),
            (data / "cni" / "cache", Path("/var/lib/cni")),
            (data / "kubelet", Path("/var/lib/kubelet")),
            (data / "log" / "pods", Path("/var/log/pods")),
            (data / "log" / "containers", Path("/var/log/containers")),
        ]

    def make(self) -> None:
        directories = [
            self.containerd_state,
            self.spec.run_directory / "oci",
            self.spec.data_directory / "containerd",
            self.spec.data_directory / "cni" / "state",
            self.spec.data_directory / "cni" / "net.d",
            *(path for bind in self.binds() for path in bind),
        ]
        self.spec.run_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.spec.data_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for directory in directories:
            directory.mkdir(parents=True, exist_ok=True)

    def write_configuration(self) -> None:
        data = self.spec.data_directory
        binaries = cni.binary_directory()
        runtime = oci_runtime()
        if binaries is None:
            raise FileNotFoundError(f"{cni.explain_missing()}: {packages.advice_on_plugins()}")
        if runtime is None:
            raise FileNotFoundError("no crun or runc, which starts a container: apt-get install crun")
        document = cni.conflist(self.spec.pod_cidrs, data / "cni" / "state")
        (data / "cni" / "net.d" / cni.FILE_NAME).write_bytes(document)
        config = ContainerdConfig(
            root=data / "containerd",
            state=self.containerd_state,
            runtime_state=self.spec.run_directory / "oci",
            cni_configuration=data / "cni" / "net.d",
            cni_binaries=binaries,
            registries=self.spec.registries,
            oci_runtime=Path(runtime).name,
            restrict_oom_score=not may_lower_oom_score(),
        )
        self.configuration.write_text(render(config))


def _become_node(name: str, program: Path, binds: Sequence[tuple[Path, Path]]) -> subprocess.Popen[bytes]:
    """Called in the new namespaces: make them a node's, and start the process that keeps them."""
    namespaces.make_mounts_private()
    namespaces.set_host_name(name)
    # crun refuses to work beside a version 2 hierarchy that has controllers of its own; without it, it does not look.
    if cgroups.is_hybrid():
        namespaces.detach_mount(Path("/sys/fs/cgroup/unified"))
        # The runtimes write there all the same: what they write must go with the node.
        namespaces.mount_tmpfs(Path("/sys/fs/cgroup/unified"), "size=4m,mode=755")
    for source, target in binds:
        namespaces.bind_mount(source, target)
    init = subprocess.Popen(
        [program],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    try:
        # /proc shows the processes of whoever mounts it, so one of the new pid namespace must.
        subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True, capture_output=True, cwd="/")
        namespaces.make_mounts_shared()
    except BaseException:
        init.kill()
        init.wait()
        raise
    return init


def _containerd(spec: NodeSpec, init: Process, clock: Clock) -> Containerd:
    layout = Layout(spec)
    proxy = spec.egress_proxy
    environment = {
        "HTTP_PROXY": proxy,
        "HTTPS_PROXY": proxy,
        "NO_PROXY": "localhost,127.0.0.0/8,10.0.0.0/8,.svc,.cluster.local",
    }
    return Containerd(
        inside=Namespaces.of(init.pid),
        configuration=layout.configuration,
        socket=layout.containerd_state / "containerd.sock",
        log=spec.data_directory / "containerd.log",
        record=spec.run_directory / "containerd.json",
        clock=clock,
        environment=environment if proxy else {},
    )


def _record_path(run_directory: Path) -> Path:
    return run_directory / "node.json"


def _read_record(run_directory: Path) -> _Record | None:
    try:
        return msgspec.json.decode(_record_path(run_directory).read_bytes(), type=_Record)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _write_record(run_directory: Path, record: _Record) -> None:
    path = _record_path(run_directory)
    temporary = path.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(record))
    os.replace(temporary, path)


def _explain(error: BaseException) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        said = error.stderr if isinstance(error.stderr, str) else (error.stderr or b"").decode(errors="replace")
        return f"{' '.join(map(str, error.cmd))}: {said.strip() or f'exit status {error.returncode}'}"
    if isinstance(error, KeyError):
        return f"no pause program for a machine of kind {error}"
    return str(error)
