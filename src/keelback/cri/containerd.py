"""CRI v1 over gRPC on a unix socket: containerd, and with its events' fallback any other runtime that speaks CRI.

Every call has a deadline, and every failure is one of `keelback.cri.runtime`'s errors with the runtime's own text.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from keelback.concurrency.clock import Clock, SystemClock
from keelback.cri import messages
from keelback.cri._proto import containerd_events_pb2 as events_pb
from keelback.cri._proto import cri_pb2 as pb
from keelback.cri.layers import layers_of
from keelback.cri.runtime import (
    AlreadyExists,
    ContainerRuntimeError,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
    Unimplemented,
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

QUICK_SECONDS = 15.0
"""The deadline of what only looks."""
WORK_SECONDS = 120.0
"""The deadline of what starts and stops things: the kubelet's runtime-request-timeout."""
PULL_SECONDS = 1800.0

_RUNTIME = "/runtime.v1.RuntimeService/"
_IMAGES = "/runtime.v1.ImageService/"
_EVENTS = "/containerd.services.events.v1.Events/Subscribe"
_TASK_FILTERS = ('namespace==k8s.io,topic~="/tasks/"', 'namespace==k8s.io,topic=="/containers/delete"')
_SETTLE_STEP_SECONDS = 0.005
_SETTLE_STEPS = 60

# The channel is to one local socket: coming back soon after the runtime's restart matters more than restraint.
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.max_send_message_length", 16 << 20),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_http_proxy", 0),
    # Channels to the same socket of a runtime that was restarted must not share a broken connection.
    ("grpc.use_local_subchannel_pool", 1),
)

_ERRORS: Mapping[grpc.StatusCode, type[ContainerRuntimeError]] = {
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.OUT_OF_RANGE: InvalidArgument,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
}


class CRIRuntime:
    """A `ContainerRuntime` behind a CRI v1 socket. Make it within the running event loop; close it when done."""

    def __init__(self, socket: Path | str, clock: Clock | None = None) -> None:
        self._target = f"unix://{socket}"
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._channel: Any = grpc.aio.insecure_channel(self._target, options=_CHANNEL_OPTIONS)
        self._calls: dict[str, Any] = {}
        self._sandbox_of: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<CRIRuntime {self._target}>"

    async def close(self) -> None:
        await self._channel.close()

    # The runtime itself.

    async def version(self) -> RuntimeVersion:
        answer = await self._call(_RUNTIME, "Version", pb.VersionRequest(version="v1"), QUICK_SECONDS)
        return RuntimeVersion(answer.runtime_name, answer.runtime_version, answer.runtime_api_version)

    async def conditions(self) -> Sequence[Condition]:
        answer = await self._call(_RUNTIME, "Status", pb.StatusRequest(), QUICK_SECONDS)
        return [Condition(item.type, item.status, item.reason, item.message) for item in answer.status.conditions]

    async def update_pod_cidr(self, pod_cidr: str) -> None:
        config = pb.RuntimeConfig(network_config=pb.NetworkConfig(pod_cidr=pod_cidr))
        request = pb.UpdateRuntimeConfigRequest(runtime_config=config)
        await self._call(_RUNTIME, "UpdateRuntimeConfig", request, QUICK_SECONDS)

    # Sandboxes.

    async def run_pod_sandbox(self, config: PodSandboxConfig, runtime_handler: str = "") -> str:
        request = pb.RunPodSandboxRequest(config=messages.sandbox_config(config), runtime_handler=runtime_handler)
        # Upstream gives sandboxes twice the time of other work: their image may have to be pulled.
        answer = await self._call(_RUNTIME, "RunPodSandbox", request, 2 * WORK_SECONDS)
        return str(answer.pod_sandbox_id)

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        request = pb.StopPodSandboxRequest(pod_sandbox_id=sandbox_id)
        await self._call_idempotent(_RUNTIME, "StopPodSandbox", request, WORK_SECONDS)

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        request = pb.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id)
        await self._call_idempotent(_RUNTIME, "RemovePodSandbox", request, WORK_SECONDS)

    async def pod_sandbox_status(self, sandbox_id: str) -> PodSandboxStatus:
        request = pb.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id)
        answer = await self._call(_RUNTIME, "PodSandboxStatus", request, QUICK_SECONDS)
        return messages.to_sandbox_status(answer.status)

    async def list_pod_sandboxes(
        self, *, id: str = "", state: SandboxState | None = None, labels: Mapping[str, str] | None = None
    ) -> Sequence[PodSandbox]:
        wanted = pb.PodSandboxFilter(id=id, label_selector=dict(labels or {}))
        if state is not None:
            wanted.state.CopyFrom(pb.PodSandboxStateValue(state=int(state)))
        answer = await self._call(_RUNTIME, "ListPodSandbox", pb.ListPodSandboxRequest(filter=wanted), QUICK_SECONDS)
        return [messages.to_sandbox(item) for item in answer.items]

    # Containers.

    async def create_container(self, sandbox_id: str, config: ContainerConfig, sandbox_config: PodSandboxConfig) -> str:
        request = pb.CreateContainerRequest(
            pod_sandbox_id=sandbox_id,
            config=messages.container_config(config),
            sandbox_config=messages.sandbox_config(sandbox_config),
        )
        answer = await self._call(_RUNTIME, "CreateContainer", request, WORK_SECONDS)
        self._sandbox_of[answer.container_id] = sandbox_id
        return str(answer.container_id)

    async def start_container(self, container_id: str) -> None:
        request = pb.StartContainerRequest(container_id=container_id)
        await self._call(_RUNTIME, "StartContainer", request, WORK_SECONDS)

    async def stop_container(self, container_id: str, timeout_seconds: float) -> None:
        request = pb.StopContainerRequest(container_id=container_id, timeout=max(0, math.ceil(timeout_seconds)))
        await self._call_idempotent(_RUNTIME, "StopContainer", request, timeout_seconds + WORK_SECONDS)

    async def remove_container(self, container_id: str) -> None:
        request = pb.RemoveContainerRequest(container_id=container_id)
        await self._call_idempotent(_RUNTIME, "RemoveContainer", request, WORK_SECONDS)
        self._sandbox_of.pop(container_id, None)

    async def container_status(self, container_id: str) -> ContainerStatus:
        sandbox_id = await self._sandbox(container_id)
        request = pb.ContainerStatusRequest(container_id=container_id)
        answer = await self._call(_RUNTIME, "ContainerStatus", request, QUICK_SECONDS)
        return messages.to_container_status(answer.status, sandbox_id)

    async def list_containers(
        self,
        *,
        id: str = "",
        sandbox_id: str = "",
        state: ContainerState | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Sequence[Container]:
        wanted = pb.ContainerFilter(id=id, pod_sandbox_id=sandbox_id, label_selector=dict(labels or {}))
        if state is not None:
            wanted.state.CopyFrom(pb.ContainerStateValue(state=int(state)))
        answer = await self._call(_RUNTIME, "ListContainers", pb.ListContainersRequest(filter=wanted), QUICK_SECONDS)
        found = [messages.to_container(item) for item in answer.containers]
        if not id and not sandbox_id and state is None and not labels:
            self._sandbox_of = {container.id: container.sandbox_id for container in found}
        return found

    async def update_container_resources(self, container_id: str, resources: LinuxResources) -> None:
        request = pb.UpdateContainerResourcesRequest(
            container_id=container_id, linux=messages.linux_resources(resources)
        )
        await self._call(_RUNTIME, "UpdateContainerResources", request, WORK_SECONDS)

    async def reopen_container_log(self, container_id: str) -> None:
        request = pb.ReopenContainerLogRequest(container_id=container_id)
        await self._call(_RUNTIME, "ReopenContainerLog", request, QUICK_SECONDS)

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_seconds: float) -> ExecResult:
        request = pb.ExecSyncRequest(container_id=container_id, cmd=command, timeout=max(0, math.ceil(timeout_seconds)))
        # The runtime ends the command at the timeout and says so; our own deadline is for a runtime that hangs.
        deadline = timeout_seconds + QUICK_SECONDS if timeout_seconds > 0 else PULL_SECONDS
        answer = await self._call(_RUNTIME, "ExecSync", request, deadline)
        return ExecResult(answer.stdout, answer.stderr, answer.exit_code)

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
        request = pb.ExecRequest(
            container_id=container_id, cmd=command, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr
        )
        answer = await self._call(_RUNTIME, "Exec", request, QUICK_SECONDS)
        return str(answer.url)

    async def attach_url(
        self, container_id: str, *, stdin: bool = False, stdout: bool = True, stderr: bool = True, tty: bool = False
    ) -> str:
        request = pb.AttachRequest(container_id=container_id, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr)
        answer = await self._call(_RUNTIME, "Attach", request, QUICK_SECONDS)
        return str(answer.url)

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int] = ()) -> str:
        request = pb.PortForwardRequest(pod_sandbox_id=sandbox_id, port=ports)
        answer = await self._call(_RUNTIME, "PortForward", request, QUICK_SECONDS)
        return str(answer.url)

    # Usage.

    async def container_stats(self, container_id: str) -> ContainerStats:
        request = pb.ContainerStatsRequest(container_id=container_id)
        answer = await self._call(_RUNTIME, "ContainerStats", request, QUICK_SECONDS)
        return messages.to_container_stats(answer.stats)

    async def list_container_stats(
        self, *, sandbox_id: str = "", labels: Mapping[str, str] | None = None
    ) -> Sequence[ContainerStats]:
        wanted = pb.ContainerStatsFilter(pod_sandbox_id=sandbox_id, label_selector=dict(labels or {}))
        request = pb.ListContainerStatsRequest(filter=wanted)
        answer = await self._call(_RUNTIME, "ListContainerStats", request, WORK_SECONDS)
        return [messages.to_container_stats(item) for item in answer.stats]

    async def list_pod_sandbox_stats(
        self, *, id: str = "", labels: Mapping[str, str] | None = None
    ) -> Sequence[PodSandboxStats]:
        wanted = pb.PodSandboxStatsFilter(id=id, label_selector=dict(labels or {}))
        request = pb.ListPodSandboxStatsRequest(filter=wanted)
        answer = await self._call(_RUNTIME, "ListPodSandboxStats", request, WORK_SECONDS)
        return [messages.to_sandbox_stats(item) for item in answer.stats]

    # Images.

    async def pull_image(
        self, image: ImageSpec, auth: AuthConfig | None = None, sandbox_config: PodSandboxConfig | None = None
    ) -> str:
        request = pb.PullImageRequest(image=messages.image_spec(image))
        if auth is not None:
            request.auth.CopyFrom(messages.auth_config(auth))
        if sandbox_config is not None:
            request.sandbox_config.CopyFrom(messages.sandbox_config(sandbox_config))
        answer = await self._call(_IMAGES, "PullImage", request, PULL_SECONDS)
        return str(answer.image_ref)

    async def image_status(self, image: ImageSpec) -> Image | None:
        request = pb.ImageStatusRequest(image=messages.image_spec(image))
        answer = await self._call(_IMAGES, "ImageStatus", request, QUICK_SECONDS)
        return messages.to_image(answer.image) if answer.HasField("image") else None

    async def image_layers(self, image_id: str) -> Sequence[str]:
        request = pb.ImageStatusRequest(image=pb.ImageSpec(image=image_id), verbose=True)
        answer = await self._call(_IMAGES, "ImageStatus", request, QUICK_SECONDS)
        if not answer.HasField("image"):
            raise NotFound(f'image "{image_id}" not found')
        try:
            return await layers_of(self._channel, answer.info.get("info", ""))
        except grpc.aio.AioRpcError as error:
            raise runtime_error(error) from None

    async def list_images(self, image: str = "") -> Sequence[Image]:
        request = pb.ListImagesRequest()
        if image:
            request.filter.CopyFrom(pb.ImageFilter(image=pb.ImageSpec(image=image)))
        answer = await self._call(_IMAGES, "ListImages", request, QUICK_SECONDS)
        return [messages.to_image(item) for item in answer.images]

    async def remove_image(self, image: ImageSpec) -> None:
        request = pb.RemoveImageRequest(image=messages.image_spec(image))
        await self._call_idempotent(_IMAGES, "RemoveImage", request, WORK_SECONDS)

    async def image_filesystems(self) -> ImageFilesystems:
        answer = await self._call(_IMAGES, "ImageFsInfo", pb.ImageFsInfoRequest(), QUICK_SECONDS)
        return ImageFilesystems(
            images=tuple(messages.to_filesystem(item) for item in answer.image_filesystems),
            containers=tuple(messages.to_filesystem(item) for item in answer.container_filesystems),
        )

    # Events.

    async def events(self) -> AsyncIterator[ContainerEvent]:
        """CRI's own events where the runtime has them (containerd 2, CRI-O), else containerd's task events."""
        try:
            async for event in self._cri_events():
                yield event
            raise Unavailable("the runtime closed its event stream")
        except Unimplemented:
            pass
        async for event in self._task_events():
            yield event
        raise Unavailable("the runtime closed its event stream")

    async def _cri_events(self) -> AsyncIterator[ContainerEvent]:
        stream = self._channel.unary_stream(
            f"{_RUNTIME}GetContainerEvents",
            request_serializer=pb.GetEventsRequest.SerializeToString,
            response_deserializer=pb.ContainerEventResponse.FromString,
        )
        async for message in _received(stream(pb.GetEventsRequest())):
            exit_codes = {status.id: status.exit_code for status in message.containers_statuses}
            yield ContainerEvent(
                container_id=message.container_id,
                sandbox_id=message.pod_sandbox_status.id or message.container_id,
                type=ContainerEventType(message.container_event_type),
                created_at=message.created_at,
                exit_code=exit_codes.get(message.container_id, 0),
            )

    async def _task_events(self) -> AsyncIterator[ContainerEvent]:
        stream = self._channel.unary_stream(
            _EVENTS,
            request_serializer=events_pb.SubscribeRequest.SerializeToString,
            response_deserializer=events_pb.Envelope.FromString,
        )
        async for envelope in _received(stream(events_pb.SubscribeRequest(filters=_TASK_FILTERS))):
            event = task_event(envelope)
            if event is None:
                continue
            if event.type is ContainerEventType.STOPPED:
                await self._settled(event.container_id)
            sandbox_id = await self._sandbox(event.container_id)
            if event.type is ContainerEventType.DELETED:
                self._sandbox_of.pop(event.container_id, None)
            yield ContainerEvent(
                event.container_id,
                sandbox_id or event.container_id,
                event.type,
                event.created_at,
                event.exit_code,
            )

    async def _settled(self, container_id: str) -> None:
        """Wait (a third of a second at most) until CRI's own record has followed the task event.

        containerd tells its subscribers of an exit before its CRI plugin has written it down; who looks at once
        would still see the container running, and no second event would come.
        """
        for _ in range(_SETTLE_STEPS):
            containers = await self.list_containers(id=container_id)
            sandboxes = [] if containers else await self.list_pod_sandboxes(id=container_id)
            running = any(item.state is ContainerState.RUNNING for item in containers)
            ready = any(item.state is SandboxState.READY for item in sandboxes)
            if not running and not ready:
                return
            await self._clock.sleep(_SETTLE_STEP_SECONDS)

    async def _sandbox(self, container_id: str) -> str:
        """The sandbox of a container, "" when nothing knows."""
        known = self._sandbox_of.get(container_id)
        if known is not None:
            return known
        for container in await self.list_containers(id=container_id):
            if container.id.startswith(container_id):
                self._sandbox_of[container_id] = container.sandbox_id
                return container.sandbox_id
        return ""

    # The wire.

    async def _call(self, service: str, verb: str, request: Any, timeout_seconds: float) -> Any:
        call = self._calls.get(verb)
        if call is None:
            call = self._calls[verb] = self._channel.unary_unary(
                service + verb,
                request_serializer=type(request).SerializeToString,
                response_deserializer=getattr(pb, f"{verb}Response").FromString,
            )
        try:
            return await call(request, timeout=timeout_seconds)
        except grpc.aio.AioRpcError as error:
            raise runtime_error(error) from None
        except asyncio.InvalidStateError as error:  # the channel was closed under the call
            raise Unavailable(str(error)) from None

    async def _call_idempotent(self, service: str, verb: str, request: Any, timeout_seconds: float) -> None:
        try:
            await self._call(service, verb, request, timeout_seconds)
        except NotFound:
            return


def runtime_error(error: grpc.aio.AioRpcError) -> ContainerRuntimeError:
    """The error that a gRPC status means, with the runtime's text."""
    kind = _ERRORS.get(error.code(), ContainerRuntimeError)
    return kind(error.details() or error.code().name)


def task_event(envelope: Any) -> ContainerEvent | None:
    """What one of containerd's events says of a container; None for the end of an exec and for other topics."""
    created_at = envelope.timestamp.ToNanoseconds()
    match envelope.topic:
        case "/tasks/create":
            create = events_pb.TaskCreate.FromString(envelope.event.value)
            return ContainerEvent(create.container_id, "", ContainerEventType.CREATED, created_at)
        case "/tasks/start":
            start = events_pb.TaskStart.FromString(envelope.event.value)
            return ContainerEvent(start.container_id, "", ContainerEventType.STARTED, created_at)
        case "/tasks/exit":
            end = events_pb.TaskExit.FromString(envelope.event.value)
            if end.id != end.container_id:
                return None
            return ContainerEvent(end.container_id, "", ContainerEventType.STOPPED, created_at, end.exit_status)
        case "/containers/delete":
            # ContainerDelete's one field is the id, numbered as TaskCreate's.
            gone = events_pb.TaskCreate.FromString(envelope.event.value)
            return ContainerEvent(gone.container_id, "", ContainerEventType.DELETED, created_at)
        case _:
            return None


async def _received(stream: Any) -> AsyncIterator[Any]:
    try:
        async for message in stream:
            yield message
    except grpc.aio.AioRpcError as error:
        raise runtime_error(error) from None
    finally:
        stream.cancel()
