"""Where a cluster lies on this machine and what was asked of it: all that `down` needs after any kind of end.

The data directory holds what is kept (settings, certificates, store, logs, images); the run directory what ends with a
reboot (records of processes, sockets, namespaces).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from keelback.apimachinery.kubernetes_versions import DEFAULT
from keelback.bootstrap.processes import Process
from keelback.bootstrap.simulated_time import Pace

KUBERNETES_VERSION = str(DEFAULT)
DEFAULT_NAME = "local"
T = TypeVar("T", bound=msgspec.Struct)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")


class ClusterError(Exception):
    """The cluster cannot do what was asked; the text says which part failed and what to do."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a cluster was started with."""

    name: str
    nodes: int = 1
    simulated: bool = False
    store: str = "sqlite"
    """What keeps the objects: sqlite, or etcd."""
    port: int = 0
    """Where the API server listens on 127.0.0.1."""
    kubernetes_version: str = KUBERNETES_VERSION
    newest_kubernetes_version: str = ""
    """The newest version that has written what is stored; the present one if it is not said."""
    arguments: Mapping[str, tuple[str, ...]] = {}
    """Further flags (`name=value`) by component."""
    kubeconfig: str = ""
    """The user's file that has the cluster's context."""
    stages: str = ""
    """KWOK's, as YAML, that simulated nodes and their pods go through."""
    pace: Pace | None = None
    """How fast time goes on simulated nodes; None is the machine's time."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How far the control plane has come; it writes this file, and whoever started it reads it."""

    api_ready: bool = False
    nodes: Mapping[str, str] = {}
    """What each node is doing; `Ready` at the end."""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """The directories and files of one cluster."""

    name: str
    data: Path

    @property
    def run(self) -> Path:
        """Short, as socket paths must be, and on a file system that ends with the machine where that may be had."""
        is_system = os.geteuid() == 0 and Path("/run").is_dir()
        return Path("/run/keelback", self.name) if is_system else self.data / "run"

    @property
    def settings_file(self) -> Path:
        return self.data / "cluster.json"

    @property
    def report_file(self) -> Path:
        return self.run / "report.json"

    @property
    def process_file(self) -> Path:
        return self.run / "control-plane.json"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def pki(self) -> Path:
        return self.data / "pki"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.data / "admin.conf"

    @property
    def fabric(self) -> Path:
        return self.run / "fabric"

    @property
    def context(self) -> str:
        """What the cluster, its context and its administrator are called in the user's kubeconfig."""
        return f"keelback-{self.name}"

    def control_plane_log(self) -> Path:
        return self.logs / "control-plane.log"

    def node_log(self, node: str) -> Path:
        return self.logs / f"{node}.log"

    def settings(self) -> Settings | None:
        """What is written; None where no cluster is. `ClusterError` for a file that nobody here wrote."""
        return _read(self.settings_file, Settings)

    def report(self) -> Report:
        return _read(self.report_file, Report) or Report()

    def process(self) -> Process | None:
        """The running control plane."""
        process = _read(self.process_file, Process)
        return process if process is not None and process.is_alive() else None

    def check_own(self) -> None:
        """Raises ClusterError where the run directory is another cluster's, of the same name and with other data.

        One of another user, or of another home: names are for the whole machine where the run directory is.
        """
        with contextlib.suppress(FileNotFoundError):
            owner = Path(self._owner_file.read_text())
            if owner != self.data:
                raise ClusterError(
                    f"a cluster {self.name} with its data in {owner} is on this machine: use another --name, "
                    f"or say --data-dir {owner}"
                )

    @property
    def _owner_file(self) -> Path:
        return self.run / "data-directory"

    def make(self) -> None:
        for directory in (self.data, self.run, self.logs):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._owner_file.write_text(str(self.data))

    def write(self, path: Path, value: msgspec.Struct) -> None:
        """Put a file in its place at once, whole or not at all."""
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_bytes(msgspec.json.encode(value, enc_hook=str))
        os.replace(temporary, path)

    def remove(self, *, keep_data: bool) -> None:
        shutil.rmtree(self.run, ignore_errors=True)
        with contextlib.suppress(OSError):
            Path("/run/keelback").rmdir()
        if not keep_data:
            shutil.rmtree(self.data, ignore_errors=True)
            _index_file(self.name).unlink(missing_ok=True)
            # The folder above goes with the last cluster, if it is ours.
            for directory in (_index_file(self.name).parent, home()):
                with contextlib.suppress(OSError):
                    directory.rmdir()


def home() -> Path:
    """Below it clusters lie that were given no data directory."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "keelback"


def kubeconfig_path(environment: Mapping[str, str]) -> Path:
    """The user's kubeconfig, the file that kubectl would change: the first of $KUBECONFIG, or ~/.kube/config."""
    for name in environment.get("KUBECONFIG", "").split(os.pathsep):
        if name:
            return Path(name)
    return Path(environment.get("HOME", "~")).expanduser() / ".kube" / "config"


def check_name(name: str) -> str:
    """The name, if it may be one: it becomes part of paths, host names and control groups."""
    if not _NAME.fullmatch(name):
        raise ClusterError(f"{name!r} is no name for a cluster: lower-case letters, digits and '-', at most 32")
    return name


def place_of(name: str, data_directory: Path | None = None) -> Place:
    """Where the cluster of this name is, or will be. `ClusterError` where it lies elsewhere already."""
    check_name(name)
    written = _index_file(name)
    known = Path(written.read_text()) if written.exists() else None
    if data_directory is None:
        return Place(name, known or home() / name)
    wanted = data_directory.absolute()
    if known is not None and known != wanted and Place(name, known).settings() is not None:
        raise ClusterError(f"cluster {name} has its data in {known}: take it down first, or use another --name")
    return Place(name, wanted)


def remember(place: Place) -> None:
    """Let `place_of` and `every` find a cluster by its name."""
    path = _index_file(place.name)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(str(place.data))


def every() -> Iterator[Place]:
    """The clusters of this user, by name."""
    directory = _index_file("x").parent
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        place = Place(path.name, Path(path.read_text()))
        if place.settings() is not None:
            yield place


def _index_file(name: str) -> Path:
    return home() / ".clusters" / name


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ClusterError(f"{path} cannot be read: {error}") from error
