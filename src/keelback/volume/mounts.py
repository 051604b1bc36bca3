"""Mounting and unmounting in the caller's mount namespace, and finding what is mounted."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

_MS_RDONLY, _MS_NOEXEC = 1, 8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MNT_DETACH, _UMOUNT_NOFOLLOW = 32, 4096, 16384, 2, 8
_libc = ctypes.CDLL(None, use_errno=True)
_OCTAL = re.compile(r"\\([0-7]{3})")


class Mounter(Protocol):
    """What volumes ask of the kernel's mount table."""

    def tmpfs(self, path: Path, size_bytes: int = 0) -> None:
        """Mount a memory file system; 0 leaves the size to the kernel. Does nothing where one is mounted."""
        ...

    def bind(self, source: str, target: Path) -> None:
        """Show a file or directory at another place."""
        ...

    def layers(self, directories: Sequence[str], target: Path) -> None:
        """Show directories over one another, the first uppermost, to be read only and not to be run from."""
        ...

    def unmount(self, path: Path) -> None:
        """Take away the uppermost mount at a path, even a busy one."""
        ...

    def mounted_below(self, path: Path) -> Sequence[Path]:
        """All mount points at or below a path, deepest first."""
        ...


class KernelMounter:
    """The mount table of this process's namespace."""

    def tmpfs(self, path: Path, size_bytes: int = 0) -> None:
        if path in self.mounted_below(path):
            return
        options = f"size={size_bytes},mode=0777" if size_bytes else "mode=0777"
        _mount("tmpfs", str(path), "tmpfs", 0, options)

    def bind(self, source: str, target: Path) -> None:
        _mount(source, str(target), "", _MS_BIND | _MS_REC, "")

    def layers(self, directories: Sequence[str], target: Path) -> None:
        if len(directories) == 1:
            _mount(directories[0], str(target), "", _MS_BIND, "")
            _mount(directories[0], str(target), "", _MS_BIND | _MS_REMOUNT | _MS_RDONLY | _MS_NOEXEC, "")
        else:
            _mount("overlay", str(target), "overlay", _MS_RDONLY | _MS_NOEXEC, f"lowerdir={':'.join(directories)}")

    def unmount(self, path: Path) -> None:
        if _libc.umount2(os.fsencode(path), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))

    def mounted_below(self, path: Path) -> Sequence[Path]:
        found = []
        for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
            point = Path(_OCTAL.sub(lambda match: chr(int(match.group(1), 8)), line.split(" ", 5)[4]))
            if point.is_relative_to(path):
                found.append(point)
        return sorted(found, key=lambda one: len(one.parts), reverse=True)


def _mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    encoded = [os.fsencode(text) if text else None for text in (source, target, kind)]
    if _libc.mount(*encoded, ctypes.c_ulong(flags), os.fsencode(options) if options else None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mounting {source or kind}: {os.strerror(number)}", target)


def remove_tree(path: Path, mounter: Mounter) -> None:
    """Unmount all below a directory, then remove it; never descends into what is still mounted."""
    for point in mounter.mounted_below(path):
        mounter.unmount(point)
    left = mounter.mounted_below(path)
    if left:
        raise OSError(f"{left[0]} is still mounted")
    _remove(path)


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for entry in list(os.scandir(path)):
        _remove(Path(entry.path))
    path.rmdir()
