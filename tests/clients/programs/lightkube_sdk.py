"""lightkube: typed and generic objects, apply, watch, wait and logs. Arguments: a namespace and an image."""

import sys

from lightkube import ApiError, Client, codecs
from lightkube.core.exceptions import ObjectDeleted
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Pod
from lightkube.types import CascadeType, PatchType

NAMESPACE, IMAGE = sys.argv[1:]
MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: light, namespace: NAMESPACE}
spec:
  replicas: 1
  selector: {matchLabels: {app: light}}
  template:
    metadata: {labels: {app: light}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - {name: main, image: IMAGE, imagePullPolicy: IfNotPresent, command: [sh, -c, "echo started; sleep 1000"]}
"""
client = Client(field_manager="lightkube", namespace=NAMESPACE)


def objects():
    made = client.create(ConfigMap(metadata=ObjectMeta(name="light"), data={"a": "1"}))
    for patch_type, patch in (
        (PatchType.STRATEGIC, {"data": {"b": "2"}}),
        (PatchType.MERGE, {"data": {"a": None}}),
        (PatchType.JSON, [{"op": "add", "path": "/data/c", "value": "3"}]),
    ):
        made = client.patch(ConfigMap, "light", patch, patch_type=patch_type)
    assert made.data == {"b": "2", "c": "3"}
    applied = client.apply(ConfigMap(metadata=ObjectMeta(name="applied"), data={"x": "y"}))
    assert applied.metadata.managedFields[0].operation == "Apply"
    try:
        client.apply(ConfigMap(metadata=ObjectMeta(name="applied"), data={"x": "z"}), field_manager="other")
    except ApiError as error:
        assert error.status.code == 409, error
        assert error.status.details.causes[0].reason == "FieldManagerConflict"
    else:
        raise AssertionError("no conflict")
    client.apply(ConfigMap(metadata=ObjectMeta(name="applied"), data={"x": "z"}), field_manager="other", force=True)
    assert {one.metadata.name for one in client.list(ConfigMap, chunk_size=1)} >= {"light", "applied"}
    client.deletecollection(ConfigMap)


def workloads():
    text = MANIFEST.replace("NAMESPACE", NAMESPACE).replace("IMAGE", IMAGE)
    for one in codecs.load_all_yaml(text):
        client.apply(one)
    for _, one in client.watch(Deployment, fields={"metadata.name": "light"}, server_timeout=60):
        if one.status and one.status.readyReplicas:
            break
    client.wait(Deployment, "light", for_conditions=["Available"])
    client.replace(Deployment.Scale(metadata=ObjectMeta(name="light"), spec=ScaleSpec(replicas=2)))
    assert client.get(Deployment.Scale, "light").spec.replicas == 2
    pod = next(iter(client.list(Pod, labels={"app": "light"})))
    if IMAGE.startswith("localhost/"):
        assert next(iter(client.log(pod.metadata.name, follow=True))) == "started\n"
    client.delete(Deployment, "light", cascade=CascadeType.FOREGROUND)
    try:
        client.wait(Deployment, "light", for_conditions=["Gone"])
    except ObjectDeleted:
        pass  # what is waited for; ApiError 404 when it has gone before
    except ApiError as error:
        assert error.status.code == 404, error


def custom_resources():
    group = f"{NAMESPACE}.example.org"
    things = create_namespaced_resource(group, "v1", "Thing", "things")
    definition = f"""
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: things.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{plural: things, singular: thing, kind: Thing}}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {{status: {{}}}}
    schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
"""
    for one in codecs.load_all_yaml(definition):
        client.create(one)
    try:
        client.wait(CustomResourceDefinition, f"things.{group}", for_conditions=["Established"])
        client.create(things(metadata=ObjectMeta(name="one"), spec={"size": 1}))
        client.patch(things.Status, "one", {"status": {"ready": True}}, patch_type=PatchType.MERGE)
        assert client.get(things, "one").status == {"ready": True}
    finally:
        client.delete(CustomResourceDefinition, f"things.{group}")


objects()
workloads()
custom_resources()
