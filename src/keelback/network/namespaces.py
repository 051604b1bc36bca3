"""Entering Linux namespaces for a moment: sockets, programs and settings that belong to another namespace.

A namespace is a property of a thread, and a socket stays for ever in the one it was made in. So everything here enters
in a short-lived thread of its own, does one thing and ends; the process itself never leaves its namespaces. One
process can thus own listeners in many network namespaces, with no relay and no rule in any of them.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import ipaddress
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import IO, TypeVar

T = TypeVar("T")


class Kind(IntFlag):
    """Kinds of namespace, with the kernel's clone flags."""

    MOUNT = 0x00020000
    UTS = 0x04000000
    IPC = 0x08000000
    PID = 0x20000000
    NETWORK = 0x40000000


NODE = Kind.MOUNT | Kind.UTS | Kind.IPC | Kind.PID | Kind.NETWORK
"""What a node has of its own."""

_FILES: Mapping[Kind, str] = {
    Kind.NETWORK: "net",
    Kind.UTS: "uts",
    Kind.IPC: "ipc",
    Kind.PID: "pid",
    # Last: after it, paths mean what they mean inside.
    Kind.MOUNT: "mnt",
}
_CLONE_FS = 0x00000200
_libc = ctypes.CDLL(None, use_errno=True)


class NamespaceError(OSError):
    """A namespace could not be made or entered."""


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Namespaces to enter: those of `kinds` that process `pid` is in, or the one that a file keeps (`path`)."""

    kinds: Kind
    pid: int = 0
    path: Path | None = None

    @classmethod
    def of(cls, pid: int, kinds: Kind = NODE) -> Namespaces:
        return cls(kinds, pid=pid)

    @classmethod
    def network(cls, path: Path) -> Namespaces:
        """The network namespace kept by a bind mount, or `/proc/PID/ns/net`."""
        return cls(Kind.NETWORK, path=path)

    def files(self) -> list[tuple[Kind, Path]]:
        """What must be opened to enter, in the order of entering."""
        if self.path is not None:
            return [(self.kinds, self.path)]
        return [(kind, Path(f"/proc/{self.pid}/ns/{name}")) for kind, name in _FILES.items() if kind in self.kinds]


def within(namespaces: Namespaces, work: Callable[[], T]) -> T:
    """Do `work` inside, in a thread made for it. Blocks; errors of `work` come out as they are."""
    return _in_thread(lambda: _enter(namespaces), work)


def within_new(kinds: Kind, work: Callable[[], T]) -> T:
    """Do `work` in new namespaces: they live as long as a process, socket or mount that `work` makes in them.

    With `Kind.PID` the first process that `work` starts is pid 1 of the new namespace.
    """

    def leave() -> None:
        _check(_libc.unshare(int(kinds) | _CLONE_FS), f"unshare {kinds!r}")

    return _in_thread(leave, work)


def spawn(
    namespaces: Namespaces,
    argv: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    output: IO[bytes] | int = subprocess.DEVNULL,
    stdin: int = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program inside, as a direct child in a session of its own that outlives this process.

    It is reaped as soon as it ends, whether or not anybody waits for it.
    """
    child = within(
        namespaces, lambda: _popen(argv, environment=environment, output=output, stdin=stdin, pass_fds=pass_fds)
    )
    reap(child)
    return child


def reap(child: subprocess.Popen[bytes]) -> None:
    """Collect a child when it ends: a zombie whose parent is outside keeps its whole pid namespace from ending."""
    threading.Thread(target=child.wait, name="reaper", daemon=True).start()


def run(namespaces: Namespaces, argv: Sequence[str], *, text: str = "", timeout_seconds: float = 30.0) -> str:
    """Run a program inside to its end and give what it printed. `CalledProcessError` when it fails."""

    def work() -> str:
        return subprocess.run(
            list(argv),
            input=text,
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
            timeout=timeout_seconds,
        ).stdout

    return within(namespaces, work)


def keep_network_namespace(path: Path) -> None:
    """Make a network namespace that lives as long as the bind mount at `path`; nothing happens if there is one."""
    if is_kept(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    within_new(Kind.NETWORK, lambda: _mount("/proc/thread-self/ns/net", path, flags=_MS_BIND))


def is_kept(path: Path) -> bool:
    """Whether a namespace is kept at `path`: a plain file, or none, is what a reboot leaves."""
    try:
        return os.stat(path).st_dev != os.stat(path.parent).st_dev
    except FileNotFoundError:
        return False


def release_network_namespace(path: Path) -> None:
    """Undo `keep_network_namespace`. The kernel ends the namespace, and its links, with its last process and socket."""
    while is_kept(path):
        _check(_libc.umount2(os.fsencode(path), _MNT_DETACH), f"umount {path}")
    path.unlink(missing_ok=True)


def socket_in(netns: Path, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A socket that belongs to the network namespace at `netns`, usable from any thread."""
    return within(Namespaces.network(netns), lambda: socket.socket(family, kind | socket.SOCK_CLOEXEC))


def listen_in(netns: Path, host: str, port: int, *, backlog: int = 1024) -> socket.socket:
    """A listening, non-blocking TCP socket on an address of another network namespace. Port 0 picks one."""
    listener = socket_in(netns, _family(host))
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(backlog)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


async def connect_in(netns: Path, host: str, port: int, *, timeout_seconds: float = 10.0) -> socket.socket:
    """A connected, non-blocking TCP socket, dialled from another network namespace. `host` is an IP address.

    `TimeoutError` past the deadline, else the `OSError` of the connection.
    """
    connection = socket_in(netns, _family(host))
    try:
        connection.setblocking(False)
        async with asyncio.timeout(timeout_seconds):
            await asyncio.get_running_loop().sock_connect(connection, (host, port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connection.close()
        raise
    return connection


def write_sysctls(namespaces: Namespaces, settings: Mapping[str, str]) -> list[str]:
    """Set `net.*` settings inside; the names of those that this kernel does not have are returned."""

    def work() -> list[str]:
        missing = []
        for name, value in settings.items():
            try:
                Path("/proc/sys", *name.split(".")).write_text(value)
            except FileNotFoundError:
                missing.append(name)
        return missing

    return within(namespaces, work)


# Mounts and the host name, for those who are inside.

_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000
_MS_SHARED = 0x100000
_MNT_DETACH = 2


def make_mounts_private() -> None:
    """From here on, what is mounted in this mount namespace is seen in no other."""
    _mount("none", Path("/"), flags=_MS_REC | _MS_PRIVATE)


def make_mounts_shared() -> None:
    """Let mount namespaces made from this one share its mounts, as containers with propagation ask for."""
    _mount("none", Path("/"), flags=_MS_REC | _MS_SHARED)


def bind_mount(source: Path, target: Path) -> None:
    """Show `source`, and what is mounted below it, at `target` too. Raises OSError."""
    _mount(str(source), target, flags=_MS_BIND | _MS_REC)


def mount_tmpfs(target: Path, options: str = "") -> None:
    """Mount an empty file system in memory. Raises OSError."""
    _mount("tmpfs", target, filesystem="tmpfs", options=options)


def detach_mount(target: Path) -> None:
    """Unmount lazily; nothing happens if nothing is mounted there."""
    if _libc.umount2(os.fsencode(target), _MNT_DETACH) != 0 and ctypes.get_errno() not in {errno.EINVAL, errno.ENOENT}:
        _check(-1, f"umount {target}")


def set_host_name(name: str) -> None:
    """Name the host in the UTS namespace this process is in. Raises OSError."""
    encoded = name.encode()
    _check(_libc.sethostname(encoded, len(encoded)), f"sethostname {name}")


def _popen(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str] | None,
    output: IO[bytes] | int,
    stdin: int,
    pass_fds: Sequence[int],
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        list(argv),
        env=None if environment is None else dict(environment),
        stdin=stdin,
        stdout=output,
        stderr=output if output != subprocess.PIPE else subprocess.STDOUT,
        cwd="/",
        start_new_session=True,
        pass_fds=tuple(pass_fds),
    )


def _enter(namespaces: Namespaces) -> None:
    opened: list[tuple[Kind, int, Path]] = []
    try:
        # All are opened before the first is entered: afterwards /proc may be another one.
        for kind, path in namespaces.files():
            opened.append((kind, os.open(path, os.O_RDONLY | os.O_CLOEXEC), path))
        if Kind.MOUNT in namespaces.kinds:
            # A thread shares its root and working directory with its process until it says otherwise.
            _check(_libc.unshare(_CLONE_FS), "unshare the working directory")
        for kind, descriptor, path in opened:
            _check(_libc.setns(descriptor, int(kind)), f"enter {path}")
    finally:
        for _, descriptor, _ in opened:
            os.close(descriptor)


def _in_thread(enter: Callable[[], None], work: Callable[[], T]) -> T:
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            enter()
            results.append(work())
        except BaseException as error:
            errors.append(error)

    # A thread of its own, never one from a pool: it must not serve anyone else afterwards.
    thread = threading.Thread(target=body, name="namespace", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _mount(source: str, target: Path, *, flags: int = 0, filesystem: str = "none", options: str = "") -> None:
    answer = _libc.mount(
        os.fsencode(source), os.fsencode(target), filesystem.encode(), ctypes.c_ulong(flags), options.encode()
    )
    _check(answer, f"mount {source} on {target}")


def _check(answer: int, what: str) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise NamespaceError(number, f"{what}: {os.strerror(number)}")


def _family(host: str) -> int:
    return socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
