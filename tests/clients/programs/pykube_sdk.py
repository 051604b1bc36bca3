"""pykube-ng: queries, writes without a Content-Type, watches, scale, logs. Arguments: a namespace and an image."""

import sys
import time

import pykube

NAMESPACE, IMAGE = sys.argv[1:]
api = pykube.HTTPClient(pykube.KubeConfig.from_env())
container = {
    "name": "main",
    "image": IMAGE,
    "imagePullPolicy": "IfNotPresent",
    "command": ["sh", "-c", "echo started; sleep 1000"],
}


def eventually(check):
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def objects():
    assert api.version[0] == "1"
    made = pykube.ConfigMap(
        api, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pk", "namespace": NAMESPACE}, "data": {}}
    )
    made.create()
    made.obj["data"] = {"a": "1"}
    made.update()
    made.annotations["note"] = "here"
    made.update()
    made.reload()
    assert made.obj["data"] == {"a": "1"}
    assert made.annotations["note"] == "here"
    made.patch({"metadata": {"labels": {"pk": "yes"}}})
    found = pykube.ConfigMap.objects(api, namespace=NAMESPACE).filter(selector={"pk__in": {"yes", "no"}})
    assert [one.name for one in found] == ["pk"]
    for event in pykube.ConfigMap.objects(api, namespace=NAMESPACE).filter(selector={"pk": "yes"}).watch():
        assert event.type == "ADDED"
        break
    made.delete()
    assert not made.exists()


def workloads():
    labels = {"app": "pk"}
    deployment = pykube.Deployment(
        api,
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "pk", "namespace": NAMESPACE},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
                },
            },
        },
    )
    deployment.create()

    def is_ready():
        deployment.reload()
        # pykube reads fields that a status leaves out while they are 0.
        return {"observedGeneration", "updatedReplicas"} <= deployment.obj["status"].keys() and deployment.ready

    # Writes with the resourceVersion it read: not while the controller writes its first status.
    eventually(is_ready)
    deployment.scale(2)
    eventually(is_ready)
    pods = pykube.Pod.objects(api, namespace=NAMESPACE).filter(selector=labels)
    assert len(pods) == 2
    eventually(lambda: all(pod.ready for pod in pykube.Pod.objects(api, namespace=NAMESPACE).filter(selector=labels)))
    if IMAGE.startswith("localhost/"):
        assert next(iter(pods)).logs() == "started\n"
    deployment.delete(propagation_policy="Foreground")
    eventually(lambda: not deployment.exists())


objects()
workloads()
