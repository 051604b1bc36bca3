"""A container runtime without containers: CRI's rules about states and identities, scripted ends, the given clock.

It keeps the contract of `tests/cri` that containerd keeps. What a container does is told by its command or a `Script`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from keelback.concurrency.clock import Clock
from keelback.cri.runtime import (
    AlreadyExists,
    ContainerRuntimeError,
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    Unavailable,
)
from keelback.cri.values import (
    AuthConfig,
    Condition,
    Container,
    ContainerConfig,
    ContainerEvent,
    ContainerEventType,
    ContainerState,
    ContainerStats,
    ContainerStatus,
    ExecResult,
    FilesystemUsage,
    Image,
    ImageFilesystems,
    ImageSpec,
    LinuxResources,
    NamespaceMode,
    PodSandbox,
    PodSandboxConfig,
    PodSandboxStats,
    PodSandboxStatus,
    RuntimeVersion,
    SandboxState,
)
from keelback.testing.scripts import Script, interpret

_QUEUED_EVENTS = 10_000


Executor = Callable[[Container, Sequence[str]], ExecResult]


@dataclass(slots=True)
class _Sandbox:
    config: PodSandboxConfig
    value: PodSandbox
    ip: str


@dataclass(slots=True)
class _Container:
    config: ContainerConfig
    status: ContainerStatus
    log: Path | None
    script: Script
    resources: LinuxResources
    life: asyncio.Task[None] | None = None


@dataclass(slots=True)
class FakeRuntime:
    """A `ContainerRuntime`. `images` are on the node from the start; `pullable` can be pulled."""

    clock: Clock
    images: set[str] = field(default_factory=set)
    pullable: set[str] = field(default_factory=set)
    scripts: dict[str, Script] = field(default_factory=dict)
    """By container name or image; the name goes first."""
    execute: Executor | None = None
    """What `exec_sync` does instead of the dozen words."""
    is_down: bool = False
    """True: every verb fails with `Unavailable`."""
    network_ready: bool = True
    write_logs: bool = True
    pulls: list[str] = field(default_factory=list)
    _sandboxes: dict[str, _Sandbox] = field(default_factory=dict)
    _containers: dict[str, _Container] = field(default_factory=dict)
    _watchers: list[asyncio.Queue[ContainerEvent | None]] = field(default_factory=list)
    _made: int = 0

    async def close(self) -> None:
        for container in self._containers.values():
            if container.life is not None:
                container.life.cancel()
        for watcher in self._watchers:
            watcher.put_nowait(None)

    # What a test does to it.

    def end(self, container_id: str, exit_code: int = 0, reason: str = "", message: str = "") -> None:
        """Let a running container end now."""
        container = self._container(container_id)
        if container.status.container.state is not ContainerState.RUNNING:
            return
        if container.life is not None and container.life is not _current_task():
            container.life.cancel()
        container.life = None
        container.status = replace(
            container.status,
            container=replace(container.status.container, state=ContainerState.EXITED),
            finished_at=self._now(),
            exit_code=exit_code,
            reason=reason or ("Completed" if exit_code == 0 else "Error"),
            message=message,
        )
        self._tell(container_id, ContainerEventType.STOPPED, exit_code)

    def end_sandbox(self, sandbox_id: str) -> None:
        """Let a sandbox's own process end now, as a crash of it would."""
        sandbox = self._sandbox(sandbox_id)
        if sandbox.value.state is SandboxState.READY:
            sandbox.value = replace(sandbox.value, state=SandboxState.NOT_READY)
            self._tell(sandbox_id, ContainerEventType.STOPPED, 137)

    def running(self) -> list[str]:
        """The names of the containers that run, in the order of their making."""
        return [
            container.config.name
            for container in self._containers.values()
            if container.status.container.state is ContainerState.RUNNING
        ]

    def container_config(self, container_id: str) -> ContainerConfig:
        """What a container was made with."""
        return self._container(container_id).config

    def sandbox_config(self, sandbox_id: str) -> PodSandboxConfig:
        """What a sandbox was made with."""
        return self._sandbox(sandbox_id).config

    def restart(self) -> None:
        """Break every event stream, as a restart of the runtime does; the containers go on."""
        for watcher in self._watchers:
            watcher.put_nowait(None)
        self._watchers.clear()

    # The runtime itself.

    async def version(self) -> RuntimeVersion:
        self._check_up()
        return RuntimeVersion("fake", "1.0.0", "v1")

    async def conditions(self) -> Sequence[Condition]:
        self._check_up()
        return [Condition("RuntimeReady", True), Condition("NetworkReady", self.network_ready)]

    async def update_pod_cidr(self, pod_cidr: str) -> None:
        self._check_up()

    # Sandboxes.

    async def run_pod_sandbox(self, config: PodSandboxConfig, runtime_handler: str = "") -> str:
        self._check_up()
        identity = (config.name, config.namespace, config.uid, config.attempt)
        for other in self._sandboxes.values():
            known = other.value
            if identity == (known.name, known.namespace, known.uid, known.attempt):
                raise AlreadyExists(f"sandbox name {config.name!r} is reserved for {known.id!r}")
        sandbox_id = self._id()
        number = len(self._sandboxes) + self._made
        node_network = config.security_context.namespace_options.network is NamespaceMode.NODE
        value = PodSandbox(
            id=sandbox_id,
            name=config.name,
            namespace=config.namespace,
            uid=config.uid,
            attempt=config.attempt,
            state=SandboxState.READY,
            created_at=self._now(),
            labels=dict(config.labels),
            annotations=dict(config.annotations),
            runtime_handler=runtime_handler,
        )
        ip = "" if node_network else f"10.244.{number // 250 % 250}.{number % 250 + 2}"
        self._sandboxes[sandbox_id] = _Sandbox(config, value, ip)
        self._tell(sandbox_id, ContainerEventType.CREATED)
        self._tell(sandbox_id, ContainerEventType.STARTED)
        return sandbox_id

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        self._check_up()
        if sandbox_id not in self._sandboxes:
            return
        for container_id in self._containers_of(sandbox_id):
            self.end(container_id, 137)
        self.end_sandbox(sandbox_id)

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        await self.stop_pod_sandbox(sandbox_id)
        for container_id in self._containers_of(sandbox_id):
            await self.remove_container(container_id)
        if self._sandboxes.pop(sandbox_id, None) is not None:
            self._tell(sandbox_id, ContainerEventType.DELETED, sandbox_id=sandbox_id)

    async def pod_sandbox_status(self, sandbox_id: str) -> PodSandboxStatus:
        self._check_up()
        sandbox = self._sandbox(sandbox_id)
        ips = (sandbox.ip,) if sandbox.ip and sandbox.value.state is SandboxState.READY else ()
        return PodSandboxStatus(sandbox.value, ips, sandbox.config.security_context.namespace_options.network)

    async def list_pod_sandboxes(
        self, *, id: str = "", state: SandboxState | None = None, labels: Mapping[str, str] | None = None
    ) -> Sequence[PodSandbox]:
        self._check_up()
        return [
            sandbox.value
            for sandbox in self._sandboxes.values()
            if sandbox.value.id.startswith(id)
            and state in {None, sandbox.value.state}
            and (labels or {}).items() <= sandbox.value.labels.items()
        ]

    # Containers.

    async def create_container(self, sandbox_id: str, config: ContainerConfig, sandbox_config: PodSandboxConfig) -> str:
        self._check_up()
        sandbox = self._sandbox(sandbox_id)
        if sandbox.value.state is not SandboxState.READY:
            raise FailedPrecondition(f"sandbox container {sandbox_id!r} is not running")
        for other in self._containers_of(sandbox_id):
            known = self._containers[other].status.container
            if (known.name, known.attempt) == (config.name, config.attempt):
                raise AlreadyExists(f"container name {config.name!r} is reserved for {other!r}")
        if not self._has_image(config.image.image):
            raise NotFound(f"image {config.image.image!r}: not found")
        container_id = self._id()
        value = Container(
            id=container_id,
            sandbox_id=sandbox_id,
            name=config.name,
            attempt=config.attempt,
            state=ContainerState.CREATED,
            created_at=self._now(),
            image=config.image.image,
            image_ref=_image_id(config.image.image),
            labels=dict(config.labels),
            annotations=dict(config.annotations),
        )
        directory = sandbox.config.log_directory
        log = Path(directory, config.log_path) if directory and config.log_path else None
        status = ContainerStatus(value, log_path=str(log or ""), mounts=config.mounts, resources=config.resources)
        script = self.scripts.get(config.name) or self.scripts.get(config.image.image)
        interpreted = interpret([*config.command, *config.args])
        self._containers[container_id] = _Container(config, status, log, script or interpreted, config.resources)
        return container_id

    async def start_container(self, container_id: str) -> None:
        self._check_up()
        container = self._container(container_id)
        if container.status.container.state is not ContainerState.CREATED:
            raise FailedPrecondition(f"container {container_id!r} is in {container.status.container.state.name} state")
        script = container.script
        if script.start_seconds:
            await self.clock.sleep(script.start_seconds)
        if script.start_error:
            container.status = replace(
                container.status,
                container=replace(container.status.container, state=ContainerState.EXITED),
                finished_at=self._now(),
                exit_code=128,
                reason="StartError",
                message=script.start_error,
            )
            raise ContainerRuntimeError(script.start_error)
        container.status = replace(
            container.status,
            container=replace(container.status.container, state=ContainerState.RUNNING),
            started_at=self._now(),
        )
        self._write_log(container, script.output)
        self._tell(container_id, ContainerEventType.STARTED)
        if script.run_seconds is not None:
            container.life = asyncio.get_running_loop().create_task(self._live(container_id, script))

    async def stop_container(self, container_id: str, timeout_seconds: float) -> None:
        self._check_up()
        known = self._containers.get(container_id)
        if known is None or known.status.container.state is not ContainerState.RUNNING:
            return
        if timeout_seconds <= 0:
            self.end(container_id, 137)
        elif known.script.ignores_term:
            await self.clock.sleep(timeout_seconds)
            self.end(container_id, 137)
        else:
            self.end(container_id, 0)

    async def remove_container(self, container_id: str) -> None:
        self._check_up()
        known = self._containers.get(container_id)
        if known is None:
            return
        self.end(container_id, 137)
        sandbox_id = known.status.container.sandbox_id
        del self._containers[container_id]
        self._tell(container_id, ContainerEventType.DELETED, sandbox_id=sandbox_id)

    async def container_status(self, container_id: str) -> ContainerStatus:
        self._check_up()
        return self._container(container_id).status

    async def list_containers(
        self,
        *,
        id: str = "",
        sandbox_id: str = "",
        state: ContainerState | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Sequence[Container]:
        self._check_up()
        values = (container.status.container for container in self._containers.values())
        return [
            value
            for value in values
            if value.id.startswith(id)
            and sandbox_id in {"", value.sandbox_id}
            and state in {None, value.state}
            and (labels or {}).items() <= value.labels.items()
        ]

    async def update_container_resources(self, container_id: str, resources: LinuxResources) -> None:
        self._check_up()
        container = self._container(container_id)
        changes = {
            name: value
            for name in LinuxResources.__dataclass_fields__
            if (value := getattr(resources, name)) not in (0, "", {})
        }
        container.resources = replace(container.resources, **changes)
        container.status = replace(container.status, resources=container.resources)

    async def reopen_container_log(self, container_id: str) -> None:
        self._check_up()
        container = self._container(container_id)
        if container.status.container.state is not ContainerState.RUNNING:
            raise FailedPrecondition("container is not running")
        self._write_log(container, "")

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_seconds: float) -> ExecResult:
        self._check_up()
        container = self._container(container_id).status.container
        if container.state is not ContainerState.RUNNING:
            raise FailedPrecondition(f"container is in {container.state.name} state")
        if self.execute is not None:
            return self.execute(container, command)
        script = interpret(command)
        if script.run_seconds is None or 0 < timeout_seconds < script.run_seconds:
            await self.clock.sleep(timeout_seconds)
            raise DeadlineExceeded(f"command {list(command)!r} timed out")
        await self.clock.sleep(script.run_seconds)
        return ExecResult(script.output.encode(), b"", script.exit_code)

    async def exec_url(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        tty: bool = False,
    ) -> str:
        return self._url("exec", container_id)

    async def attach_url(
        self, container_id: str, *, stdin: bool = False, stdout: bool = True, stderr: bool = True, tty: bool = False
    ) -> str:
        return self._url("attach", container_id)

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int] = ()) -> str:
        self._check_up()
        self._sandbox(sandbox_id)
        return f"http://127.0.0.1:1/portforward/{sandbox_id}"

    # Usage: nothing uses anything here.

    async def container_stats(self, container_id: str) -> ContainerStats:
        self._check_up()
        value = self._container(container_id).status.container
        return ContainerStats(value.id, value.name, value.labels, self._now())

    async def list_container_stats(
        self, *, sandbox_id: str = "", labels: Mapping[str, str] | None = None
    ) -> Sequence[ContainerStats]:
        running = await self.list_containers(sandbox_id=sandbox_id, state=ContainerState.RUNNING, labels=labels)
        return [await self.container_stats(container.id) for container in running]

    async def list_pod_sandbox_stats(
        self, *, id: str = "", labels: Mapping[str, str] | None = None
    ) -> Sequence[PodSandboxStats]:
        return [
            PodSandboxStats(
                id=sandbox.id,
                name=sandbox.name,
                namespace=sandbox.namespace,
                uid=sandbox.uid,
                timestamp=self._now(),
                containers=tuple(await self.list_container_stats(sandbox_id=sandbox.id)),
            )
            for sandbox in await self.list_pod_sandboxes(id=id, state=SandboxState.READY, labels=labels)
        ]

    # Images.

    async def pull_image(
        self, image: ImageSpec, auth: AuthConfig | None = None, sandbox_config: PodSandboxConfig | None = None
    ) -> str:
        self._check_up()
        self.pulls.append(image.image)
        if image.image not in self.pullable and image.image not in self.images:
            raise NotFound(f'failed to pull and unpack image "{image.image}": {image.image}: not found')
        self.images.add(image.image)
        return _image_id(image.image)

    async def image_status(self, image: ImageSpec) -> Image | None:
        self._check_up()
        for name in sorted(self.images):
            if image.image in {name, _image_id(name)}:
                return Image(id=_image_id(name), repo_tags=(name,), size_bytes=1_000_000)
        return None

    async def image_layers(self, image_id: str) -> Sequence[str]:
        self._check_up()
        for name in self.images:
            if image_id == _image_id(name):
                return (f"/layers/{name}",)
        raise NotFound(f'image "{image_id}" not found')

    async def list_images(self, image: str = "") -> Sequence[Image]:
        self._check_up()
        return [
            Image(id=_image_id(name), repo_tags=(name,), size_bytes=1_000_000)
            for name in sorted(self.images)
            if image in {"", name}
        ]

    async def remove_image(self, image: ImageSpec) -> None:
        self._check_up()
        self.images = {name for name in self.images if image.image not in {name, _image_id(name)}}

    async def image_filesystems(self) -> ImageFilesystems:
        self._check_up()
        return ImageFilesystems(images=(FilesystemUsage(self._now(), "/var/lib/fake", len(self.images) * 1_000_000),))

    # Events.

    async def events(self) -> AsyncIterator[ContainerEvent]:
        self._check_up()
        queue: asyncio.Queue[ContainerEvent | None] = asyncio.Queue(_QUEUED_EVENTS)
        self._watchers.append(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            if queue in self._watchers:
                self._watchers.remove(queue)
        raise Unavailable("the runtime closed its event stream")

    def _tell(
        self, container_id: str, kind: ContainerEventType, exit_code: int = 0, sandbox_id: str | None = None
    ) -> None:
        if sandbox_id is None:
            known = self._containers.get(container_id)
            sandbox_id = known.status.container.sandbox_id if known is not None else container_id
        event = ContainerEvent(container_id, sandbox_id, kind, self._now(), exit_code)
        for watcher in self._watchers:
            watcher.put_nowait(event)

    async def _live(self, container_id: str, script: Script) -> None:
        await self.clock.sleep(script.run_seconds or 0.0)
        self.end(container_id, script.exit_code)

    def _write_log(self, container: _Container, text: str) -> None:
        if not self.write_logs or container.log is None:
            return
        stamp = self.clock.now().isoformat(timespec="microseconds").replace("+00:00", "000Z")
        container.log.parent.mkdir(parents=True, exist_ok=True)
        with container.log.open("a") as log:
            log.writelines(f"{stamp} stdout F {line}\n" for line in text.splitlines())

    def _url(self, verb: str, container_id: str) -> str:
        self._check_up()
        if self._container(container_id).status.container.state is not ContainerState.RUNNING:
            raise FailedPrecondition("container is not running")
        return f"http://127.0.0.1:1/{verb}/{container_id}"

    def _check_up(self) -> None:
        if self.is_down:
            raise Unavailable("the fake runtime is down")

    def _sandbox(self, sandbox_id: str) -> _Sandbox:
        try:
            return self._sandboxes[sandbox_id]
        except KeyError:
            raise NotFound(f"an error occurred when try to find sandbox {sandbox_id!r}: not found") from None

    def _container(self, container_id: str) -> _Container:
        try:
            return self._containers[container_id]
        except KeyError:
            raise NotFound(f"an error occurred when try to find container {container_id!r}: not found") from None

    def _containers_of(self, sandbox_id: str) -> list[str]:
        return [id for id, container in self._containers.items() if container.status.container.sandbox_id == sandbox_id]

    def _has_image(self, image: str) -> bool:
        return any(image in {name, _image_id(name)} for name in self.images)

    def _id(self) -> str:
        self._made += 1
        return f"{self._made:064x}"

    def _now(self) -> int:
        return int(self.clock.now().timestamp() * 1_000_000) * 1000


def _image_id(name: str) -> str:
    return "sha256:" + name.encode().hex()[:64].ljust(64, "0")


def _current_task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
