"""`keelback test -- COMMAND`: a suite in any language, with a cluster of its own while it runs.

The cluster is that of the fixtures, in real time and in this process: KUBECONFIG says where it is, and it is gone with
the suite.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from keelback.component import logs
from keelback.simulation.stage_files import StageError
from keelback.testing.cluster import Cluster
from keelback.testing.cluster_parts import Options

_NOT_FOUND = 127


def parser() -> argparse.ArgumentParser:
    """The flags, and the command after them."""
    made = argparse.ArgumentParser(prog="keelback test", description=__doc__, usage="%(prog)s [flags] -- COMMAND ...")
    made.add_argument("--nodes", type=int, default=Options().nodes, metavar="N", help="how many (default %(default)s)")
    made.add_argument("--api-only", action="store_true", help="an API server alone: nothing happens by itself")
    made.add_argument("--metrics", action="store_true", help="serve metrics.k8s.io, which autoscalers read")
    made.add_argument("--kubernetes-version", default="", metavar="VERSION", help="the minor version to be")
    made.add_argument("--apply", type=Path, action="append", default=[], metavar="FILE", help="objects to begin with")
    made.add_argument("--stages", default="", metavar="FILE", help="KWOK's Stages, a file or folder")
    made.add_argument("command", nargs="+", metavar="COMMAND", help="what runs the suite")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    known = parser()
    given = known.parse_args(argv)
    # A suite's own words are what is read; what components say of its faults is not asked for.
    logs.configure(level=logging.ERROR)
    try:
        made = Cluster(
            nodes=given.nodes,
            controllers=not given.api_only,
            metrics=given.metrics,
            kubernetes_version=given.kubernetes_version,
            stages=given.stages,
            real_time=True,
        )
    except (StageError, ValueError, OSError) as error:
        known.error(str(error))
    with made as cluster:
        for path in given.apply:
            cluster.apply(path)
        environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig())}
        try:
            return subprocess.run(given.command, env=environment, check=False).returncode
        except OSError as error:
            sys.stderr.write(f"keelback test: {given.command[0]}: {error.strerror}\n")
            return _NOT_FOUND


if __name__ == "__main__":
    sys.exit(main())
