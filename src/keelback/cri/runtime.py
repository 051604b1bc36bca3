"""What a node asks of a container runtime: CRI v1's verbs as one protocol. `values` has its messages.

Every verb raises a `ContainerRuntimeError`; stop and remove are idempotent and accept what is already gone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from keelback.cri.values import (
    AuthConfig,
    Condition,
    Container,
    ContainerConfig,
    ContainerEvent,
    ContainerState,
    ContainerStats,
    ContainerStatus,
    ExecResult,
    Image,
    ImageFilesystems,
    ImageSpec,
    LinuxResources,
    PodSandbox,
    PodSandboxConfig,
    PodSandboxStats,
    PodSandboxStatus,
    RuntimeVersion,
    SandboxState,
)


class ContainerRuntimeError(Exception):
    """A verb failed; the text is the runtime's own, as it should reach events and conditions."""


class NotFound(ContainerRuntimeError):
    """The sandbox, container or image is not known to the runtime."""


class AlreadyExists(ContainerRuntimeError):
    """A sandbox or container of that name and attempt exists."""


class InvalidArgument(ContainerRuntimeError):
    """The runtime refuses the request as it stands; the same request will fail again."""


class FailedPrecondition(ContainerRuntimeError):
    """The thing is not in the state that the verb needs."""


class DeadlineExceeded(ContainerRuntimeError):
    """The runtime did not answer within the deadline; the work may go on behind it."""


class Unavailable(ContainerRuntimeError):
    """The runtime cannot be reached now; try again later."""


class Unimplemented(ContainerRuntimeError):
    """This runtime, or its version, lacks the verb."""


class ContainerRuntime(Protocol):
    """A container runtime. Deadlines are the implementation's own unless a verb takes one in seconds."""

    async def version(self) -> RuntimeVersion: ...

    async def conditions(self) -> Sequence[Condition]:
        """`RuntimeReady` and `NetworkReady`."""
        ...

    async def update_pod_cidr(self, pod_cidr: str) -> None:
        """Tell the runtime the node's pod CIDR (only runtimes that template their CNI configuration care)."""
        ...

    async def run_pod_sandbox(self, config: PodSandboxConfig, runtime_handler: str = "") -> str:
        """Make and start a sandbox with its network; its id."""
        ...

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        """Stop the sandbox and its containers, and give its addresses back."""
        ...

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        """Remove the sandbox and its containers, by force where they still run."""
        ...

    async def pod_sandbox_status(self, sandbox_id: str) -> PodSandboxStatus: ...

    async def list_pod_sandboxes(
        self, *, id: str = "", state: SandboxState | None = None, labels: Mapping[str, str] | None = None
    ) -> Sequence[PodSandbox]: ...

    async def create_container(
        self, sandbox_id: str, config: ContainerConfig, sandbox_config: PodSandboxConfig
    ) -> str: ...

    async def start_container(self, container_id: str) -> None: ...

    async def stop_container(self, container_id: str, timeout_seconds: float) -> None:
        """Send the stop signal; kill after `timeout_seconds` (0: at once). Returns when it has ended."""
        ...

    async def remove_container(self, container_id: str) -> None: ...

    async def container_status(self, container_id: str) -> ContainerStatus: ...

    async def list_containers(
        self,
        *,
        id: str = "",
        sandbox_id: str = "",
        state: ContainerState | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Sequence[Container]: ...

    async def update_container_resources(self, container_id: str, resources: LinuxResources) -> None: ...

    async def reopen_container_log(self, container_id: str) -> None: ...

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_seconds: float) -> ExecResult:
        """Run a command to its end. `DeadlineExceeded` when it takes longer; 0 means no limit of its own."""
        ...

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
        """The URL of a streaming session, to be dialled from within the node's network namespace."""
        ...

    async def attach_url(
        self, container_id: str, *, stdin: bool = False, stdout: bool = True, stderr: bool = True, tty: bool = False
    ) -> str: ...

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int] = ()) -> str: ...

    async def container_stats(self, container_id: str) -> ContainerStats: ...

    async def list_container_stats(
        self, *, sandbox_id: str = "", labels: Mapping[str, str] | None = None
    ) -> Sequence[ContainerStats]: ...

    async def list_pod_sandbox_stats(
        self, *, id: str = "", labels: Mapping[str, str] | None = None
    ) -> Sequence[PodSandboxStats]: ...

    async def pull_image(
        self, image: ImageSpec, auth: AuthConfig | None = None, sandbox_config: PodSandboxConfig | None = None
    ) -> str:
        """Pull, and the reference under which containers may name it (`Container.image_ref`)."""
        ...

    async def image_status(self, image: ImageSpec) -> Image | None:
        """The image, or None when it is not on the node."""
        ...

    async def image_layers(self, image_id: str) -> Sequence[str]:
        """The directories of an image's layers, topmost first. `Unimplemented` where the runtime does not tell."""
        ...

    async def list_images(self, image: str = "") -> Sequence[Image]: ...

    async def remove_image(self, image: ImageSpec) -> None: ...

    async def image_filesystems(self) -> ImageFilesystems: ...

    def events(self) -> AsyncIterator[ContainerEvent]:
        """Events from now on. Ends with `Unavailable` when the runtime goes, `Unimplemented` where it has none;
        what happened in between must be found by listing."""
        ...

    async def close(self) -> None:
        """Give up the connection; the containers go on."""
        ...
