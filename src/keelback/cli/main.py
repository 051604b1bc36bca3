"""The `keelback` command: what may be said to it, and which module then does it.

Modules that do something are imported when they are asked for, so that the rest answers at once.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from keelback import __version__
from keelback.apimachinery.kubernetes_versions import CHOICE
from keelback.bootstrap.cluster_state import DEFAULT_NAME, KUBERNETES_VERSION, ClusterError
from keelback.cli import etcd

COMPONENT_ARGUMENTS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "metrics-server",
)
TESTING = {"sim": "sim", "test": "with_cluster"}
"""Commands that are programs of `keelback.testing`, with a parser each, and where they are there."""
COMPONENTS = ("apiserver", "controller-manager", "scheduler", "kubelet", "proxy", "dns")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status. Never raises for what a user did wrong."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    component = arguments[0].removeprefix("kube-") if arguments else ""
    if component in COMPONENTS:
        # A component's flags are upstream's own, and its options class knows them.
        from keelback.cli import components

        return components.run(component, arguments[1:])
    if component in TESTING:
        return _of_testing(TESTING[component], arguments[1:])
    given = parser().parse_args(arguments)
    try:
        return int(given.run(given) or 0)
    except ClusterError as error:
        print(f"keelback: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("keelback: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read has read enough, as `head` does. Nothing is left to write when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def parser() -> argparse.ArgumentParser:
    """All commands and their flags."""
    top = argparse.ArgumentParser(prog="keelback", description="Kubernetes in Python: clusters on this machine.")

    def no_command(_given: argparse.Namespace) -> int:
        top.print_help()
        return 2

    top.set_defaults(run=no_command)
    commands = top.add_subparsers(title="commands", metavar="COMMAND")

    up = commands.add_parser("up", help="start a cluster, or what of it does not run")
    _name(up)
    _start_flags(up)
    up.set_defaults(run=_cluster("up"))

    demo = commands.add_parser("demo", help="start a cluster, deploy a sample application, and call it")
    _name(demo)
    _start_flags(demo)
    demo.set_defaults(run=_cluster("demo"))

    down = commands.add_parser("down", help="take a cluster down, and leave nothing behind")
    _name(down)
    down.add_argument("--keep-data", action="store_true", help="keep its data, for the next `up`")
    down.add_argument("--all", action="store_true", help="every cluster of this user")
    down.set_defaults(run=_cluster("down"))

    status = commands.add_parser("status", help="say how a cluster is")
    _name(status)
    status.set_defaults(run=_cluster("status"))

    listed = commands.add_parser("list", help="name the clusters of this user")
    listed.set_defaults(run=_cluster("list_clusters"))

    kubeconfig = commands.add_parser("kubeconfig", help="print a cluster's kubeconfig")
    _name(kubeconfig)
    kubeconfig.set_defaults(run=_cluster("kubeconfig"))

    logs = commands.add_parser("logs", help="print a component's log")
    _name(logs)
    logs.add_argument("component", nargs="?", default="control-plane", help="control-plane (default), or a node's name")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
    logs.add_argument("--tail", type=int, default=-1, metavar="N", help="only the last N lines")
    logs.set_defaults(run=_cluster("logs"))

    load = commands.add_parser("load", help="load an image into every node's containerd")
    _name(load)
    load.add_argument("image", type=Path, metavar="IMAGE_TAR", help="as `docker save` or an OCI layout has it")
    load.set_defaults(run=_cluster("load"))

    for verb, meaning in (("disconnect", "cut a node off from all others"), ("connect", "connect it again")):
        link = commands.add_parser(verb, help=f"{meaning}: to see what a cluster does then")
        link.add_argument("node", metavar="NODE", help="a node's name")
        _name(link)
        link.set_defaults(run=_cluster(verb))

    explain = commands.add_parser("explain", help="say of a pod why it is where it is, or why it waits")
    explain.add_argument("kind", choices=("pod",), metavar="pod")
    explain.add_argument("pod", metavar="NAME")
    explain.add_argument("-n", "--namespace", default="", help="the pod's namespace (default: the context's)")
    explain.add_argument("--nodes", type=int, default=0, metavar="N", help="of no more than N nodes (default: all)")
    explain.add_argument("--config", default="", metavar="FILE", help="the scheduler's KubeSchedulerConfiguration")
    explain.add_argument(
        "--plugin", action="append", default=[], metavar="NAME=MODULE:OBJECT", help="a plugin that it may enable"
    )
    _access_flags(explain)
    explain.set_defaults(run=_explain)

    simulate = commands.add_parser("simulate", help="say where pods would go if a cluster were otherwise")
    simulate.add_argument(
        "--cluster", action="append", default=[], metavar="FILE", help="its objects, not a kubeconfig's"
    )
    simulate.add_argument("--add", action="append", default=[], metavar="FILE", help="nodes, pods and others to add")
    simulate.add_argument(
        "--cordon", action="append", default=[], metavar="NODE", help="a node that takes no more pods"
    )
    simulate.add_argument("--drain", action="append", default=[], metavar="NODE", help="a node whose pods have to go")
    simulate.add_argument("--config", default="", metavar="FILE", help="the scheduler's KubeSchedulerConfiguration")
    simulate.add_argument(
        "--plugin", action="append", default=[], metavar="NAME=MODULE:OBJECT", help="a plugin that it may enable"
    )
    _access_flags(simulate)
    simulate.set_defaults(run=_simulate)

    sim = commands.add_parser("sim", help="play a scenario in virtual time, and report", add_help=False)
    sim.add_argument("arguments", nargs=argparse.REMAINDER)

    test = commands.add_parser("test", help="run a suite in any language with a cluster of its own", add_help=False)
    test.add_argument("arguments", nargs=argparse.REMAINDER)

    doctor = commands.add_parser("doctor", help="say what this machine can do, and how to get what is missing")
    doctor.add_argument("--install", action="store_true", help="install missing Debian packages")
    doctor.set_defaults(run=_doctor)

    etcd.add(commands)

    envtest = commands.add_parser("envtest", help="the programs that controller-runtime's envtest starts")
    asked = envtest.add_subparsers(metavar="COMMAND", required=True)
    assets = asked.add_parser("path", help="print their folder, for KUBEBUILDER_ASSETS")
    assets.set_defaults(run=_envtest_path)

    version = commands.add_parser("version", help="print versions")
    version.set_defaults(run=_version)

    _inner_commands(commands)
    for component in COMPONENTS:
        commands.add_parser(component, help=f"run {component} alone (`keelback {component} --help`)", add_help=False)
    return top


def _name(command: argparse.ArgumentParser) -> None:
    command.add_argument("--name", default=DEFAULT_NAME, help=f"the cluster's name (default {DEFAULT_NAME})")
    command.add_argument("--data-dir", type=Path, default=None, help="where the cluster keeps its data")


def _access_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--kubeconfig", default="", metavar="FILE", help="as kubectl has it")
    command.add_argument("--context", default="", help="the kubeconfig's context (default: its current one)")


def _start_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--nodes", type=int, default=None, metavar="N", help="how many nodes (default 1)")
    command.add_argument("--simulated", action="store_true", help="nodes without containers: no root needed")
    command.add_argument(
        "--stages",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="KWOK's Stages that simulated nodes and pods go through, a file or folder; may be repeated",
    )
    command.add_argument(
        "--speed", default="", metavar="N", help="how fast the time of simulated nodes goes, such as 100x (default 1x)"
    )
    command.add_argument(
        "--kubernetes-version",
        default=None,
        metavar="VERSION",
        help=f"the minor version of Kubernetes to be, {CHOICE} (default: as before, {KUBERNETES_VERSION} at first)",
    )
    command.add_argument(
        "--store", choices=("sqlite", "etcd"), default=None, help="what keeps the objects (default: as before, sqlite)"
    )
    command.add_argument("--api-port", type=int, default=0, metavar="PORT", help="on 127.0.0.1 (default: a free one)")
    for component in COMPONENT_ARGUMENTS:
        command.add_argument(
            f"--{component}-arg",
            action="append",
            default=[],
            metavar="FLAG=VALUE",
            dest=f"argument_{component}",
            help=f"a flag of {component}; may be repeated",
        )


def _inner_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """What keelback starts of itself."""
    plane = commands.add_parser("control-plane", help="run a cluster's control plane in the foreground")
    _name(plane)
    plane.set_defaults(run=_cluster("control_plane"))
    node = commands.add_parser("node", help="run a node's kubelet, proxy and DNS in the foreground")
    node.add_argument("--config", type=Path, required=True, metavar="FILE")
    node.set_defaults(run=_node)


class _cluster:  # noqa: N801 - used as a function is
    """Calls a function of `cli.clusters` by name, which is imported then."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, given: argparse.Namespace) -> int | None:
        from keelback.cli import clusters

        result: int | None = getattr(clusters, self._name)(given)
        return result


def _doctor(given: argparse.Namespace) -> int:
    from keelback.cli import doctor

    return doctor.run(install=given.install)


def _envtest_path(_given: argparse.Namespace) -> int:
    from keelback.cli import envtest

    return envtest.path()


def _of_testing(module: str, arguments: Sequence[str]) -> int:
    # A program of its own: it is made of the library for tests, on which nothing else here rests.
    return subprocess.run([sys.executable, "-m", f"keelback.testing.{module}", *arguments], check=False).returncode


def _explain(given: argparse.Namespace) -> int:
    from keelback.cli import explain

    return explain.run(given)


def _simulate(given: argparse.Namespace) -> int:
    from keelback.cli import simulate

    return simulate.run(given)


def _node(given: argparse.Namespace) -> int:
    from keelback.cli import components

    return components.run_node(given.config)


def _version(given: argparse.Namespace) -> int:
    served = f"Kubernetes {KUBERNETES_VERSION}, by choice {CHOICE}"
    print(f"keelback {__version__} ({served}, Python {sys.version.split()[0]})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
