"""The Debian packages that real containers need: which are missing, and their installation with its progress.

What counts is the program, not the package: whoever installed containerd from elsewhere needs no package.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from keelback.network import cni

INSTALL_SECONDS = 900.0
_LISTS = Path("/var/lib/apt/lists")
_SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin")


class PackageError(Exception):
    """The packages could not be installed; the text has apt's own last words."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """Something a node needs; any one of `programs` will do. `package` is Debian's."""

    what_for: str
    programs: tuple[str, ...]
    package: str


REQUIREMENTS = (
    Requirement("runs containers", ("containerd",), "containerd"),
    Requirement("loads images into containerd", ("ctr",), "containerd"),
    Requirement("starts a container", ("crun", "runc"), "crun"),
    Requirement("makes links and routes", ("ip",), "iproute2"),
    Requirement("programs Services and network policies", ("nft",), "nftables"),
    Requirement("forgets connections to pods that are gone", ("conntrack",), "conntrack"),
    Requirement("maps host ports", ("iptables",), "iptables"),
    Requirement("is the sample image's content", ("busybox",), "busybox-static"),
)
CNI_PLUGINS = Requirement("connects pods", cni.PLUGINS, "containernetworking-plugins")

Progress = Callable[[float, str], None]
"""Told of a share of the whole, from 0 to 1, and what is being done."""


def find_program(name: str) -> str | None:
    """Its path; administrators' directories are looked into as well, as a plain user's PATH may lack them."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_SBIN]))


def missing(find: Callable[[str], str | None] = find_program, plugins: Path | None = None) -> tuple[str, ...]:
    """The packages to install, each once."""
    wanted = [item.package for item in REQUIREMENTS if not any(find(program) for program in item.programs)]
    if plugins is None and cni.binary_directory() is None:
        wanted.append(CNI_PLUGINS.package)
    return tuple(dict.fromkeys(wanted))


def advice_on_plugins() -> str:
    """What to do about missing CNI plugins. Where some are there, the package is too, and is not whole."""
    is_partial = cni.missing()[0] is not None
    return f"apt-get install {'--reinstall ' if is_partial else ''}{CNI_PLUGINS.package}"


def can_install(find: Callable[[str], str | None] = find_program) -> bool:
    """Whether this is a machine of apt's, and we are its administrator."""
    return find("apt-get") is not None and os.geteuid() == 0


async def install(packages: Sequence[str], progress: Progress, *, timeout_seconds: float = INSTALL_SECONDS) -> None:
    """Install packages with apt, asking nothing. `PackageError` when that fails."""
    if not packages:
        return
    try:
        async with asyncio.timeout(timeout_seconds):
            if not _has_lists():
                progress(0.0, "fetching package lists")
                await _apt(["update"], lambda share, what: progress(share * 0.2, what))
            arguments = ["install", "--yes", "--no-install-recommends", *packages]
            await _apt(arguments, lambda share, what: progress(0.2 + share * 0.8, what))
    except TimeoutError:
        raise PackageError(f"apt-get was not done within {timeout_seconds:.0f} s") from None
    progress(1.0, "installed")


def parse_status(line: str) -> tuple[float, str] | None:
    """Share and text of a line of APT's status descriptor: `pmstatus:PACKAGE:PERCENT:TEXT`, `dlstatus:N:PERCENT:TEXT`.

    Downloading is the first half, unpacking the second.
    """
    kind, _, rest = line.strip().partition(":")
    parts = rest.split(":", 2)
    if kind not in {"pmstatus", "dlstatus"} or len(parts) < 3:
        return None
    try:
        share = float(parts[1]) / 100
    except ValueError:
        return None
    return (0.5 + share / 2 if kind == "pmstatus" else share / 2), parts[2]


def _has_lists() -> bool:
    return any(_LISTS.glob("*_Packages*"))


async def _apt(arguments: Sequence[str], progress: Progress) -> None:
    reading, writing = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            "apt-get",
            "-o",
            f"APT::Status-Fd={writing}",
            "-o",
            "DPkg::Lock::Timeout=120",
            *arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(writing,),
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
        )
    finally:
        os.close(writing)
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", buffering=0)
    )
    try:
        async with asyncio.TaskGroup() as group:
            output = group.create_task(process.communicate())
            group.create_task(_follow(reader, progress))
    except BaseException:
        if process.returncode is None:
            process.terminate()
        raise
    finally:
        transport.close()
    said, _ = output.result()
    if process.returncode != 0:
        last = " | ".join(said.decode(errors="replace").strip().splitlines()[-4:])
        raise PackageError(f"apt-get {' '.join(arguments)}: {last}")


async def _follow(reader: asyncio.StreamReader, progress: Progress) -> None:
    while line := await reader.readline():
        if (status := parse_status(line.decode(errors="replace"))) is not None:
            progress(*status)
