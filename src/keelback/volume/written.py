"""What configMap, secret, downwardAPI and projected volumes share: files the node writes and the pod only reads."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from keelback.api.core_v1 import KeyToPath, Pod
from keelback.concurrency.clock import Clock
from keelback.volume import atomic_writer
from keelback.volume.atomic_writer import File
from keelback.volume.mounts import Mounter
from keelback.volume.ownership import apply_fs_group
from keelback.volume.protocol import VolumeError


async def show(
    files: Mapping[str, File], pod: Pod, path: Path, mounter: Mounter, clock: Clock, *, in_memory: bool
) -> Path:
    """Make the directory show exactly these files; in memory, where they must not reach a disk."""

    def work() -> None:
        path.mkdir(parents=True, exist_ok=True)
        if in_memory:
            mounter.tmpfs(path)
        path.chmod(0o777)
        group = pod.spec.security_context.fs_group
        prepare = None if group is None else (lambda fresh: apply_fs_group(fresh, group, read_only=True))
        atomic_writer.write(path, files, clock.now(), prepare)

    try:
        await asyncio.to_thread(work)
    except ValueError as error:
        raise VolumeError(str(error)) from error
    return path


def selected(
    data: Mapping[str, bytes], items: Sequence[KeyToPath], default_mode: int, *, optional: bool, what: str
) -> dict[str, File]:
    """All keys as files or, where items are given, those keys under their paths. Raises VolumeError."""
    if not items:
        return {key: File(value, default_mode) for key, value in data.items()}
    files = {}
    for item in items:
        if item.key in data:
            files[item.path] = File(data[item.key], default_mode if item.mode is None else item.mode)
        elif not optional:
            raise VolumeError(f"references non-existent {what} key: {item.key}")
    return files
