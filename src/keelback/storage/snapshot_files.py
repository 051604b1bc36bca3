"""A file that is there whole or not at all: written beside its place, made durable, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class SnapshotError(Exception):
    """A snapshot cannot be made, or what should be one is none."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to (nothing is there), which becomes `path` when the block ends well. Raises SnapshotError."""
    if path.exists():
        raise SnapshotError(f"{path} exists already")
    partial = path.with_name(f"{path.name}.part")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        yield partial
        _sync(partial)
        partial.rename(path)
        _sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
