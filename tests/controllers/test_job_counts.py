"""A Job counts each end once, whatever its controller has seen of what it wrote itself."""

from __future__ import annotations

from keelback.testing.cluster import Cluster
from keelback.testing.convergence_rules import broken_on_the_way

_JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "counted"},
    "spec": {
        "completions": 4,
        "parallelism": 2,
        "template": {
            "metadata": {"annotations": {"simulated.keelback.dev/run-seconds": "20"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "one"}]},
        },
    },
}


def test_what_is_counted_while_the_cache_stands_still_is_counted_once() -> None:
    with Cluster(nodes=1) as cluster:
        recording = cluster.record()
        cluster.apply(_JOB)
        cluster.wait("job/counted", "status.active=2")
        with cluster.inject(client="kube-controller-manager", resource="jobs", status=503):
            cluster.drop_watches(resource="jobs", client="kube-controller-manager")
            cluster.advance(200)
        done = cluster.wait("job/counted", "Complete")
        pods = cluster.list("pods")
    assert broken_on_the_way(recording) == []
    assert done["status"]["succeeded"] == 4
    assert [pod["status"]["phase"] for pod in pods] == ["Succeeded"] * 4
