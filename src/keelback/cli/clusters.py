"""The commands about clusters: each reads its arguments, lets `bootstrap` do it, and says what came of it."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from keelback.apimachinery import kubernetes_versions
from keelback.bootstrap import cluster, cluster_state, failures, simulated_time
from keelback.bootstrap.cluster_state import KUBERNETES_VERSION, ClusterError, Place, Settings
from keelback.bootstrap.progress import Progress
from keelback.bootstrap.simulated_time import Pace
from keelback.concurrency.clock import SystemClock

T = TypeVar("T")
_MOST_NODES = 5000
_MOST_REAL_NODES = 50
_LAST_PORT = 65535
_FOLLOW_SECONDS = 0.2
_STATUS_SECONDS = 5.0
_NAMED_NODES = 10


def up(given: argparse.Namespace) -> int:
    """Start a cluster and wait until it works."""
    clock = SystemClock()
    progress = Progress(clock)
    place, settings = _run(_up(given, progress, clock))
    progress.say(f"Cluster {place.name} is up. {_hint(place, settings)}")
    return 0


def demo(given: argparse.Namespace) -> int:
    """Start a cluster, deploy the sample application, call it, and say what to type next."""
    from keelback.apimachinery.errors import StatusError
    from keelback.bootstrap import sample_application

    async def work() -> None:
        clock = SystemClock()
        progress = Progress(clock)
        place, settings = await _up(given, progress, clock)
        try:
            answer = await sample_application.deploy_and_call(place, settings, progress, clock)
        except StatusError as error:
            raise ClusterError(f"the API server refused the sample application: {error}") from error
        progress.say("")
        if answer:
            progress.say(f"The Service answered: {answer}")
        progress.say(sample_application.next_steps(place, settings))

    _run(work())
    return 0


def down(given: argparse.Namespace) -> int:
    """Take one cluster down, or all."""
    places = list(cluster_state.every()) if given.all else [_place(given)]
    progress = Progress(SystemClock())

    async def work(place: Place) -> None:
        with cluster.locked(place):
            settings = place.settings()
            existed = await cluster.down(place, progress, keep_data=given.keep_data)
            await _with_kubeconfig(cluster.remove_context(place, settings))
        progress.done(f"Cluster {place.name} is down" if existed else f"There is no cluster {place.name}")

    for place in places:
        _run(work(place))
    return 0


def status(given: argparse.Namespace) -> int:
    """Say how a cluster is; 1 when it does not run."""
    place = _existing(given)
    settings, process = _settings(place), place.process()
    kind = "simulated" if settings.simulated else "real"
    print(f"Cluster:        {place.name} (Kubernetes {settings.kubernetes_version}, {settings.nodes} {kind} node(s))")
    print(f"Data:           {place.data}")
    print(f"Context:        {place.context} in {settings.kubeconfig}")
    if process is None:
        print("Control plane:  stopped (`keelback up` starts it)")
        return 1
    report = place.report()
    print(f"Control plane:  running, process {process.pid}, log {place.control_plane_log()}")
    nodes = _run(_nodes_by_api(place))
    answers = nodes is not None
    print(f"API server:     https://127.0.0.1:{settings.port} {'ready' if answers else 'does not answer'}")
    if report.failure:
        print(f"Failure:        {report.failure}")
    nodes = report.nodes if nodes is None else nodes
    ready = sum(state == "Ready" for state in nodes.values())
    if len(nodes) > _NAMED_NODES:
        print(f"Nodes:          {ready} of {len(nodes)} Ready")
    else:
        for name, state in nodes.items():
            print(f"Node:           {name} {state}")
    return 0 if answers else 1


def list_clusters(given: argparse.Namespace) -> int:
    """Name every cluster."""
    rows = [("NAME", "STATUS", "NODES", "API", "DATA")]
    for place in cluster_state.every():
        settings = _settings(place)
        state = "running" if place.process() is not None else "stopped"
        nodes = f"{settings.nodes} simulated" if settings.simulated else str(settings.nodes)
        rows.append((place.name, state, nodes, f"https://127.0.0.1:{settings.port}", str(place.data)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    return 0


def kubeconfig(given: argparse.Namespace) -> int:
    """Print the administrator's kubeconfig."""
    place = _existing(given)
    if not place.kubeconfig.exists():
        raise ClusterError(f"cluster {place.name} has not come so far as to have a kubeconfig")
    sys.stdout.write(place.kubeconfig.read_text())
    return 0


def logs(given: argparse.Namespace) -> int:
    """Print a log, and go on as it grows."""
    place = _existing(given)
    path = place.logs / f"{given.component}.log"
    if given.component.startswith("containerd/"):
        path = place.data / "nodes" / given.component.partition("/")[2] / "containerd.log"
    if "/" in path.name or not path.exists():
        known = ", ".join(sorted(log.stem for log in place.logs.glob("*.log"))) or "none yet"
        raise ClusterError(f"there is no log of {given.component!r}; there are: {known}")

    async def follow() -> None:
        with path.open(errors="replace") as file:
            text = file.read()
            lines = text.splitlines(keepends=True)
            sys.stdout.write("".join(lines[max(0, len(lines) - given.tail) :]) if given.tail >= 0 else text)
            while given.follow:
                sys.stdout.write(file.read())
                sys.stdout.flush()
                await asyncio.sleep(_FOLLOW_SECONDS)

    _run(follow())
    return 0


def load(given: argparse.Namespace) -> int:
    """Load an image on every node."""
    place = _existing(given)
    settings = _settings(place)
    if settings.simulated:
        raise ClusterError(f"cluster {place.name} has simulated nodes: they run any image without having it")
    if not given.image.is_file():
        raise ClusterError(f"{given.image}: {'not a file' if given.image.exists() else 'no such file'}")
    from keelback.bootstrap import images

    # It is read by a program of the node's, which is somewhere else.
    image = given.image.absolute()

    async def work() -> None:
        sockets = sorted(place.run.glob("node-*/containerd/containerd.sock"))
        if not sockets:
            raise ClusterError(f"cluster {place.name} does not run: keelback up --name {place.name}")
        failed: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                loading = [tasks.create_task(images.load(one, image, SystemClock())) for one in sockets]
        except* images.ImageError as group:
            # Raised further below: what is raised in here, Python before 3.11.4 wraps in a group once more.
            failed = group.exceptions[0]
        if failed:
            raise ClusterError(f"{given.image}: {failed}")
        for name in loading[0].result():
            print(f"{name} is on {len(sockets)} node(s)")

    _run(work())
    return 0


def disconnect(given: argparse.Namespace) -> int:
    """Cut a node off from the API server and the other nodes; its containers run on."""
    return _set_connected(given, False)


def connect(given: argparse.Namespace) -> int:
    """Connect a node again that was cut off."""
    return _set_connected(given, True)


def _set_connected(given: argparse.Namespace, connected: bool) -> int:
    place = _existing(given)
    if _settings(place).simulated:
        raise ClusterError(f"cluster {place.name} has simulated nodes: there is no network to cut")
    from keelback.bootstrap import node_namespace
    from keelback.network.fabric import Fabric

    known = [f"node-{index}" for index in range(_settings(place).nodes)]
    if given.node not in known:
        raise ClusterError(f"cluster {place.name} has no node {given.node!r}; it has {', '.join(known)}")
    if not _run(node_namespace.set_connected(place.run / given.node, Fabric(place.fabric), connected)):
        raise ClusterError(f"node {given.node} does not run: keelback up --name {place.name}")
    print(f"{given.node} is connected again" if connected else f"{given.node} is cut off: kubectl get nodes --watch")
    return 0


def control_plane(given: argparse.Namespace) -> int:
    """Be the control plane, until told to end."""
    from keelback.bootstrap import control_plane as plane
    from keelback.component import logs as logging

    logging.configure()
    _run(plane.run(_place(given)), is_server=True)
    return 0


async def _up(given: argparse.Namespace, progress: Progress, clock: SystemClock) -> tuple[Place, Settings]:
    place = _place(given)
    with cluster.locked(place):
        wanted = await _wanted(given, place, progress)
        try:
            settings = await cluster.up(place, wanted, progress, clock)
        except OSError as error:
            text = f"cannot start a cluster in {place.data}: {error}"
            raise ClusterError(failures.with_advice(text, place.data)) from error
        await _with_kubeconfig(cluster.merge_context(place, settings))
    return place, settings


async def _with_kubeconfig(work: Coroutine[object, object, None]) -> None:
    """Change the user's file. `ClusterError` where it cannot be: what was done to the cluster stays done."""
    from keelback.client.kubeconfig import KubeconfigError

    try:
        await work
    except (OSError, KubeconfigError) as error:
        raise ClusterError(f"the kubeconfig cannot be changed: {error}") from error


async def _wanted(given: argparse.Namespace, place: Place, progress: Progress) -> Settings:
    """The settings that the command line says, an earlier start's for what it does not say."""
    if not 0 <= given.api_port <= _LAST_PORT:
        raise ClusterError(f"--api-port {given.api_port}: from 1 to {_LAST_PORT}, or 0 for a free one")
    known = place.settings()
    version = _version(given.kubernetes_version, known)
    simulated = given.simulated or (known is not None and known.simulated)
    if not simulated and known is None:
        simulated = await _must_simulate(place, progress)
    nodes = given.nodes if given.nodes is not None else (known.nodes if known is not None else 1)
    most = _MOST_NODES if simulated else _MOST_REAL_NODES
    if not 1 <= nodes <= most:
        raise ClusterError(f"--nodes {nodes}: from 1 to {most}{'' if simulated else ' real ones on one machine'}")
    if not simulated and (given.stages or given.speed):
        raise ClusterError("--stages and --speed are of simulated nodes: say --simulated, too")
    arguments = _component_arguments(given) or (known.arguments if known is not None else {})
    return Settings(
        name=place.name,
        nodes=nodes,
        simulated=simulated,
        store=given.store or (known.store if known is not None else "sqlite"),
        port=given.api_port,
        kubernetes_version=version,
        arguments=arguments,
        stages=_stages(given.stages) or (known.stages if known is not None else ""),
        pace=_pace(given.speed, None if known is None else known.pace),
        kubeconfig=str(cluster_state.kubeconfig_path(os.environ).absolute()),
    )


async def _must_simulate(place: Place, progress: Progress) -> bool:
    """Whether this machine runs no containers; if so, the reason is told. Missing packages are installed first."""
    from keelback.bootstrap import machine, packages

    found = machine.observe(place.data)
    if found.missing_packages and found.can_install and os.environ.get("KEELBACK_INSTALL") == "1":
        progress.done(f"Installing {' '.join(found.missing_packages)}")
        try:
            await packages.install(found.missing_packages, lambda share, what: progress.doing(f"{share:4.0%} {what}"))
        except packages.PackageError as error:
            progress.say(str(error))
        found = machine.observe(place.data)
    findings = machine.examine(found)
    if machine.can_run_containers(findings):
        return False
    progress.say(machine.why_simulated(findings))
    return True


def _stages(paths: Sequence[Path]) -> str:
    """The Stages of files and folders as one text. Raises ClusterError."""
    from keelback.simulation import stage_files

    texts = []
    for path in paths:
        try:
            found = [one for one in path.rglob("*") if one.suffix in (".yaml", ".yml")] if path.is_dir() else [path]
            for file in sorted(found):
                texts.append(file.read_text())
                stage_files.read_all(texts[-1])
        except (OSError, UnicodeDecodeError, stage_files.StageError) as error:
            raise ClusterError(f"--stages {path}: {error}") from error
    return "\n---\n".join(texts)


def _pace(speed: str, known: Pace | None) -> Pace | None:
    """As fast as the command line says, or as before. Raises ClusterError."""
    if not speed:
        return known
    try:
        return simulated_time.paced(known, simulated_time.parse_speed(speed), SystemClock().now())
    except ValueError as error:
        raise ClusterError(f"--speed: {error}") from error


def _component_arguments(given: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    from keelback.bootstrap import components
    from keelback.cli.main import COMPONENT_ARGUMENTS

    found = {}
    for component in COMPONENT_ARGUMENTS:
        if texts := tuple(getattr(given, f"argument_{component}")):
            found[component] = components.absolute(component, texts, Path.cwd())
    return found


def _version(asked: str | None, known: Settings | None) -> str:
    """The version asked for, an earlier start's if none is. Raises ClusterError, naming those that there are."""
    if asked is None:
        return KUBERNETES_VERSION if known is None else known.kubernetes_version
    try:
        return str(kubernetes_versions.parse(asked))
    except ValueError as error:
        raise ClusterError(f"--kubernetes-version: {error}") from error


def _hint(place: Place, settings: Settings) -> str:
    return f"Its context {place.context} is the current one in {settings.kubeconfig}: kubectl get nodes"


def _place(given: argparse.Namespace) -> Place:
    directory: Path | None = given.data_dir
    return cluster_state.place_of(given.name, directory)


def _existing(given: argparse.Namespace) -> Place:
    place = _place(given)
    if place.settings() is None:
        raise ClusterError(f"there is no cluster {place.name}: keelback up --name {place.name}")
    return place


def _settings(place: Place) -> Settings:
    settings = place.settings()
    assert settings is not None
    return settings


async def _nodes_by_api(place: Place) -> Mapping[str, str] | None:
    """What the API says of each node; None where it does not answer."""
    from keelback.apimachinery.errors import StatusError
    from keelback.bootstrap.node_readiness import node_states
    from keelback.client import Client, kubeconfig

    try:
        client = Client(kubeconfig.transport(kubeconfig.load(place.kubeconfig)))
    except kubeconfig.KubeconfigError:
        return None
    try:
        async with asyncio.timeout(_STATUS_SECONDS):
            await client.request("GET", "/readyz")
            return await node_states(client)
    except (OSError, TimeoutError, StatusError):
        return None
    finally:
        await client.close()


def _run(work: Coroutine[object, object, T], *, is_server: bool = False) -> T:
    if is_server:
        from keelback.component import event_loop

        return event_loop.run(work)
    return asyncio.run(work)
