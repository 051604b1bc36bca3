"""A containerd of a node's own: its configuration, and the process that runs with it inside the node's namespaces."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from keelback.bootstrap.processes import Process, running_as
from keelback.component import logs
from keelback.concurrency.clock import Clock
from keelback.cri.runtime import ContainerRuntimeError
from keelback.network.namespaces import Namespaces, spawn

PAUSE_IMAGE = "localhost/keelback-pause:1"
"""The image of every sandbox; `images.pause_image` builds it."""

START_SECONDS = 20.0
_POLL_SECONDS = 0.01
_STOP_SECONDS = 5.0
_CAP_SYS_RESOURCE = 24
_log = logs.logger(__name__)


class ContainerdError(Exception):
    """containerd did not start or did not answer; the text has the end of its log."""


@dataclass(frozen=True, slots=True)
class ContainerdConfig:
    """What differs from node to node and from machine to machine."""

    root: Path
    """Images and containers, kept over restarts: an absolute path on a file system that overlays may lie on."""
    state: Path = Path("/run/containerd")
    """Sockets and running containers, as named inside the node."""
    runtime_state: Path = Path("/run/keelback-oci")
    """The OCI runtime's records of running containers, as named inside the node."""
    cni_configuration: Path = Path("/etc/cni/net.d")
    cni_binaries: Path = Path("/opt/cni/bin")
    registries: Path | None = None
    """A `certs.d` directory with `hosts.toml` files."""
    oci_runtime: str = "runc"
    restrict_oom_score: bool = False
    """Without CAP_SYS_RESOURCE no process's OOM score can be lowered: take what is allowed instead of failing."""


def render(config: ContainerdConfig) -> str:
    """`config.toml`, version 2, understood by containerd 1.6 to 2.x."""

    def text(value: object) -> str:
        # A TOML basic string is a JSON string.
        return msgspec.json.encode(str(value)).decode()

    def truth(value: bool) -> str:
        return "true" if value else "false"

    cri = '[plugins."io.containerd.grpc.v1.cri"'
    lines = [
        "version = 2",
        f"root = {text(config.root)}",
        f"state = {text(config.state)}",
        # io.containerd.runtime.v1.linux stays although unused: without it containerd 1.6 does not load its CRI plugin.
        "disabled_plugins = [",
        *(f"  {text('io.containerd.' + name)}," for name in _UNUSED_PLUGINS),
        "]",
        "[grpc]",
        f"address = {text(config.state / 'containerd.sock')}",
        "[ttrpc]",
        f"address = {text(config.state / 'containerd.sock.ttrpc')}",
        f"{cri}]",
        f"sandbox_image = {text(PAUSE_IMAGE)}",
        f"restrict_oom_score_adj = {truth(config.restrict_oom_score)}",
        "netns_mounts_under_state_dir = true",
        # As containerd 2 does by default: a pod's namespace is its own, so port 80 needs no privilege there.
        "enable_unprivileged_ports = true",
        "enable_unprivileged_icmp = true",
        "max_concurrent_downloads = 6",
        'stream_server_address = "127.0.0.1"',
        'stream_server_port = "0"',
        "tolerate_missing_hugetlb_controller = true",
        f"{cri}.cni]",
        f"bin_dir = {text(config.cni_binaries)}",
        f"conf_dir = {text(config.cni_configuration)}",
        f"{cri}.containerd]",
        'snapshotter = "overlayfs"',
        'default_runtime_name = "default"',
        "discard_unpacked_layers = false",
    ]
    for handler in ("default", *(() if config.oci_runtime == "default" else (config.oci_runtime,))):
        lines += [
            f"{cri}.containerd.runtimes.{handler}]",
            'runtime_type = "io.containerd.runc.v2"',
            f"{cri}.containerd.runtimes.{handler}.options]",
            f"BinaryName = {text(config.oci_runtime)}",
            f"Root = {text(config.runtime_state)}",
            # No systemd inside a node's namespaces, whatever runs on the machine.
            "SystemdCgroup = false",
        ]
    if config.registries is not None:
        lines += [f"{cri}.registry]", f"config_path = {text(config.registries)}"]
    return "\n".join(lines) + "\n"


_UNUSED_PLUGINS = (
    "snapshotter.v1.aufs",
    "snapshotter.v1.btrfs",
    "snapshotter.v1.devmapper",
    "snapshotter.v1.zfs",
    "snapshotter.v1.blockfile",
    "tracing.processor.v1.otlp",
    "internal.v1.tracing",
)


def oci_runtime(which: Callable[[str], str | None] = shutil.which) -> str | None:
    """The path of crun, which starts a container a third faster, else of runc."""
    return which("crun") or which("runc")


def has_capability(number: int, status: str) -> bool:
    """Whether the effective set in `/proc/PID/status` text holds a capability."""
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def may_lower_oom_score() -> bool:
    """Whether this process, and so what it starts, has CAP_SYS_RESOURCE."""
    return has_capability(_CAP_SYS_RESOURCE, Path("/proc/self/status").read_text())


@dataclass(slots=True)
class Containerd:
    """One node's containerd. It goes on when this process ends; `adopt` finds it again by its record."""

    inside: Namespaces
    configuration: Path
    """The rendered file."""
    socket: Path
    """The CRI socket, as named outside the node."""
    log: Path
    record: Path
    """Where its `Process` is written down."""
    clock: Clock
    environment: Mapping[str, str] = field(default_factory=dict)
    process: Process | None = None
    _is_adopted: bool = False

    def adopt(self) -> bool:
        """Find the process that an earlier one of us started. False when it is gone."""
        process = self._recorded() or next(iter(running_as(self._arguments)), None)
        if process is None:
            return False
        self.process = process
        self._is_adopted = True
        return True

    @property
    def _arguments(self) -> list[str]:
        return ["containerd", "--config", str(self.configuration)]

    def _recorded(self) -> Process | None:
        try:
            process = msgspec.json.decode(self.record.read_bytes(), type=Process)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return process if process.is_alive() else None

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.is_alive()

    def launch(self) -> None:
        """Start the process, and do not wait until it answers. Nothing happens if it runs already."""
        if self.is_running or self.adopt():
            return
        self.socket.unlink(missing_ok=True)
        with self.log.open("ab") as output:
            child = spawn(
                self.inside,
                self._arguments,
                environment={**os.environ, **self.environment},
                output=output,
            )
        self._is_adopted = False
        try:
            self.process = Process.of(child.pid)
        except ProcessLookupError:
            # It ended at once: `wait_ready` says so, with the end of its log.
            self.process = None
            return
        temporary = self.record.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(self.process))
        temporary.replace(self.record)

    async def wait_ready(self, timeout_seconds: float = START_SECONDS) -> None:
        """Wait until CRI answers. `ContainerdError` with the end of the log when it dies or the time is over."""
        deadline = self.clock.monotonic() + timeout_seconds
        while True:
            if self.socket.exists():
                await self._wait_answer(deadline)
                return
            self._check_started(deadline)
            await self.clock.sleep(_POLL_SECONDS)

    async def _wait_answer(self, deadline: float) -> None:
        from keelback.cri.containerd import CRIRuntime  # 13 MB with gRPC: only where nodes are real

        runtime = CRIRuntime(self.socket, self.clock)
        try:
            while True:
                try:
                    await runtime.version()
                    return
                except ContainerRuntimeError:
                    self._check_started(deadline)
                    await self.clock.sleep(_POLL_SECONDS)
        finally:
            await runtime.close()

    def _check_started(self, deadline: float) -> None:
        if not self.is_running and self._is_adopted:
            # It was found in the moment of its end: that says nothing about the next one.
            self.launch()
        if not self.is_running:
            raise ContainerdError(f"containerd ended while starting: {self.last_words()}")
        if self.clock.monotonic() > deadline:
            raise ContainerdError(f"containerd does not answer on {self.socket}: {self.last_words()}")

    async def start(self) -> None:
        self.launch()
        await self.wait_ready()

    async def stop(self) -> None:
        """End containerd; the containers go on under their shims."""
        if self.process is not None or self.adopt():
            assert self.process is not None
            await self.process.stop(_STOP_SECONDS)
        self.process = None
        self.record.unlink(missing_ok=True)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def supervise(self, restarted: Callable[[], Awaitable[None]] | None = None) -> None:
        """Start it again, for ever, whenever it ends; ever more slowly when it does not stay up."""
        delay_seconds = 0.1
        while True:
            if self.process is not None:
                began = self.clock.monotonic()
                while not await self.process.wait_gone(3600.0):
                    pass
                if self.clock.monotonic() - began > 60.0:
                    delay_seconds = 0.1
                _log.warning("containerd ended and is started again", log=str(self.log), last=self.last_words(1))
                await self.clock.sleep(delay_seconds)
                delay_seconds = min(delay_seconds * 2, 10.0)
            try:
                await self.start()
            except (ContainerdError, OSError) as error:
                _log.error("containerd could not be started", error=str(error))
                await self.clock.sleep(delay_seconds)
                continue
            if restarted is not None:
                await restarted()

    def kill(self) -> None:
        """End it without a word, as a crash would."""
        if self.process is not None:
            self.process.send(signal.SIGKILL)

    def last_words(self, lines: int = 3) -> str:
        """The end of its log, for error messages."""
        try:
            text = self.log.read_text(errors="replace")
        except FileNotFoundError:
            return "(no log)"
        return " | ".join(text.strip().splitlines()[-lines:]) or "(empty log)"
