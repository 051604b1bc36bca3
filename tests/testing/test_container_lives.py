"""What annotations say of simulated containers happens as on a real node, in the cluster's time."""

from __future__ import annotations

import itertools

import pytest

PREFIX = "simulated.keelback.dev/"


def a_pod(annotations, *, policy="Always", **spec):
    """A pod `web` with one container `main` of which the annotations tell."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "annotations": {PREFIX + name: value for name, value in annotations.items()}},
        "spec": {"containers": [{"name": "main", "image": "web:1"}], "restartPolicy": policy, **spec},
    }


def main_of(pod):
    """The status of its container `main`."""
    known = pod["status"].get("containerStatuses", ())
    return next((one for one in known if one["name"] == "main"), {"state": {}, "restartCount": 0})


def waits_for(reason):
    """Until `main` waits for this reason."""
    return lambda pod: main_of(pod)["state"].get("waiting", {}).get("reason") == reason


def restarted(times):
    """Until `main` runs for the so-manieth time again."""
    return lambda pod: main_of(pod)["restartCount"] == times and "running" in main_of(pod)["state"]


def test_a_container_that_ends_again_and_again_is_backed_off_from(cluster):
    began = cluster.now
    cluster.apply(a_pod({"run-seconds": "5", "exit-code": "3"}))
    first = cluster.wait("pod/web", waits_for("CrashLoopBackOff"))
    assert main_of(first)["restartCount"] == 1
    assert main_of(first)["lastState"]["terminated"]["exitCode"] == 3
    assert (
        "back-off 10s restarting failed container=main pod=web_default("
        in (main_of(first)["state"]["waiting"]["message"])
    )
    assert first["status"]["phase"] == "Running"
    moments = []
    for times in range(2, 9):
        cluster.wait("pod/web", restarted(times), timeout=400)
        moments.append(round((cluster.now - began).total_seconds()))
    assert [later - sooner for sooner, later in itertools.pairwise(moments)] == [25, 45, 85, 165, 305, 305]
    backed_off = [event for event in cluster.events("pod/web") if event["reason"] == "BackOff"]
    assert backed_off[0]["type"] == "Warning"
    assert backed_off[0]["involvedObject"]["fieldPath"] == "spec.containers{main}"


def test_a_crash_loop_ends_when_its_cause_does(cluster):
    cluster.apply(a_pod({"run-seconds": "5", "exit-code": "1"}))
    cluster.wait("pod/web", waits_for("CrashLoopBackOff"))
    nothing = {PREFIX + "run-seconds": None, PREFIX + "exit-code": None}
    cluster.patch("pod/web", {"metadata": {"annotations": nothing}})
    cluster.wait("pod/web", "Ready")
    cluster.advance(hours=1)
    assert main_of(cluster.get("pod/web"))["restartCount"] == 2


def test_a_container_that_ran_long_enough_starts_at_once(cluster):
    cluster.apply(a_pod({"run-seconds": "700", "exit-code": "1"}))
    cluster.advance(hours=1)
    pod = cluster.get("pod/web")
    assert main_of(pod)["restartCount"] == 5
    assert not [event for event in cluster.events("pod/web") if event["reason"] == "BackOff"]


def test_a_container_is_killed_for_its_memory(cluster):
    cluster.apply(a_pod({"run-seconds": "60", "exit-code": "OOMKilled"}))
    pod = cluster.wait("pod/web", restarted(1))
    assert main_of(pod)["lastState"]["terminated"] | {"containerID": "", "startedAt": "", "finishedAt": ""} == {
        "exitCode": 137,
        "reason": "OOMKilled",
        "containerID": "",
        "startedAt": "",
        "finishedAt": "",
    }


def test_a_liveness_probe_that_fails_restarts(cluster):
    probe = {"httpGet": {"port": 80}, "periodSeconds": 5, "failureThreshold": 2}
    cluster.apply(
        a_pod(
            {"unhealthy-seconds": "30"},
            containers=[
                {"name": "main", "image": "web:1", "livenessProbe": probe},
                {"name": "other", "image": "web:1"},
            ],
        )
    )
    cluster.advance(seconds=39)
    assert main_of(cluster.get("pod/web"))["restartCount"] == 0
    cluster.advance(seconds=2)
    pod = cluster.get("pod/web")
    assert {one["name"]: one["restartCount"] for one in pod["status"]["containerStatuses"]} == {"main": 1, "other": 0}
    assert {"Unhealthy", "Killing"} <= {event["reason"] for event in cluster.events("pod/web")}


def test_an_image_that_cannot_be_pulled_keeps_a_pod_pending_until_it_can(cluster):
    cluster.apply(a_pod({"image-error": "not found"}))
    cluster.wait("pod/web", waits_for("ErrImagePull"))
    pod = cluster.wait("pod/web", waits_for("ImagePullBackOff"))
    assert pod["status"]["phase"] == "Pending"
    cluster.patch("pod/web", {"metadata": {"annotations": {PREFIX + "image-error": None}}})
    cluster.wait("pod/web", "Ready")


def test_init_containers_come_first_and_take_their_time(cluster):
    inits = [{"name": "wait", "image": "i:1"}, {"name": "log", "image": "i:1", "restartPolicy": "Always"}]
    cluster.apply(a_pod({"run-seconds": "wait=20"}, initContainers=inits))
    cluster.advance(seconds=19)
    pod = cluster.get("pod/web")
    assert pod["status"]["phase"] == "Pending"
    assert "running" in pod["status"]["initContainerStatuses"][0]["state"]
    assert main_of(pod)["state"]["waiting"]["reason"] == "PodInitializing"
    cluster.advance(seconds=2)
    pod = cluster.wait("pod/web", "Ready")
    assert "terminated" in pod["status"]["initContainerStatuses"][0]["state"]
    assert "running" in pod["status"]["initContainerStatuses"][1]["state"]


@pytest.mark.parametrize(("policy", "phase"), [("Never", "Failed"), ("Always", "Pending")])
def test_an_init_container_that_fails(cluster, policy, phase):
    annotations = {"run-seconds": "first=2", "exit-code": "first=1"}
    cluster.apply(a_pod(annotations, policy=policy, initContainers=[{"name": "first", "image": "i:1"}]))
    cluster.advance(minutes=2)
    pod = cluster.get("pod/web")
    assert pod["status"]["phase"] == phase
    assert (pod["status"]["initContainerStatuses"][0]["restartCount"] > 1) is (policy == "Always")


def test_a_pod_becomes_ready_late(cluster):
    cluster.apply(a_pod({"ready-seconds": "30"}))
    cluster.wait("pod/web", "status.phase=Running")
    assert not main_of(cluster.get("pod/web"))["ready"]
    cluster.advance(seconds=28)
    assert not main_of(cluster.get("pod/web"))["ready"]
    cluster.wait("pod/web", "Ready", timeout=3)
    cluster.patch("pod/web", {"metadata": {"annotations": {PREFIX + "ready": "false"}}})
    cluster.wait("pod/web", "Ready=False", timeout=1)


def test_chance_decides_which_jobs_fail_and_the_seed_decides_chance(cluster):
    annotations = {PREFIX + "run-seconds": "5-15", PREFIX + "failure-rate": "0.5"}
    spec = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "work:1"}]}
    template = {"metadata": {"annotations": annotations}, "spec": spec}
    job = {"completions": 20, "parallelism": 20, "backoffLimit": 100, "template": template}
    cluster.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "many"}, "spec": job})
    done = cluster.wait("job/many", "Complete", timeout=3000)
    assert done["status"]["succeeded"] == 20
    assert 5 < done["status"]["failed"] < 50


def test_what_is_not_understood_is_said(cluster):
    cluster.apply(a_pod({"run-seconds": "soon"}))
    cluster.wait("pod/web", "Ready")
    (event,) = [one for one in cluster.events("pod/web") if one["reason"] == "InvalidSimulation"]
    assert event["message"] == "simulated.keelback.dev/run-seconds: 'soon' is not understood"
