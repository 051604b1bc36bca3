"""Everything of a cluster killed at random moments under writes, again and again: what is lost, and how it comes back.

    python bench/crashes.py [rounds] [seed]

Needs a machine that can run containers: a Deployment runs meanwhile, and its containers must never be started anew.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from pathlib import Path

from keelback.bootstrap import machine
from keelback.testing import crashes
from keelback.testing.commands import Cluster

ROUNDS = 10
IDS = "jsonpath={.items[*].status.containerStatuses[0].containerID}"


def main() -> int:
    """0 if no acknowledged write was lost and every container lived on."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int.from_bytes(os.urandom(4))
    with tempfile.TemporaryDirectory(prefix="keelback-crashes-", dir="/var/tmp") as folder:
        findings = machine.examine(machine.observe(Path(folder)))
        if not machine.can_run_containers(findings):
            print(f"not run: {machine.why_simulated(findings)}")
            return 0
        cluster = Cluster(f"crashes-{os.getpid()}", Path(folder))
        try:
            cluster.keelback("up", "--nodes", "2")
            cluster.kubectl("create", "deployment", "web", f"--image={crashes.IMAGE}", "--replicas=3")
            cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
            before = sorted(cluster.kubectl("get", "pods", "-l", "app=web", "-o", IDS).split())
            for outcome in crashes.play(cluster, random.Random(seed)):
                if outcome.lost or outcome.rounds >= rounds:
                    break
            after = sorted(cluster.kubectl("get", "pods", "-l", "app=web", "-o", IDS).split())
        finally:
            cluster.keelback("down")
    lives = "the same containers run" if before == after else f"containers changed: {before} {after}"
    print(f"seed {seed}: {outcome}; {lives}")
    return int(bool(outcome.lost) or before != after)


if __name__ == "__main__":
    sys.exit(main())
