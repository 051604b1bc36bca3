"""A thousand seeds, the same story of work and faults under each, twice: `python bench/seeds.py [1000] [first]`.

Each seed must give the same history, byte for byte, both times. The line at the end has a digest of all histories: the
same command on another machine prints the same digest.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable

from keelback.component import logs
from keelback.testing.cluster import Cluster
from keelback.testing.cluster_objects import Tree

POD = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example"}]}
RATE = {"simulated.keelback.dev/run-seconds": "5-30", "simulated.keelback.dev/failure-rate": "0.3"}
JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "work"},
    "spec": {"completions": 3, "parallelism": 2, "template": {"metadata": {"annotations": RATE}, "spec": POD}},
}
WEB = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 4,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "example"}]},
        },
    },
}


def history(seed: int) -> str:
    """What has happened under a seed: requests fail by chance, a node is lost, a component crashes, and all is well."""
    with Cluster(seed=seed) as cluster:
        with cluster.inject(status=500, probability=0.1), cluster.inject(verb="patch", lost=True, probability=0.05):
            cluster.apply(WEB)
            cluster.apply(JOB)
            cluster.advance(minutes=1)
        cluster.disconnect(f"node-{seed % 3}")
        cluster.stop_component(("scheduler", "controller-manager")[seed % 2])
        cluster.patch("deployment/web", {"spec": {"replicas": 6}})
        cluster.advance(seconds=30)
        cluster.start_component(("scheduler", "controller-manager")[seed % 2])
        cluster.advance(minutes=6)
        cluster.connect(f"node-{seed % 3}")
        cluster.wait("deployment/web", "status.readyReplicas=6")
        # Six failures in a row are waited out for ten minutes in all: 10 s, 20, 40, …, 320.
        cluster.wait("job/work", is_over, timeout=3600)
        return cluster.history()


def is_over(job: Tree) -> bool:
    """Whether a Job has succeeded or failed."""
    conditions = job["status"].get("conditions", ())
    return any(one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in conditions)


def digest(seed: int) -> tuple[int, str, float]:
    """The seed, a digest of its history or what went wrong, and how much of the processor it took."""
    logs.configure(level=logging.CRITICAL)
    before = time.process_time()
    try:
        first, second = (hashlib.sha256(history(seed).encode()).hexdigest() for _ in range(2))
    except AssertionError as error:
        return seed, f"failed: {error}", 0.0
    took = time.process_time() - before
    return seed, first if first == second else "failed: two runs differ", took


def main(play: Callable[[int], tuple[int, str, float]] = digest) -> int:
    """Play them on all processors; 1 if one failed."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    whole, failed, used, began = hashlib.sha256(), 0, 0.0, time.monotonic()
    # Fresh processes, each with a hash seed of its own.
    with multiprocessing.get_context("spawn").Pool(os.cpu_count(), maxtasksperchild=100) as pool:
        for seed, found, took in pool.imap(play, range(first, first + count), chunksize=1):
            whole.update(found.encode())
            used += took
            if found.startswith("failed"):
                failed += 1
                print(f"seed {seed} {found[:2000]}", flush=True)
    seconds = time.monotonic() - began
    print(f"{count} seeds twice: {seconds:.0f} s, {used / count:.2f} s of the processor a seed, {failed} failed")
    print(f"digest of all histories: {whole.hexdigest()}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
