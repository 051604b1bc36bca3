"""A version that crashes is rolled out: who calls the Service notices nothing, and whoever watches the rollout does."""

from pathlib import Path

HERE = Path(__file__).parent
CRASHES = {"simulated.keelback.dev/run-seconds": "3-8", "simulated.keelback.dev/exit-code": "1"}


def behind_the_service(cluster):
    """How many pods the Service sends requests to."""
    slices = cluster.list("endpointslices", label_selector="kubernetes.io/service-name=web")
    return sum(one["conditions"]["ready"] for part in slices for one in part["endpoints"] or ())


def roll_out(cluster, image, annotations):
    """Give the Deployment another version."""
    container = {"name": "web", "image": image}
    probe = {"httpGet": {"path": "/alive", "port": 8080}, "periodSeconds": 10, "failureThreshold": 3}
    template = {
        "metadata": {"annotations": annotations},
        "spec": {"containers": [{**container, "livenessProbe": probe}]},
    }
    cluster.patch("deployment/web", {"spec": {"template": template}})


def test_a_version_that_crashes_does_not_take_the_service_down(cluster):
    """The rollout stops at its first pod; the old ones serve on; a good version ends it."""
    cluster.apply(HERE / "web.yaml")
    cluster.wait("deployment/web", "Available")

    roll_out(cluster, "registry.example/web:2", {**CRASHES, "simulated.keelback.dev/ready-seconds": "15"})
    cluster.wait("deployment/web", lambda web: "ProgressDeadlineExceeded" in str(web["status"]["conditions"]))
    assert behind_the_service(cluster) == 3
    (broken,) = [pod for pod in cluster.list("pods") if pod["spec"]["containers"][0]["image"].endswith(":2")]
    assert broken["status"]["containerStatuses"][0]["restartCount"] >= 3
    assert "BackOff" in {event["reason"] for event in cluster.events(f"pod/{broken['metadata']['name']}")}

    nothing = dict.fromkeys([*CRASHES, "simulated.keelback.dev/ready-seconds"])
    roll_out(cluster, "registry.example/web:3", nothing)
    cluster.wait("deployment/web", "status.updatedReplicas=3")
    cluster.wait("deployment/web", "status.replicas=3")
    assert behind_the_service(cluster) == 3


def test_pods_that_hang_are_restarted_and_never_all_at_once(cluster):
    """Each pod hangs some minutes after its start, at a moment of its own: the Service always has somebody."""
    cluster.apply(HERE / "web.yaml")
    hangs = {"simulated.keelback.dev/unhealthy-seconds": "120-600", "simulated.keelback.dev/ready-seconds": "5"}
    roll_out(cluster, "registry.example/web:4", hangs)
    cluster.wait("deployment/web", "status.updatedReplicas=3")
    fewest = 3
    for _ in range(60):
        cluster.advance(seconds=30)
        fewest = min(fewest, behind_the_service(cluster))
    assert all(pod["status"]["containerStatuses"][0]["restartCount"] for pod in cluster.list("pods"))
    assert fewest >= 1
