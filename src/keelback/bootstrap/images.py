"""OCI images made on the spot, without a registry: from files in memory, a directory, or Debian packages.

An image is written as one OCI-layout tar, byte for byte the same for the same content; `load` takes it, or a tar of
`docker save`, into a containerd.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keelback.bootstrap import pause
from keelback.bootstrap.containerd import PAUSE_IMAGE
from keelback.concurrency.clock import Clock
from keelback.cri.containerd import CRIRuntime
from keelback.cri.runtime import ContainerRuntimeError
from keelback.cri.values import ImageSpec

LOAD_SECONDS = 300.0
_KNOWN_SECONDS = 10.0
_KNOWN_STEP_SECONDS = 0.005
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_EPOCH = "1970-01-01T00:00:00Z"


class ImageError(Exception):
    """An image could not be built or loaded; the text says what to do."""


@dataclass(frozen=True, slots=True)
class File:
    """One entry of an image: a file, a symbolic link (`target`), or a directory (neither content nor target)."""

    content: bytes | None = None
    target: str | None = None
    mode: int = 0o644

    @classmethod
    def program(cls, content: bytes) -> File:
        return cls(content, mode=0o755)

    @classmethod
    def link(cls, target: str) -> File:
        return cls(target=target, mode=0o777)

    @classmethod
    def directory(cls, mode: int = 0o755) -> File:
        return cls(mode=mode)


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """How containers of the image start."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    )
    working_directory: str = "/"
    user: str = ""
    ports: tuple[int, ...] = ()
    stop_signal: str = ""

    def document(self) -> dict[str, object]:
        config: dict[str, object] = {
            "Env": [f"{name}={value}" for name, value in self.environment.items()],
            "WorkingDir": self.working_directory,
        }
        if self.entrypoint:
            config["Entrypoint"] = list(self.entrypoint)
        if self.command:
            config["Cmd"] = list(self.command)
        if self.user:
            config["User"] = self.user
        if self.ports:
            config["ExposedPorts"] = {f"{port}/tcp": {} for port in self.ports}
        if self.stop_signal:
            config["StopSignal"] = self.stop_signal
        return config


def from_files(name: str, files: Mapping[str, File], config: ImageConfig) -> bytes:
    """An image of one layer with these files, by absolute path; parent directories come by themselves."""
    return _image(name, _layer_of_files(files), config)


def from_directory(name: str, root: Path, config: ImageConfig) -> bytes:
    """An image of one layer with everything below `root`, owners, modes and links as they are."""
    return _image(name, _layer_of_directory(root), config)


def from_packages(
    name: str,
    packages: Sequence[str],
    config: ImageConfig,
    *,
    files: Mapping[str, File] | None = None,
    exclude: Sequence[str] = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian"),
) -> bytes:
    """An image of Debian packages with all they depend on; `files` lie over them.

    Blocks for seconds. No package's installation script runs, so users it would make must be given: see `accounts`.
    `ImageError` when apt cannot be asked or a package is not to be had.
    """
    with tempfile.TemporaryDirectory(prefix="keelback-image-") as scratch:
        root = Path(scratch, "root")
        root.mkdir()
        archives = Path(scratch, "archives")
        archives.mkdir()
        _download(packages, archives)
        for archive in sorted(archives.glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(archive), str(root)])
        for path in exclude:
            shutil.rmtree(root / path, ignore_errors=True)
        for path, file in {**_BASE, **accounts(), **(files or {})}.items():
            _place(root, path, file)
        return from_directory(name, root, config)


_BASE: Mapping[str, File] = {
    "/run": File.directory(),
    "/run/lock": File.directory(0o1777),
    "/tmp": File.directory(0o1777),  # noqa: S108 - a path in the image
    "/root": File.directory(0o700),
    "/var/run": File.link("/run"),
}
"""What Debian's base-files package would bring, and programs take for granted."""


def extract_package(package: str, directory: Path) -> Path:
    """Unpack one Debian package, without what it depends on; the root of its files."""
    _run(["apt-get", "download", "-o", "APT::Sandbox::User=root", package], directory=directory)
    for archive in directory.glob("*.deb"):
        _run(["dpkg-deb", "--extract", str(archive), str(directory / "root")])
    return directory / "root"


def accounts(**users: int) -> dict[str, File]:
    """`/etc/passwd` and `/etc/group` with root, nobody, www-data and these users, each with a group of its own."""
    known = {"root": 0, "www-data": 33, "nobody": 65534, **users}
    groups = {name if name != "nobody" else "nogroup": number for name, number in known.items()}
    passwd = "".join(
        f"{name}:x:{number}:{number}:{name}:{'/root' if name == 'root' else '/'}:/bin/sh\n"
        for name, number in known.items()
    )
    group = "".join(f"{name}:x:{number}:\n" for name, number in groups.items())
    return {"/etc/passwd": File(passwd.encode()), "/etc/group": File(group.encode())}


def pause_image() -> bytes:
    """The image of pod sandboxes: nothing but the pause program."""
    program = File.program(pause.executable(platform.machine()))
    return from_files(PAUSE_IMAGE, {"/pause": program}, ImageConfig(entrypoint=("/pause",), user="65535:65535"))


def names(image: bytes | Path) -> list[str]:
    """The full names of the images in a tar, an OCI layout's or `docker save`'s. `ImageError` if it is neither."""
    try:
        with _opened(image) as archive:
            members = set(archive.getnames())
            if "index.json" in members:
                found = [
                    manifest.get("annotations", {}).get("io.containerd.image.name")
                    or manifest.get("annotations", {}).get("org.opencontainers.image.ref.name")
                    for manifest in _member(archive, "index.json")["manifests"]
                ]
            elif "manifest.json" in members:
                found = [tag for manifest in _member(archive, "manifest.json") for tag in manifest["RepoTags"] or []]
            else:
                raise ImageError("no image archive: it has neither index.json nor manifest.json")
    except (tarfile.TarError, EOFError, KeyError, ValueError) as error:
        # tarfile tells on a line each what every kind of compression says.
        raise ImageError(f"not an image archive: {str(error).splitlines()[0].rstrip(':')}") from error
    return [full_name(name) for name in found if name]


def full_name(name: str) -> str:
    """A name as containerd files it: `nginx` is `docker.io/library/nginx:latest`."""
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif "." not in first and ":" not in first and first != "localhost":
        name = f"docker.io/{name}"
    last = name.rpartition("/")[2]
    return name if ":" in last or "@" in last else f"{name}:latest"


async def load(socket: Path, image: bytes | Path, clock: Clock, *, timeout_seconds: float = LOAD_SECONDS) -> list[str]:
    """Import an image tar into the containerd at `socket`, for Kubernetes to use; the names it has there.

    Returns when CRI knows the names. `ImageError` when the tar is none, or the time is over.
    """
    found = await asyncio.to_thread(names, image)
    if isinstance(image, bytes):
        with tempfile.NamedTemporaryFile(prefix="keelback-image-", suffix=".tar") as file:
            file.write(image)
            file.flush()
            await _import(socket, Path(file.name), timeout_seconds)
    else:
        await _import(socket, image, timeout_seconds)
    await _wait_known(socket, found, clock)
    return found


async def _wait_known(socket: Path, found: Sequence[str], clock: Clock) -> None:
    """CRI learns of images by an event: some milliseconds later than whoever imported them."""
    runtime = CRIRuntime(socket, clock)
    deadline = clock.monotonic() + _KNOWN_SECONDS
    try:
        for name in found:
            while await runtime.image_status(ImageSpec(name)) is None:
                if clock.monotonic() > deadline:
                    raise ImageError(f"{name} was imported, but the runtime does not list it")
                await clock.sleep(_KNOWN_STEP_SECONDS)
    except ContainerRuntimeError as error:
        raise ImageError(f"the runtime does not answer: {error}") from error
    finally:
        await runtime.close()


async def _import(socket: Path, path: Path, timeout_seconds: float) -> None:
    arguments = ["ctr", "--address", str(socket), "--namespace", "k8s.io", "images", "import", str(path)]
    await asyncio.to_thread(_run, arguments, timeout_seconds=timeout_seconds)


def _layer_of_files(files: Mapping[str, File]) -> bytes:
    everything: dict[str, File] = {}
    for path, file in files.items():
        parts = path.strip("/").split("/")
        for depth in range(1, len(parts)):
            everything.setdefault("/".join(parts[:depth]), File.directory())
        everything["/".join(parts)] = file
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(everything):
            file = everything[path]
            entry = tarfile.TarInfo(path)
            entry.mode = file.mode
            if file.target is not None:
                entry.type, entry.linkname = tarfile.SYMTYPE, file.target
            elif file.content is None:
                entry.type = tarfile.DIRTYPE
            else:
                entry.size = len(file.content)
            archive.addfile(entry, io.BytesIO(file.content or b""))
    return buffer.getvalue()


def _layer_of_directory(root: Path) -> bytes:
    buffer = io.BytesIO()

    def stable(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in _sorted_tree(root):
            archive.add(path, arcname=str(path.relative_to(root)), recursive=False, filter=stable)
    return buffer.getvalue()


def _sorted_tree(root: Path) -> Iterator[Path]:
    for directory, subdirectories, files in os.walk(root):
        subdirectories.sort()
        # A link to a directory is listed among the directories, but is one entry and is not walked into.
        for name in sorted([*files, *subdirectories]):
            yield Path(directory, name)


def _image(name: str, layer: bytes, config: ImageConfig) -> bytes:
    blobs: dict[str, bytes] = {}

    def blob(content: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    machine = platform.machine()
    configuration = {
        "created": _EPOCH,
        "architecture": _ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": config.document(),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created": _EPOCH, "created_by": "keelback"}],
    }
    prefix = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{prefix}.manifest.v1+json",
        "config": blob(_json(configuration), f"{prefix}.config.v1+json"),
        "layers": [blob(gzip.compress(layer, compresslevel=1, mtime=0), f"{prefix}.layer.v1.tar+gzip")],
    }
    described = blob(_json(manifest), f"{prefix}.manifest.v1+json")
    full = full_name(name)
    described["annotations"] = {
        "io.containerd.image.name": full,
        "org.opencontainers.image.ref.name": full.rpartition(":")[2],
    }
    index = {"schemaVersion": 2, "mediaType": f"{prefix}.index.v1+json", "manifests": [described]}
    entries = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": _json(index)}
    entries |= {f"blobs/sha256/{digest}": content for digest, content in blobs.items()}
    return _layer_of_files({path: File(content) for path, content in entries.items()})


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _opened(image: bytes | Path) -> tarfile.TarFile:
    if isinstance(image, bytes):
        return tarfile.open(fileobj=io.BytesIO(image))
    return tarfile.open(image)


def _member(archive: tarfile.TarFile, name: str) -> Any:
    file = archive.extractfile(name)
    if file is None:
        raise ImageError(f"not an image archive: {name} is not a file")
    return json.loads(file.read())


def _place(root: Path, path: str, file: File) -> None:
    target = root / path.strip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.content is None and file.target is None:
        target.mkdir(exist_ok=True)
        target.chmod(file.mode)
        return
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)  # some packages still bring /var/run as a directory
    target.unlink(missing_ok=True)
    if file.target is not None:
        target.symlink_to(file.target)
    else:
        assert file.content is not None
        target.write_bytes(file.content)
        target.chmod(file.mode)


def _download(packages: Sequence[str], directory: Path) -> None:
    """Fetch packages and all they depend on, whatever is installed here."""
    empty = directory / "status"
    empty.touch()
    simulated = _run(
        ["apt-get", "--simulate", "--no-install-recommends", "-o", f"Dir::State::status={empty}", "install", *packages]
    )
    wanted = [f"{name}={version}" for name, version in simulated_installs(simulated.splitlines())]
    if not wanted:
        raise ImageError(f"apt finds nothing to install for {' '.join(packages)}")
    _run(["apt-get", "download", "-o", "APT::Sandbox::User=root", *wanted], directory=directory)


def simulated_installs(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Name and version of each `Inst NAME (VERSION ...` line of `apt-get --simulate`."""
    for line in lines:
        words = line.split()
        if len(words) > 2 and words[0] == "Inst":
            yield words[1], words[2].lstrip("(")


def _run(arguments: Sequence[str], *, directory: Path | None = None, timeout_seconds: float = 300.0) -> str:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            list(arguments),
            cwd=directory or "/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            timeout=timeout_seconds,
            check=False,
        )
    except FileNotFoundError as error:
        raise ImageError(f"{arguments[0]} not found") from error
    except subprocess.TimeoutExpired as error:
        raise ImageError(f"{' '.join(arguments)}: not done within {timeout_seconds:.0f} s") from error
    if done.returncode != 0:
        raise ImageError(f"{' '.join(arguments)}: {done.stderr.strip()[-2000:]}")
    return done.stdout
