"""OpenShift's dynamic client: its apply, subresources, watches, lists. Arguments: a namespace and an image."""

import sys

from kubernetes import client, config
from openshift.dynamic import DynamicClient

NAMESPACE, IMAGE = sys.argv[1:]
config.load_kube_config()
finder = DynamicClient(client.ApiClient())
assert finder.version["kubernetes"]["minor"] == "36"

maps = finder.resources.get(api_version="v1", kind="ConfigMap")
body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "os"}, "data": {"a": "1", "b": "2"}}
assert maps.apply(body, namespace=NAMESPACE).data.to_dict() == {"a": "1", "b": "2"}
assert maps.apply({**body, "data": {"a": "3"}}, namespace=NAMESPACE).data.to_dict() == {"a": "3"}
assert finder.resources.get(api_version="v1", kind="ConfigMapList").get(namespace=NAMESPACE).items

deployments = finder.resources.get(api_version="apps/v1", kind="Deployment")
labels = {"app": "os"}
template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": IMAGE}]}}
deployments.create(
    namespace=NAMESPACE,
    body={"metadata": {"name": "os"}, "spec": {"selector": {"matchLabels": labels}, "template": template}},
)
scaled = deployments.scale.patch(
    name="os", namespace=NAMESPACE, body={"spec": {"replicas": 2}}, content_type="application/merge-patch+json"
)
assert scaled.spec.replicas == 2
for event in deployments.watch(namespace=NAMESPACE, timeout=60):
    if (event["object"].status.readyReplicas or 0) == 2:
        break
else:
    raise AssertionError("two replicas were not ready in a minute")
deployments.delete(name="os", namespace=NAMESPACE, body={"propagationPolicy": "Foreground"})
