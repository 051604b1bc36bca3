"""fsGroup: a volume's files belong to the pod's group, and the group may read (and write) them."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def apply_fs_group(path: Path, group: int, *, read_only: bool = False) -> None:
    """Give everything below `path` to the group; what is made there later inherits it."""
    _give(path, group, read_only=read_only)
    for root, directories, files in os.walk(path):
        for name in (*directories, *files):
            _give(Path(root, name), group, read_only=read_only)


def has_fs_group(path: Path, group: int) -> bool:
    """Whether the root already is as `apply_fs_group` leaves it: the OnRootMismatch policy."""
    found = path.stat()
    return found.st_gid == group and bool(found.st_mode & stat.S_ISGID)


def _give(path: Path, group: int, *, read_only: bool) -> None:
    os.chown(path, -1, group, follow_symlinks=False)
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return
    mode = stat.S_IMODE(found.st_mode) | (0o440 if read_only else 0o660)
    if stat.S_ISDIR(found.st_mode):
        mode |= stat.S_ISGID | 0o110
    path.chmod(mode)
