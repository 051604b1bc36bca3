"""Clusters of this machine, from outside: start one, wait until it works, take it down.

Everything here may be repeated. Starting adopts what runs and starts what does not; taking down leaves nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from keelback.apimachinery import kubernetes_versions
from keelback.bootstrap import cluster_state, components, failures
from keelback.bootstrap.addresses import cluster_addresses
from keelback.bootstrap.cluster_state import ClusterError, Place, Report, Settings
from keelback.bootstrap.etcd_member import EtcdMember
from keelback.bootstrap.processes import Process
from keelback.bootstrap.progress import Progress
from keelback.concurrency.clock import Clock, SystemClock

API_SECONDS = 30.0
NODES_SECONDS = 120.0
_LOG_LINES = 15
_NAMED_NODES = 10
"""Of more nodes only the number is told."""
_POLL_SECONDS = 0.02
_STOP_SECONDS = 8.0
_KILL_SECONDS = 5.0


@contextlib.contextmanager
def locked(place: Place) -> Iterator[None]:
    """Nobody else starts this cluster or takes it down meanwhile. `ClusterError` when somebody does so already."""
    path = place.data.parent / f".{place.data.name}.lock"
    try:
        place.data.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("w")
    except OSError as error:
        raise ClusterError(f"no cluster can be in {place.data}: {error.strerror} ({error.filename})") from error
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it until now may have removed the file meanwhile: then this is the lock of nothing.
            if os.fstat(file.fileno()).st_ino != path.stat().st_ino:
                raise BlockingIOError
        except OSError:
            raise ClusterError(f"cluster {place.name} is being started or taken down by another command") from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            if path.parent == cluster_state.home():
                with contextlib.suppress(OSError):
                    path.parent.rmdir()


async def up(place: Place, wanted: Settings, progress: Progress, clock: Clock) -> Settings:
    """Start the cluster, or what of it does not run; return when every node is Ready.

    `ClusterError` says which part failed, with the last lines of its log. Cancelled, it takes down what it started.
    """
    place.check_own()
    existed = place.settings() is not None
    settings = _settled(place, wanted)
    components.check(settings)
    process = place.process()
    if process is not None:
        progress.done(f"Cluster {place.name} runs already")
        await _wait(place, process, settings, progress, clock)
        return settings
    try:
        place.make()
        place.write(place.settings_file, settings)
        cluster_state.remember(place)
        place.report_file.unlink(missing_ok=True)
        process = _launch(place)
        progress.doing("Starting the control plane")
        await _wait(place, process, settings, progress, clock)
    except asyncio.CancelledError:
        progress.done("Interrupted: what was started is taken down")
        await down(place, progress, keep_data=existed)
        raise
    return settings


def _settled(place: Place, wanted: Settings) -> Settings:
    """What was asked for, with what an earlier start decided. `ClusterError` where the two contradict each other."""
    known = place.settings()
    addresses = cluster_addresses(wanted)
    if known is None:
        return msgspec.structs.replace(wanted, port=wanted.port or _free_port())
    if known.simulated != wanted.simulated:
        kinds = {True: "simulated", False: "real"}
        raise ClusterError(
            f"cluster {place.name} has {kinds[known.simulated]} nodes, not {kinds[wanted.simulated]} ones: "
            f"keelback down --name {place.name} first"
        )
    if known.store != wanted.store:
        raise ClusterError(
            f"cluster {place.name} keeps its objects in {known.store}, not in {wanted.store}: "
            f"keelback down --name {place.name} first, which deletes them"
        )
    changed = _changeable(known) != _changeable(wanted)
    if changed and place.process() is not None:
        raise ClusterError(
            f"cluster {place.name} runs with other settings (Kubernetes {known.kubernetes_version}, "
            f"{known.nodes} node(s)): keelback down --keep-data --name {place.name} first"
        )
    newest = _newest(place, known, wanted)
    before = cluster_addresses(known)
    if before != addresses:
        raise ClusterError(
            f"cluster {place.name} has its Services in {before.services} and its pods in {before.pods} by /"
            f"{before.node_mask}, and what is stored says so: keelback down --name {place.name} first"
        )
    if wanted.port not in (0, known.port) and place.process() is not None:
        raise ClusterError(f"cluster {place.name} serves on port {known.port}: keelback down --keep-data first")
    return msgspec.structs.replace(wanted, port=wanted.port or known.port, newest_kubernetes_version=newest)


def _changeable(settings: Settings) -> tuple[object, ...]:
    speed = 1.0 if settings.pace is None else settings.pace.speed
    return settings.nodes, settings.arguments, settings.kubernetes_version, settings.stages, speed


def _newest(place: Place, known: Settings, wanted: Settings) -> str:
    """The newest version that will have written what is stored. Raises ClusterError where the wanted is too old for it.

    One version back is what Kubernetes promises to be able to read (KEP-4330).
    """
    before = kubernetes_versions.parse(known.newest_kubernetes_version or known.kubernetes_version)
    version = kubernetes_versions.parse(wanted.kubernetes_version)
    if version.minor < before.minor - 1:
        raise ClusterError(
            f"cluster {place.name} has run Kubernetes {before}: it may go back one minor version, not to {version}; "
            f"keelback down --name {place.name} first, which deletes what is stored"
        )
    return str(max(before, version))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _launch(place: Place) -> Process:
    """Start the control plane, in a session of its own."""
    arguments = [sys.executable, "-m", "keelback.cli.main", "control-plane"]
    arguments += ["--name", place.name, "--data-dir", str(place.data)]
    with place.control_plane_log().open("ab") as log:
        child = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
        )
    process = Process.of(child.pid)
    place.write(place.process_file, process)
    return process


async def _wait(place: Place, process: Process, settings: Settings, progress: Progress, clock: Clock) -> None:
    began = clock.monotonic()
    shown: set[str] = set()
    while True:
        report = place.report()
        _tell(report, shown, settings, progress)
        if report.api_ready and report.nodes and all(state == "Ready" for state in report.nodes.values()):
            return
        passed = clock.monotonic() - began
        failure = _failure(place, process, report, passed)
        if failure:
            raise ClusterError(failures.with_advice(failure, place.data))
        await clock.sleep(_POLL_SECONDS)


def _failure(place: Place, process: Process, report: Report, passed: float) -> str:
    """Which part failed, and how, after so many seconds; empty while all goes well."""
    log = place.control_plane_log()
    if report.failure:
        return f"the control plane failed: {report.failure}\n(all of it: {log})"
    if not process.is_alive():
        return f"the control plane ended while starting\n{tail(log)}"
    if not report.api_ready and passed > API_SECONDS:
        return f"the API server does not answer after {API_SECONDS:.0f} s\n{tail(log)}"
    return _late_nodes(place, report) if passed > NODES_SECONDS else ""


def _tell(report: Report, shown: set[str], settings: Settings, progress: Progress) -> None:
    if report.api_ready and "api" not in shown:
        shown.add("api")
        progress.done(f"API server answers on https://127.0.0.1:{settings.port}")
    waiting = {name: state for name, state in report.nodes.items() if state != "Ready"}
    count = len(report.nodes)
    if count > _NAMED_NODES:
        if not waiting:
            progress.done(f"{count} nodes are Ready")
        elif report.api_ready:
            progress.doing(f"{count - len(waiting)} of {count} nodes are Ready")
        return
    for name in report.nodes:
        if name not in waiting and name not in shown:
            shown.add(name)
            progress.done(f"Node {name} is Ready")
    if waiting:
        name, state = next(iter(waiting.items()))
        progress.doing(f"{name}: {state}" + (f" (and {len(waiting) - 1} more nodes)" if len(waiting) > 1 else ""))


def _late_nodes(place: Place, report: Report) -> str:
    late = {name: state for name, state in report.nodes.items() if state != "Ready"}
    name, state = next(iter(late.items()))
    log = place.node_log(name) if place.node_log(name).exists() else place.control_plane_log()
    return f"node {name} is not Ready after {NODES_SECONDS:.0f} s; its last step: {state}\n{tail(log)}"


def tail(path: Path, lines: int = _LOG_LINES) -> str:
    """The last lines of a log, for people."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return f"({path}: no log)"
    return "\n".join(["", f"Last lines of {path}:", *(f"  {line}" for line in text.splitlines()[-lines:])])


async def down(place: Place, progress: Progress, *, keep_data: bool = False) -> bool:
    """End everything of the cluster and remove it. False when there was nothing. Raises what cannot be removed."""
    place.check_own()
    existed = place.settings_file.exists() or place.run.exists()
    process = place.process()
    if process is not None:
        progress.doing("Stopping the control plane")
        await process.stop(_STOP_SECONDS)
    # A control plane that was killed has left it.
    await EtcdMember(place, SystemClock()).stop()
    if place.fabric.exists() or any(_nodes(place)):
        progress.doing("Stopping the nodes")
        await _destroy_nodes(place)
    place.remove(keep_data=keep_data)
    return existed


async def _destroy_nodes(place: Place) -> None:
    # Only real nodes need any of this.
    from keelback.bootstrap.node_namespace import NodeEnvironmentError, destroy_remains
    from keelback.network.fabric import Fabric

    fabric = Fabric(place.fabric)
    try:
        await asyncio.gather(*(destroy_remains(directory, fabric) for directory in _nodes(place)))
    except NodeEnvironmentError as error:
        raise ClusterError(str(error)) from error
    await asyncio.to_thread(fabric.destroy)


def _nodes(place: Place) -> Sequence[Path]:
    return sorted(path for path in place.run.glob("node-*") if path.is_dir())


async def remove_context(place: Place, settings: Settings | None) -> None:
    """Take the cluster's entries out of the user's kubeconfig."""
    from keelback.client import kubeconfig

    path = Path(settings.kubeconfig) if settings and settings.kubeconfig else cluster_state.kubeconfig_path(os.environ)
    if path.exists():
        await kubeconfig.remove(path, place.context)


async def merge_context(place: Place, settings: Settings) -> None:
    """Put the cluster into the user's kubeconfig, as its current context."""
    import yaml

    from keelback.client import kubeconfig

    tree = yaml.safe_load(place.kubeconfig.read_text())
    await kubeconfig.merge(Path(settings.kubeconfig), tree)
