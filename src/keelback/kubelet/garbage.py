"""What may go: containers and sandboxes that nobody will ask for, unused images when the disk is full, long logs."""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from keelback.api.core_v1 import Pod
from keelback.component.logs import logger
from keelback.cri.runtime import ContainerRuntime, ContainerRuntimeError
from keelback.cri.values import ContainerState, ContainerStatus, Image, ImageSpec, SandboxState
from keelback.kubelet.config import KubeletConfig
from keelback.kubelet.observed import PodRuntime

_log = logger("kubelet.garbage")


def plan_garbage(observed: PodRuntime, dead_per_container: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ended containers beyond those kept for their logs, and the old sandboxes that are left empty."""
    kept: dict[str, int] = {}
    removed = []
    for one in observed.containers:
        if one.container.state != ContainerState.EXITED:
            continue
        name = one.container.name
        kept[name] = kept.get(name, 0) + 1
        # The newest end is the present or the last state; it also holds the log of `--previous`.
        if kept[name] > dead_per_container and one is not observed.latest(name):
            removed.append(one.container.id)
    left = {one.container.sandbox_id for one in observed.containers if one.container.id not in removed}
    sandboxes = tuple(
        one.sandbox.id
        for one in observed.sandboxes[1:]
        if one.sandbox.state != SandboxState.READY and one.sandbox.id not in left
    )
    return tuple(removed), sandboxes


def plan_images(
    images: Sequence[Image],
    used: frozenset[str],
    last_used: dict[str, datetime],
    now: datetime,
    *,
    to_free_bytes: int,
    min_age_seconds: float,
) -> tuple[str, ...]:
    """The unused images to remove, the longest unused first, until enough is freed."""
    old = now - timedelta(seconds=min_age_seconds)
    free = [
        one
        for one in images
        if not one.pinned
        and one.id not in used
        and not used.intersection(one.repo_tags)
        and last_used.get(one.id, now) <= old
        # What was loaded by hand no registry will give back.
        and not any(tag.startswith("localhost/") for tag in one.repo_tags)
    ]
    chosen = []
    for one in sorted(free, key=lambda image: last_used.get(image.id, datetime.min.replace(tzinfo=now.tzinfo))):
        if to_free_bytes <= 0:
            break
        chosen.append(one.id)
        to_free_bytes -= one.size_bytes
    return tuple(chosen)


async def collect_images(
    runtime: ContainerRuntime,
    config: KubeletConfig,
    last_used: dict[str, datetime],
    now: datetime,
    held: frozenset[str] = frozenset(),
) -> int:
    """Remove unused images while the images' disk is fuller than it should be; how many were removed."""
    images = await runtime.list_images()
    for image in images:
        # An image that nobody has used yet is as old as this kubelet's knowledge of it.
        last_used.setdefault(image.id, now)
    filesystems = await runtime.image_filesystems()
    if not filesystems.images or not await asyncio.to_thread(Path(filesystems.images[0].mountpoint).exists):
        return 0
    disk = await asyncio.to_thread(shutil.disk_usage, filesystems.images[0].mountpoint)
    if disk.used * 100 < disk.total * config.image_high_percent:
        return 0
    containers = await runtime.list_containers()
    used = held | frozenset(one.image_ref for one in containers) | frozenset(one.image for one in containers)
    goal = disk.used - disk.total * config.image_low_percent // 100
    chosen = plan_images(
        images,
        used,
        last_used,
        now,
        to_free_bytes=goal,
        min_age_seconds=config.image_min_age_seconds,
    )
    for image_id in chosen:
        await runtime.remove_image(ImageSpec(image_id))
        last_used.pop(image_id, None)
    return len(chosen)


async def rotate_logs(runtime: ContainerRuntime, config: KubeletConfig, now: datetime) -> None:
    """Begin a new file for each running container whose log is too long; older ones are compressed, the oldest go."""
    for one in await runtime.list_containers(state=ContainerState.RUNNING):
        try:
            status = await runtime.container_status(one.id)
            path = Path(status.log_path)
            if status.log_path and _is_long(path, config.container_log_max_bytes):
                aside = await asyncio.to_thread(_move_aside, path, config.container_log_max_files, now)
                try:
                    await runtime.reopen_container_log(one.id)
                except ContainerRuntimeError:
                    # Without a new file the runtime writes on into the old one: put it back in its place.
                    await asyncio.to_thread(aside.rename, path)
                    raise
        except (ContainerRuntimeError, OSError) as error:
            _log.warning("Could not rotate a container's log", container=one.id, error=str(error))


def remove_container_logs(pod: Pod, gone: Sequence[ContainerStatus], config: KubeletConfig) -> None:
    """Remove the logs of containers that were removed, rotated ones and the links to them included."""
    meta = pod.metadata
    for one in gone:
        link = f"{meta.name}_{meta.namespace}_{one.container.name}-{one.container.id}.log"
        (config.container_logs / link).unlink(missing_ok=True)
        if one.log_path:
            log = Path(one.log_path)
            for path in (log, *log.parent.glob(f"{log.name}.*")):
                path.unlink(missing_ok=True)


def remove_pod_logs(pod: Pod, containers: Sequence[ContainerStatus], config: KubeletConfig) -> None:
    """Remove all logs of a pod that is gone, and their directory."""
    remove_container_logs(pod, containers, config)
    directory = config.pod_log_directory(pod.metadata.namespace, pod.metadata.name, pod.metadata.uid)
    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    if directory.is_dir():
        directory.rmdir()


def _is_long(path: Path, max_bytes: int) -> bool:
    return path.is_file() and path.stat().st_size > max_bytes


def _move_aside(path: Path, max_files: int, now: datetime) -> Path:
    rotated = sorted(one for one in path.parent.glob(f"{path.name}.*") if not one.name.endswith(".tmp"))
    for one in rotated:
        if one.suffix != ".gz":
            _compress(one)
    rotated = sorted(path.parent.glob(f"{path.name}.*"))
    # The live file and the one made now count too.
    for one in rotated[: max(0, len(rotated) - (max_files - 2))]:
        one.unlink()
    target = path.with_name(f"{path.name}.{now:%Y%m%d-%H%M%S}")
    path.rename(target)
    return target


def _compress(path: Path) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    with path.open("rb") as source, gzip.open(temporary, "wb") as target:
        shutil.copyfileobj(source, target)
    temporary.rename(path.with_name(f"{path.name}.gz"))
    os.unlink(path)
