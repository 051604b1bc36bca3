"""hikaru: typed objects that create, read, update and watch themselves. Arguments: a namespace and an image."""

import sys

from hikaru import get_yaml
from hikaru.model.rel_1_28 import ConfigMap, Container, NodeList, ObjectMeta, Pod, PodSpec
from hikaru.watch import Watcher
from kubernetes import config

NAMESPACE, IMAGE = sys.argv[1:]
config.load_kube_config()
assert all("kind: Node" in get_yaml(node) for node in NodeList.listNode().obj.items)

made = ConfigMap(metadata=ObjectMeta(name="typed", namespace=NAMESPACE), data={"a": "1"}).create()
made.data["b"] = "2"
made.update()
assert ConfigMap().read(name="typed", namespace=NAMESPACE).data == {"a": "1", "b": "2"}
for event in Watcher(ConfigMap, namespace=NAMESPACE, timeout_seconds=30).stream():
    if event.obj.metadata.name == "typed":
        assert event.etype == "ADDED"
        break
made.delete()

pod = Pod(
    metadata=ObjectMeta(name="typed", namespace=NAMESPACE), spec=PodSpec(containers=[Container("main", image=IMAGE)])
)
pod.create()
for event in Watcher(Pod, namespace=NAMESPACE, timeout_seconds=60).stream():
    if event.obj.status.phase == "Running":
        break
pod.read().delete(grace_period_seconds=0)
