"""kr8s: objects of built-in and custom kinds, waiting, and streams. Arguments: a namespace and an image."""

import sys
import time

import kr8s
from kr8s.objects import ConfigMap, CustomResourceDefinition, Deployment, Pod, new_class

NAMESPACE, IMAGE = sys.argv[1:]
IS_REAL = IMAGE.startswith("localhost/")
CONTAINER = {"name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", "sleep 1000"]}


def objects():
    assert kr8s.version()["minor"].startswith("36")
    assert "pods" in [resource["name"] for resource in kr8s.api().api_resources()]
    made = ConfigMap({"metadata": {"name": "kr8s", "namespace": NAMESPACE}, "data": {"a": "1"}})
    made.create()
    made.patch({"data": {"b": "2"}})
    made.label({"kr8s": "yes"})
    made.annotate({"note": "here"})
    found = list(kr8s.get("configmaps", namespace=NAMESPACE, label_selector={"kr8s": "yes"}))
    assert [one.name for one in found] == ["kr8s"]
    assert found[0].raw["data"] == {"a": "1", "b": "2"}
    made.delete()
    made.wait("delete", timeout=30)
    assert not made.exists()
    assert kr8s.whoami()


def workloads():
    labels = {"app": "kr8s"}
    template = {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [CONTAINER]}}
    deployment = Deployment(
        {
            "metadata": {"name": "kr8s", "namespace": NAMESPACE},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
        }
    )
    deployment.create()
    deployment.wait("condition=Available", timeout=60)
    deployment.scale(2)
    deployment.wait("jsonpath='{.status.readyReplicas}'=2", timeout=60)
    pods = deployment.pods()
    assert len(pods) == 2
    if IS_REAL:
        done = pods[0].exec(["echo", "hello"])
        assert (done.returncode, done.stdout) == (0, b"hello\n")
        failed = pods[0].exec(["sh", "-c", "exit 4"], check=False)
        assert failed.returncode == 4
    deployment.delete(propagation_policy="Foreground")
    deployment.wait("delete", timeout=60)


def custom_resources():
    group = f"{NAMESPACE}.example.org"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    definition = CustomResourceDefinition(
        {
            "metadata": {"name": f"things.{group}"},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
                "versions": [version],
            },
        }
    )
    definition.create()
    try:
        # At first a definition's conditions are null, as upstream's are, which kr8s cannot wait on.
        deadline = time.monotonic() + 30
        while not definition.status.get("conditions"):
            assert time.monotonic() < deadline
            definition.refresh()
        definition.wait("condition=Established", timeout=30)
        thing = new_class(kind="Thing", version=f"{group}/v1", namespaced=True)
        one = thing({"metadata": {"name": "one", "namespace": NAMESPACE}, "spec": {"size": 1}})
        one.create()
        one.patch([{"op": "replace", "path": "/spec/size", "value": 2}], type="json")
        assert [each.raw["spec"]["size"] for each in kr8s.get(f"things.{group}", namespace=NAMESPACE)] == [2]
    finally:
        definition.delete()


def streams():
    pod = Pod({"metadata": {"name": "web", "namespace": NAMESPACE}, "spec": {"containers": [CONTAINER]}})
    pod.raw["spec"]["terminationGracePeriodSeconds"] = 0
    script = "echo started; mkdir /w; echo hi >/w/index.html; httpd -p 8080 -h /w; sleep 1000"
    pod.raw["spec"]["containers"][0]["command"] = ["sh", "-c", script]
    pod.create()
    pod.wait("condition=Ready", timeout=60)
    assert next(iter(pod.logs(follow=True))) == "started"
    import http.client

    with pod.portforward(remote_port=8080) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"hi\n"
        connection.close()
    pod.delete()


objects()
workloads()
custom_resources()
if IS_REAL:
    streams()
