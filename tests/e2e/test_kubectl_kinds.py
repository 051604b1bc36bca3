"""What kubectl reads of every kind there is: discovery, explain, get in each form, describe."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from keelback.testing.commands import Cluster

MANIFEST = Path(__file__).with_name("every_kind.yaml")
KINDS = [document["kind"] for document in yaml.safe_load_all(MANIFEST.read_text())]
# Kinds that are asked with and never stored, and those the cluster itself has from the start.
ASKED = {
    "Binding",
    "LocalSubjectAccessReview",
    "SelfSubjectAccessReview",
    "SelfSubjectReview",
    "SelfSubjectRulesReview",
    "SubjectAccessReview",
    "TokenReview",
}
OWN = {"APIService", "IPAddress", "Node", "ComponentStatus"}
# What describe shows beside name and labels, its columns pushed together. Other kinds it shows field by field.
SECTIONS: dict[str, tuple[str, ...]] = {
    "Namespace": ("Status: Active", "Resource Quotas", "Resource Limits"),
    "ConfigMap": ("Data\n====\ngreeting:\n----\nhello", "BinaryData"),
    "Secret": ("Type: Opaque", "password: 9 bytes"),
    "ServiceAccount": ("Image pull secrets:",),
    "LimitRange": ("Container memory - 1Gi 8Mi 16Mi",),
    "ResourceQuota": ("Resource Used Hard", "configmaps "),
    "PersistentVolume": ("Claim: every-kind/sample", "HostPath (bare host directory volume)"),
    "PersistentVolumeClaim": ("Status: Bound", "Volume: every-kind", "Used By:"),
    "Pod": ("Init Containers:", "Conditions:", "Volumes:", "QoS Class:", "Tolerations:", "Liveness: http-get"),
    "PodTemplate": ("Template:",),
    "ReplicationController": ("Replicas: 1 current / 1 desired", "Pod Template:"),
    "Service": ("Type: ClusterIP", "Endpoints:", "Session Affinity:", "TargetPort:"),
    "Endpoints": ("Subsets:", "10.1.2.3"),
    "Event": ("by hand",),
    "CustomResourceDefinition": ("NamesAccepted", "Established", "Stored Versions:"),
    "DaemonSet": ("Desired Number of Nodes Scheduled: 3", "Pods Status:", "Pod Template:"),
    "Deployment": ("2 desired | 2 updated | 2 total", "NewReplicaSet:", "Progressing True"),
    "ReplicaSet": ("Replicas: 1 current / 1 desired", "Pods Status:"),
    "StatefulSet": ("Replicas: 1 desired | 1 total", "Volume Claims:"),
    "HorizontalPodAutoscaler": ("Reference:", "resource cpu on pods", "Max replicas:"),
    "CronJob": ("Schedule: 0 0 1 1 *", "Last Schedule Time:"),
    "Job": ("Completion Mode: NonIndexed", "Pods Statuses:"),
    "Lease": ("Holder Identity: somebody",),
    "EndpointSlice": ("AddressType: IPv4", "10.1.2.4"),
    "IngressClass": ("Controller: example.org/none",),
    "Ingress": ("sample terminates sample.example.org", "sample:80"),
    "NetworkPolicy": ("Allowing ingress traffic:", "Not affecting egress traffic"),
    "ServiceCIDR": ("CIDRs: 10.97.0.0/24",),
    "PodDisruptionBudget": ("Min available: 1", "Allowed disruptions:"),
    "ClusterRole": ("PolicyRule:", "[/healthz]"),
    "ClusterRoleBinding": ("Group nobodies",),
    "Role": ("configmaps [] [sample] [get]",),
    "RoleBinding": ("ServiceAccount sample every-kind",),
    "PriorityClass": ("Value: 7", "a little above the rest"),
    "CSINode": ("every-kind.example.org:",),
    "StorageClass": ("Provisioner: kubernetes.io/no-provisioner", "VolumeBindingMode:"),
    "VolumeAttributesClass": ("Parameters: speed=high",),
    "CertificateSigningRequest": ("Requesting User: kubernetes-admin", "Common Name: sample"),
}


@pytest.fixture(scope="module")
def every_kind(simulated: Cluster) -> Iterator[Cluster]:
    """A cluster with an object of every kind."""
    simulated.kubectl("apply", "--server-side", "-f", str(MANIFEST))
    simulated.kubectl("wait", "-n", "every-kind", "pod/sample", "--for=condition=Ready", "--timeout=30s")
    simulated.kubectl("wait", "-n", "every-kind", "job/sample", "--for=condition=Complete", "--timeout=30s")
    simulated.kubectl("wait", "-n", "every-kind", "deployment/sample", "--for=condition=Available", "--timeout=30s")
    yield simulated
    simulated.kubectl("delete", "-f", str(MANIFEST), "--ignore-not-found", "--timeout=30s")


@pytest.fixture(scope="module")
def reader(every_kind: Cluster, kubectl_program: Path) -> Cluster:
    return every_kind.by(kubectl_program, "every-kind")


def resources(cluster: Cluster, *arguments: str) -> list[dict[str, str]]:
    """The rows of `api-resources -o wide`, by column."""
    header, *lines = cluster.kubectl("api-resources", "-o", "wide", *arguments).splitlines()
    starts = [header.index(name) for name in header.split()]
    ends = [*starts[1:], None]
    names = header.split()
    return [{n: line[s:e].strip() for n, s, e in zip(names, starts, ends, strict=True)} for line in lines]


def qualified(row: dict[str, str]) -> str:
    group, _, _ = row["APIVERSION"].rpartition("/")
    return f"{row['NAME']}.{group}" if group else row["NAME"]


def test_version_names_both_sides(reader: Cluster, kubectl_version: str) -> None:
    found = json.loads(reader.kubectl("version", "-o", "json"))
    assert found["clientVersion"]["gitVersion"].startswith(f"v{kubectl_version}.")
    assert found["serverVersion"]["gitVersion"].startswith("v1.36.")
    assert "Server Version: v1.36." in reader.kubectl("version")


def test_api_resources_and_api_versions_list_what_is_served(reader: Cluster) -> None:
    rows = resources(reader)
    assert {row["KIND"] for row in rows} >= {*KINDS, *ASKED, "Node", "APIService", "IPAddress", "Sample"}
    assert {row["VERBS"] for row in rows if row["KIND"] in ASKED} == {"create"}
    short = {alias: row["NAME"] for row in rows for alias in row["SHORTNAMES"].split(",")}
    assert (short["deploy"], short["po"], short["smp"]) == ("deployments", "pods", "samples")
    served = set(reader.kubectl("api-versions").split())
    assert {row["APIVERSION"] for row in rows} | {"autoscaling/v1"} == served
    names = reader.kubectl("api-resources", "--namespaced=false", "--verbs=list", "--sort-by=name", "-o", "name")
    assert names.split() == sorted(
        qualified(row) for row in rows if row["NAMESPACED"] == "false" and "list" in row["VERBS"]
    )
    assert reader.kubectl("api-resources", "--api-group=apps", "--no-headers", "-o", "name").split() == [
        "controllerrevisions.apps",
        "daemonsets.apps",
        "deployments.apps",
        "replicasets.apps",
        "statefulsets.apps",
    ]


def test_explain_knows_every_kind_and_its_fields(reader: Cluster, kubectl_version: str) -> None:
    rows = resources(reader)
    for row in rows if kubectl_version == "1.36" else rows[::6]:
        shown = reader.kubectl("explain", row["NAME"], "--api-version", row["APIVERSION"], "--recursive")
        assert re.search(rf"^KIND:\s+{row['KIND']}$", shown, re.MULTILINE), shown
        assert re.search(r"^FIELDS:\n  a", shown, re.MULTILINE), shown
    assert "How large it is" in reader.kubectl("explain", "samples.spec.size")
    assert "FIELD: strategy <DeploymentStrategy>" in reader.kubectl("explain", "deployment.spec.strategy")
    assert "KIND:     Deployment" in reader.kubectl("explain", "deployment", "--output=plaintext-openapiv2")


def test_get_shows_every_kind_in_each_form(reader: Cluster) -> None:
    rows = [row for row in resources(reader, "--verbs=list") if row["APIVERSION"] != "every-kind.example.org/v1"]
    every = ",".join(qualified(row) for row in rows)
    listed = json.loads(reader.kubectl("get", every, "-o", "json"))["items"]
    assert {item["kind"] for item in listed} >= {*KINDS, "Node", "APIService"}
    assert len(list(yaml.safe_load(reader.kubectl("get", every, "-o", "yaml"))["items"])) >= len(KINDS)
    names = reader.kubectl("get", every, "-o", "name").split()
    assert {name.partition("/")[0] for name in names} >= {
        "pod",
        "node",
        "deployment.apps",
        "event.events.k8s.io",
        "persistentvolumeclaim",
    }
    by_path = reader.kubectl("get", every, "-o", "jsonpath={range .items[*]}{.kind}{'\\n'}{end}").split()
    assert set(by_path) >= set(KINDS)
    columns = reader.kubectl("get", every, "-o", "custom-columns=KIND:.kind,NAME:.metadata.name", "--no-headers")
    assert {tuple(line.split()) for line in columns.splitlines()} >= {("Pod", "sample"), ("Role", "sample")}
    template = "{{range .items}}{{.kind}} {{end}}"
    assert set(reader.kubectl("get", every, "-o", f"go-template={template}").split()) >= set(KINDS)
    wide = reader.kubectl("get", every, "-o", "wide")
    for kind in {*KINDS, "Node"} - {"Event"}:
        assert re.search(rf"^{kind.lower()}(\.\S+)?/\S+ ", wide, re.MULTILINE), kind


def test_get_orders_labels_and_narrows(reader: Cluster) -> None:
    by_name = reader.kubectl("get", "pods", "--sort-by=.metadata.name", "-o", "name").split()
    assert by_name == sorted(by_name)
    assert reader.kubectl("get", "pods", "-l", "app=pod", "--show-labels", "--no-headers").split()[-1] == "app=pod"
    assert "APP" in reader.kubectl("get", "pods", "-L", "app").splitlines()[0]
    assert "pod/sample" in reader.kubectl("get", "pods", "--field-selector=status.phase=Running", "-o", "name").split()
    assert reader.kubectl("get", "pods", "--field-selector=spec.nodeName=nowhere", "-o", "name") == ""
    assert len(reader.kubectl("get", "pods", "--chunk-size=2", "-o", "name").split()) == len(by_name)
    assert "every-kind" in reader.kubectl("get", "all", "-A", "--no-headers")
    assert "NotFound" in reader.kubectl("get", "pod", "absent", may_fail=True)
    assert reader.kubectl("get", "pod", "absent", "--ignore-not-found") == ""
    assert "sample" in reader.kubectl("get", "-f", str(MANIFEST))


def test_describe_shows_the_parts_of_every_kind(reader: Cluster) -> None:
    shown = reader.kubectl("describe", "-f", str(MANIFEST), "--show-events")
    described = re.split(r"\n\n\n+(?=Name:)", shown)
    assert len(described) == len(KINDS)
    for kind, text in zip(KINDS, described, strict=True):
        for part in SECTIONS.get(kind, (f"Kind: {kind}\n",)):
            assert part in re.sub(" +", " ", text), f"{kind}: {part!r} is not in {text}"


def test_describe_shows_events_nodes_and_custom_resources(reader: Cluster) -> None:
    assert re.search(r"Normal\s+Scheduled .* Successfully assigned", reader.kubectl("describe", "pod", "sample"))
    assert re.search(r"Normal\s+ScalingReplicaSet .* Scaled up", reader.kubectl("describe", "deploy/sample"))
    node = reader.kubectl("describe", "node", "node-0")
    for part in ("Roles:", "Lease:", "Conditions:", "Capacity:", "System Info:", "Non-terminated Pods:", "Allocated"):
        assert part in node
    reader.kubectl("describe", "apiservices", "v1.apps")
    reader.kubectl("describe", "pods", "-l", "app=daemon")
    custom = {
        "apiVersion": "every-kind.example.org/v1",
        "kind": "Sample",
        "metadata": {"name": "one"},
        "spec": {"size": 3},
    }
    reader.kubectl("apply", "-f", "-", text=json.dumps(custom))
    assert reader.kubectl("get", "smp", "--no-headers").split()[:2] == ["one", "3"]
    assert "Size:  3" in reader.kubectl("describe", "samples/one")
    reader.kubectl("delete", "sample", "one")


def test_get_watches_one_kind_until_told_to_stop(reader: Cluster) -> None:
    with reader.at_terminal("get", "configmaps", "-w", "--output-watch-events") as watching:
        watching.read_until("ADDED      sample")
        reader.kubectl("create", "configmap", "seen")
        watching.read_until("ADDED      seen")
        reader.kubectl("label", "configmap", "seen", "a=b")
        watching.read_until("MODIFIED   seen")
        reader.kubectl("delete", "configmap", "seen")
        watching.read_until("DELETED    seen")
    with reader.at_terminal("get", "configmap", "sample", "--watch-only", "-o", "name") as watching:
        reader.kubectl("annotate", "configmap", "sample", "touched=once", "--overwrite")
        reader.kubectl("annotate", "configmap", "sample", "touched-")
        watching.read_until("configmap/sample")
