"""Getting a container's image onto the node, by its pull policy and with back-off."""

from __future__ import annotations

import asyncio
import base64
import fnmatch
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from keelback.api.core_v1 import Secret
from keelback.concurrency.clock import Clock
from keelback.cri.runtime import ContainerRuntime, ContainerRuntimeError, InvalidArgument
from keelback.cri.values import AuthConfig, Image, ImageSpec, PodSandboxConfig
from keelback.kubelet import image_reference
from keelback.kubelet.crash_loop import CAP, INITIAL

Report = Callable[[str, str, str], Awaitable[None]]
"""Tells of something: event type, reason, message."""

_MAX_PULLS = 4


class ImageProblem(Exception):
    """The image cannot be had now: the reason a container waits, and the text."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class _Failed:
    delay: timedelta
    at: datetime
    message: str


class Images:
    """The images of one node."""

    def __init__(self, runtime: ContainerRuntime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._failed: dict[tuple[str, str], _Failed] = {}
        self._room = asyncio.Semaphore(_MAX_PULLS)
        self.last_used: dict[str, datetime] = {}
        self._held: dict[str, set[str]] = {}

    async def ensure(
        self,
        pod_uid: str,
        image: str,
        policy: str,
        secrets: Iterable[Secret],
        report: Report,
        sandbox: PodSandboxConfig | None = None,
    ) -> Image:
        """The image, pulled where the policy asks for it. Raises ImageProblem."""
        problem = image_reference.problem(image)
        if problem:
            message = f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": {problem}'
            await report("Warning", "InspectFailed", message)
            raise ImageProblem("InvalidImageName", message)
        reference = with_default_tag(image)
        present = await self._present(reference)
        if present is not None and not _must_pull(policy, reference):
            message = f'Container image "{image}" already present on machine and can be accessed by the pod'
            await report("Normal", "Pulled", message)
            return self._used(present)
        if policy == "Never":
            message = f'Container image "{image}" is not present with pull policy of Never'
            await report("Warning", "ErrImageNeverPull", message)
            raise ImageProblem("ErrImageNeverPull", message)
        key = (pod_uid, reference)
        await self._back_off(key, image, report)
        await report("Normal", "Pulling", f'Pulling image "{image}"')
        asked_at = self._clock.monotonic()
        async with self._room:
            began_at = self._clock.monotonic()
            try:
                pulled = await self._pull(reference, secrets, sandbox)
            except ContainerRuntimeError as error:
                await self._failure(key, image, str(error), report)
                raise ImageProblem("ErrImagePull", str(error)) from error
        ended_at = self._clock.monotonic()
        self._failed.pop(key, None)
        took = f"in {_seconds(ended_at - began_at)} ({_seconds(ended_at - asked_at)} including waiting)"
        message = f'Successfully pulled image "{image}" {took}. Image size: {pulled.size_bytes} bytes.'
        await report("Normal", "Pulled", message)
        return self._used(pulled)

    def hold(self, pod_uid: str, image_id: str) -> None:
        """A volume of the pod shows the image: it must stay although no container is made from it."""
        self._held.setdefault(pod_uid, set()).add(image_id)

    def held(self) -> frozenset[str]:
        """The images that volumes show."""
        return frozenset(image_id for ids in self._held.values() for image_id in ids)

    def forget(self, pod_uid: str) -> None:
        """The pod is gone."""
        self._held.pop(pod_uid, None)
        for key in [key for key in self._failed if key[0] == pod_uid]:
            del self._failed[key]

    async def _present(self, reference: str) -> Image | None:
        try:
            return await self._runtime.image_status(ImageSpec(reference))
        except InvalidArgument as error:
            raise ImageProblem(
                "InvalidImageName", f'Failed to apply default image tag "{reference}": {error}'
            ) from error
        except ContainerRuntimeError as error:
            message = f'Failed to inspect image "{reference}": {error}'
            raise ImageProblem("ImageInspectError", message) from error

    async def _back_off(self, key: tuple[str, str], image: str, report: Report) -> None:
        failed = self._failed.get(key)
        if failed is None or self._clock.now() >= failed.at + failed.delay:
            return
        await report("Normal", "BackOff", f'Back-off pulling image "{image}"')
        raise ImageProblem("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {failed.message}')

    async def _failure(self, key: tuple[str, str], image: str, message: str, report: Report) -> None:
        before = self._failed.get(key)
        delay = INITIAL if before is None else min(before.delay * 2, CAP)
        self._failed[key] = _Failed(delay, self._clock.now(), message)
        await report("Warning", "Failed", f'Failed to pull image "{image}": {message}')

    async def _pull(self, reference: str, secrets: Iterable[Secret], sandbox: PodSandboxConfig | None) -> Image:
        credentials = [*credentials_for(reference, secrets), None]
        for index, auth in enumerate(credentials):
            try:
                pulled = await self._runtime.pull_image(ImageSpec(reference), auth, sandbox)
                break
            except ContainerRuntimeError:
                if index == len(credentials) - 1:
                    raise
        found = await self._runtime.image_status(ImageSpec(reference))
        return found or Image(id=pulled)

    def _used(self, image: Image) -> Image:
        self.last_used[image.id] = self._clock.now()
        return image


def with_default_tag(image: str) -> str:
    """The reference with `:latest` where it names neither tag nor digest."""
    last = image.rpartition("/")[2]
    return image if "@" in last or ":" in last else f"{image}:latest"


def _must_pull(policy: str, reference: str) -> bool:
    if reference.startswith("localhost/"):
        # Loaded onto the node, not pulled: no registry has that name. `:latest` must not make such an image unusable.
        return False
    if policy:
        return policy == "Always"
    return reference.endswith(":latest") and "@" not in reference


def _seconds(duration: float) -> str:
    return f"{round(duration * 1000)}ms" if duration < 1 else f"{duration:.3f}".rstrip("0").rstrip(".") + "s"


# Credentials


def credentials_for(image: str, secrets: Iterable[Secret]) -> list[AuthConfig]:
    """The credentials in the secrets that are for the image's registry and path, the most specific first."""
    found: list[tuple[int, AuthConfig]] = []
    name = _with_registry(image)
    for secret in secrets:
        for location, entry in _entries(secret).items():
            place = location.removeprefix("https://").removeprefix("http://").rstrip("/")
            place = place.removesuffix("/v1").removesuffix("/v2")
            if place in ("index.docker.io", "registry-1.docker.io"):
                place = "docker.io"
            if _is_for(place, name):
                found.append((len(place), _auth(entry)))
    found.sort(key=lambda one: one[0], reverse=True)
    return [auth for _, auth in found]


def _is_for(place: str, name: str) -> bool:
    """Whether an entry's registry and path cover an image: `*` stands for letters within one label of the host."""
    host, _, path = place.partition("/")
    if "*" in host or "?" in host:
        image_host, _, image_path = name.partition("/")
        patterns, labels = host.split("."), image_host.split(".")
        if len(patterns) != len(labels) or not all(map(fnmatch.fnmatchcase, labels, patterns)):
            return False
        return not path or image_path == path or image_path.startswith((path + "/", path + ":"))
    return name == place or name.startswith((place + "/", place + ":"))


def _with_registry(image: str) -> str:
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"


def _entries(secret: Secret) -> Mapping[str, Mapping[str, str]]:
    try:
        if secret.type == "kubernetes.io/dockerconfigjson":
            entries = json.loads(secret.data.get(".dockerconfigjson", b"{}")).get("auths", {})
        elif secret.type == "kubernetes.io/dockercfg":
            entries = json.loads(secret.data.get(".dockercfg", b"{}"))
        else:
            return {}
    except (ValueError, AttributeError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _auth(entry: Mapping[str, str]) -> AuthConfig:
    # No server address, as upstream: containerd takes one for a URL, and one without a scheme fits no registry.
    username, password = entry.get("username", ""), entry.get("password", "")
    if not username and entry.get("auth"):
        try:
            username, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except ValueError:
            return AuthConfig(auth=entry["auth"])
    return AuthConfig(
        username=username,
        password=password,
        identity_token=entry.get("identitytoken", ""),
        registry_token=entry.get("registrytoken", ""),
    )
