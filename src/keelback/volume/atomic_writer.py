"""Files that change all at once: a timestamped directory behind the `..data` link, as Kubernetes' AtomicWriter."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_DATA = "..data"
_NEW_DATA = "..data_tmp"


@dataclass(frozen=True, slots=True)
class File:
    """One file to be projected. `uid` is its owner where that is not root."""

    data: bytes
    mode: int = 0o644
    uid: int | None = None


def write(
    directory: Path, files: Mapping[str, File], now: datetime, prepare: Callable[[Path], None] | None = None
) -> bool:
    """Make `directory` show exactly these files, by relative path; whether anything changed.

    `prepare` is given the new data before it becomes visible, to set owners.
    """
    for path in files:
        _check(path)
    data = directory / _DATA
    if data.is_symlink() and _is_same(data, files):
        _link(directory, files)
        return False
    old = Path(os.path.realpath(data)) if data.is_symlink() else None
    fresh = Path(tempfile.mkdtemp(prefix=f"..{now:%Y_%m_%d_%H_%M_%S}.", dir=directory))
    fresh.chmod(0o755)
    for path, file in files.items():
        target = fresh / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
        # The umask may have taken bits away.
        target.chmod(file.mode)
        if file.uid is not None:
            os.chown(target, file.uid, -1)
    if prepare is not None:
        prepare(fresh)
    new = directory / _NEW_DATA
    new.unlink(missing_ok=True)
    new.symlink_to(fresh.name)
    new.rename(data)
    _link(directory, files)
    _remove_stale(directory, files)
    if old is not None and old.parent == directory and old != fresh:
        shutil.rmtree(old)
    return True


def _check(path: str) -> None:
    parts = Path(path).parts
    if not parts or Path(path).is_absolute() or ".." in parts or parts[0].startswith(".."):
        raise ValueError(f"invalid path {path!r}: it must be relative and must not leave the volume")


def _is_same(data: Path, files: Mapping[str, File]) -> bool:
    present = {str(Path(root, name).relative_to(data)) for root, _, names in os.walk(data) for name in names}
    if present != {str(Path(path)) for path in files}:
        return False
    for path, file in files.items():
        target = data / path
        if target.read_bytes() != file.data:
            return False
    return True


def _link(directory: Path, files: Mapping[str, File]) -> None:
    for name in {Path(path).parts[0] for path in files}:
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(Path(_DATA) / name)


def _remove_stale(directory: Path, files: Mapping[str, File]) -> None:
    wanted = {Path(path).parts[0] for path in files}
    for entry in list(directory.iterdir()):
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in wanted:
            entry.unlink()
