"""Work that gives nearly every controller something to write, and the facts that it comes to whatever went wrong."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keelback.controllers import attach_detach
from keelback.testing.cluster import Cluster
from keelback.testing.convergence_trees import has_ended

Action: TypeAlias = Callable[[Cluster], object]

SETTLE_SECONDS: Final = 420.0
"""After the last action: long enough for a pod to be given up with its node."""
_PAUSE_SECONDS: Final = 3.0
_NO_COUNTS: Final = ("collisionCount", "observedGeneration")
_LABELS: Final = "{metadata: {labels: {app: %s}}, spec: {containers: [{name: c, image: 'one:1'}]}}"

_FIRST: Final = f"""
kind: Namespace
apiVersion: v1
metadata: {{name: passing}}
---
{{apiVersion: v1, kind: ConfigMap, metadata: {{name: one, namespace: passing}}}}
---
apiVersion: v1
kind: ResourceQuota
metadata: {{name: pods}}
spec: {{hard: {{pods: '50'}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec: {{replicas: 2, selector: {{matchLabels: {{app: web}}}}, template: {_LABELS % "web"}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: web}}
spec: {{minAvailable: 1, selector: {{matchLabels: {{app: web}}}}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: web}}
spec: {{scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: web}}, minReplicas: 3, maxReplicas: 4}}
---
apiVersion: v1
kind: ReplicationController
metadata: {{name: rc}}
spec: {{replicas: 1, selector: {{app: rc}}, template: {_LABELS % "rc"}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: each}}
spec: {{selector: {{matchLabels: {{app: each}}}}, template: {_LABELS % "each"}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec:
  replicas: 2
  serviceName: db
  selector: {{matchLabels: {{app: db}}}}
  template: {_LABELS % "db"}
  persistentVolumeClaimRetentionPolicy: {{whenDeleted: Delete, whenScaled: Delete}}
  volumeClaimTemplates:
  - metadata: {{name: data}}
    spec: {{accessModes: [ReadWriteOnce], storageClassName: given, resources: {{requests: {{storage: 1Gi}}}}}}
---
{{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {{name: given}}, provisioner: example.com/disks,
  allowVolumeExpansion: true}}
---
{{apiVersion: storage.k8s.io/v1, kind: CSIDriver, metadata: {{name: example.com}}, spec: {{attachRequired: true}}}}
"""

_SECOND: Final = """
{apiVersion: v1, kind: Service, metadata: {name: outside}, spec: {ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Endpoints, metadata: {name: outside},
  subsets: [{addresses: [{ip: 192.0.2.1}], ports: [{port: 80}]}]}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot}}
---
apiVersion: v1
kind: Secret
metadata: {name: robot, annotations: {kubernetes.io/service-account.name: robot}}
type: kubernetes.io/service-account-token
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: sum}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {part: 'yes'}}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: part, labels: {part: 'yes'}}
rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: indexed}
spec:
  completions: 3
  parallelism: 2
  completionMode: Indexed
  template: {spec: {restartPolicy: Never, containers: [{name: c, image: 'one:1'}]}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: short}
spec:
  ttlSecondsAfterFinished: 5
  template: {spec: {restartPolicy: Never, containers: [{name: c, image: 'one:1'}]}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: '*/2 * * * *'
  successfulJobsHistoryLimit: 1
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: 'one:1'}]}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: scratch}
spec:
  containers: [{name: c, image: 'one:1'}]
  volumes:
  - name: scratch
    ephemeral:
      volumeClaimTemplate:
        spec: {accessModes: [ReadWriteOnce], storageClassName: given, resources: {requests: {storage: 1Gi}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: ghost}, spec: {nodeName: gone, containers: [{name: c, image: 'one:1'}]}}
---
{apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {name: more}, spec: {cidrs: [10.98.0.0/24]}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: typed}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}]}
  validations: [{expression: object.spec.nope == 1}]
---
{apiVersion: resource.k8s.io/v1, kind: ResourceClaimTemplate, metadata: {name: device},
  spec: {spec: {devices: {requests: [{name: one, exactly: {deviceClassName: none}}]}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: device}
spec:
  containers: [{name: c, image: 'one:1'}]
  resourceClaims: [{name: device, resourceClaimTemplateName: device}]
"""


SETTINGS: Final[Mapping[str, Any]] = {
    "controllers": ("*", "bootstrap-signer-controller", "token-cleaner-controller"),
    "allocate_node_cidrs": True,
    "cluster_cidrs": ("10.200.0.0/16",),
}
"""What the controllers are told, so that all of them have something to do."""
VERSIONS: Final = (("storagemigration.k8s.io", "v1beta1"),)
"""What the server has besides, for the same reason."""

# A node that nobody runs, and so gone again before there is anything to run on it.
_BARE: Final = """
{apiVersion: v1, kind: Node, metadata: {name: bare}}
---
{apiVersion: storage.k8s.io/v1, kind: VolumeAttributesClass, metadata: {name: fast}, driverName: example.com,
  parameters: {speed: fast}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: cluster-info, namespace: kube-public}
data: {kubeconfig: 'clusters: []'}
---
apiVersion: v1
kind: Secret
metadata: {name: bootstrap-token-abcdef, namespace: kube-system}
type: bootstrap.kubernetes.io/token
stringData:
  token-id: abcdef
  token-secret: 0123456789abcdef
  usage-bootstrap-signing: 'true'
  expiration: '%s'
"""
_MIGRATION: Final = """
apiVersion: storagemigration.k8s.io/v1beta1
kind: StorageVersionMigration
metadata: {name: budgets}
spec: {resource: {group: policy, resource: poddisruptionbudgets}}
"""


def actions() -> Iterator[Action]:
    """What is done, in order; a few seconds pass after each."""
    yield _begin
    yield lambda cluster: cluster.delete("node/bare")
    yield lambda cluster: cluster.delete("volumeattributesclass/fast")
    for number in range(6):
        yield lambda cluster, n=number: cluster.apply(_volume(n))  # type: ignore[misc]
    yield lambda cluster: cluster.apply(_FIRST)
    yield lambda cluster: cluster.apply(_SECOND)
    yield lambda cluster: _ask_for_a_certificate(cluster, "jane", "kubernetes.io/kube-apiserver-client")
    yield _approve
    yield lambda cluster: _ask_for_a_certificate(
        cluster, "system:node:bare", "kubernetes.io/kube-apiserver-client-kubelet", "system:nodes"
    )
    yield _attach
    yield lambda cluster: cluster.apply(_MIGRATION)
    image = {"template": {"spec": {"containers": [{"name": "c", "image": "one:2"}]}}}
    yield lambda cluster: cluster.patch("deployment/web", {"spec": image})
    yield lambda cluster: cluster.patch("daemonset/each", {"spec": image})
    yield lambda cluster: cluster.patch("statefulset/db", {"spec": image | {"replicas": 1}})
    yield lambda cluster: cluster.delete("replicationcontroller/rc", propagation_policy="Foreground")
    yield lambda cluster: cluster.delete("namespace/passing")
    yield lambda cluster: cluster.delete("servicecidr/more")
    yield lambda cluster: cluster.delete("pod/scratch")
    yield lambda cluster: cluster.delete("pod/device")
    larger = {"resources": {"requests": {"storage": "2Gi"}}}
    yield lambda cluster: cluster.patch("persistentvolumeclaim/data-db-0", {"spec": larger})
    yield lambda cluster: cluster.delete("persistentvolume/disk-5")
    yield lambda cluster: cluster.delete("serviceaccount/robot")
    yield lambda cluster: cluster.disconnect("node-1")
    yield lambda cluster: cluster.advance(SETTLE_SECONDS)
    yield lambda cluster: cluster.connect("node-1")


def carry_out(cluster: Cluster) -> None:
    """Do all of it, and let it come to rest."""
    for action in actions():
        action(cluster)
        cluster.advance(_PAUSE_SECONDS)
    cluster.advance(SETTLE_SECONDS)


def facts(cluster: Cluster) -> dict[str, Any]:
    """What it has come to, without what chance and the time of day decide."""
    found: dict[str, Any] = {}
    for kind in ("deployments", "statefulsets", "daemonsets", "poddisruptionbudgets", "replicasets", "resourcequotas"):
        found[kind] = sorted(json.dumps(_counts(one)) for one in cluster.list(kind))
    for kind in ("namespaces", "services", "serviceaccounts", "servicecidrs", "nodes", "resourceclaims", "secrets"):
        found[kind] = Counter(_name(one) for one in cluster.list(kind, namespace=""))
    for kind in ("jobs", "persistentvolumeclaims", "certificatesigningrequests", "nodes"):
        found[f"{kind}, how they are"] = Counter(f"{_name(one)} {_state(one)}" for one in cluster.list(kind))
    for kind in ("nodes", "storageversionmigrations", "volumeattributesclasses"):
        found[f"{kind}, in all"] = Counter(f"{_name(one)} {_state(one)} {_attached(one)}" for one in cluster.list(kind))
    found["cluster-info"] = sorted(cluster.get("configmap/cluster-info", namespace="kube-public")["data"])
    for kind in ("validatingadmissionpolicies", "clusterroles"):
        found[kind] = {_name(one): _size(one) for one in cluster.list(kind, namespace="")}
    for kind in ("endpointslices", "volumeattachments", "persistentvolumes", "controllerrevisions"):
        found[kind] = Counter(_owner(one) + _state(one) for one in cluster.list(kind))
    # How many pods have ended is chance: where nobody heard of a creation, or a node was given up, more are made.
    found["pods"] = Counter(_owner(one) + _state(one) for one in cluster.list("pods") if not has_ended(one))
    return found


def _counts(one: dict[str, Any]) -> Any:
    status = one.get("status", {})
    counts = {key: value for key, value in status.items() if isinstance(value, int) and key not in _NO_COUNTS}
    is_observed = status.get("observedGeneration") == one["metadata"].get("generation")
    return [_owner(one), {key: value for key, value in counts.items() if value}, is_observed, status.get("used")]


def _state(one: dict[str, Any]) -> str:
    status = one.get("status", {})
    true = sorted(each["type"] for each in status.get("conditions") or () if each["status"] == "True")
    said = [str(status.get("phase", "")), str(status.get("succeeded", "")), str(bool(status.get("certificate")))]
    addresses = sum(len(each["addresses"]) for each in one.get("endpoints") or ())
    return " ".join([*said, str(addresses), *true, *_taints(one)])


def _taints(one: dict[str, Any]) -> list[str]:
    return sorted(taint["key"] for taint in one.get("spec", {}).get("taints", ()))


def _attached(one: dict[str, Any]) -> int:
    return len(one.get("status", {}).get("volumesAttached", ()))


def _size(one: dict[str, Any]) -> int:
    warnings = one.get("status", {}).get("typeChecking", {}).get("expressionWarnings", ())
    return len(one.get("rules") or ()) + len(warnings)


def _name(one: dict[str, Any]) -> str:
    """The name, or what it was generated from."""
    metadata = one["metadata"]
    owner = _owner(one)
    return str(metadata.get("generateName") or owner or metadata["name"])


def _owner(one: dict[str, Any]) -> str:
    references = one["metadata"].get("ownerReferences", [])
    return (
        f"{references[0]['kind']}/{references[0]['name'].rpartition('-')[0] or references[0]['name']} "
        if references
        else ""
    )


def _volume(number: int) -> dict[str, Any]:
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "given",
        "persistentVolumeReclaimPolicy": "Retain",
        "csi": {"driver": "example.com", "volumeHandle": f"disk-{number}"},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"disk-{number}"}, "spec": spec}


def _begin(cluster: Cluster) -> None:
    ends = cluster.clock.now() + timedelta(seconds=SETTLE_SECONDS)
    cluster.apply(_BARE % ends.strftime("%Y-%m-%dT%H:%M:%SZ"))
    for node in cluster.list("nodes"):
        name = node["metadata"]["name"]
        cluster.patch(f"node/{name}", {"metadata": {"annotations": {attach_detach.MANAGED: "true"}}})


def _attach(cluster: Cluster) -> None:
    """As a driver does."""
    for one in cluster.list("volumeattachments"):
        path = f"/apis/storage.k8s.io/v1/volumeattachments/{one['metadata']['name']}/status"
        cluster.request("PUT", path, body={**one, "status": {"attached": True}})


def _ask_for_a_certificate(cluster: Cluster, name: str, signer: str, group: str = "") -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    names += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    asked = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, hashes.SHA256())
    text = base64.b64encode(asked.public_bytes(serialization.Encoding.PEM)).decode()
    spec = {"request": text, "signerName": signer, "usages": ["client auth"]}
    metadata = {"name": name.rpartition(":")[2]}
    kind = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
    cluster.apply({**kind, "metadata": metadata, "spec": spec})


def _approve(cluster: Cluster) -> None:
    held = cluster.get("certificatesigningrequest/jane")
    approved = {"type": "Approved", "status": "True", "reason": "ByHand", "message": "by hand"}
    held["status"] = {**held.get("status", {}), "conditions": [approved]}
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests/jane/approval"
    cluster.request("PUT", path, body=held)
