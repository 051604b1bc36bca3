"""Helm 4, unmodified: a chart with a definition, hooks and a test, from install to uninstall."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keelback.testing.clients import Layer
from keelback.testing.commands import Cluster

pytestmark = pytest.mark.containers

IMAGE = "localhost/keelback-sample:latest"
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: sample\nversion: 0.1.0\nappVersion: '1'\n",
    "values.yaml": "image: IMAGE\nreplicas: 2\nsize: 1\nfailing: false\n",
    "crds/thing.yaml": """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.helm.example.org}
spec:
  group: helm.example.org
  scope: Namespaced
  names: {plural: things, singular: thing, kind: Thing}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
""",
    "templates/all.yaml": """
apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ .Release.Name }}", labels: {app: "{{ .Release.Name }}"}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: "{{ .Release.Name }}"}}
  template:
    metadata: {labels: {app: "{{ .Release.Name }}"}}
    spec:
      {{- if .Values.failing }}
      nodeSelector: {nowhere: "yes"}
      {{- end }}
      containers: [{name: main, image: "{{ .Values.image }}", imagePullPolicy: Never, ports: [{containerPort: 80}]}]
---
apiVersion: v1
kind: Service
metadata: {name: "{{ .Release.Name }}"}
spec: {selector: {app: "{{ .Release.Name }}"}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}"}
data:
  revision: "{{ .Release.Revision }}"
  version: "{{ .Capabilities.KubeVersion.Version }}"
  found: "{{ (lookup "v1" "ConfigMap" .Release.Namespace "looked-up").data | default dict | toJson | b64enc }}"
  has: "{{ .Capabilities.APIVersions.Has "apps/v1/Deployment" }}"
---
{{- if .Values.size }}
apiVersion: helm.example.org/v1
kind: Thing
metadata: {name: "{{ .Release.Name }}"}
spec: {size: {{ .Values.size }}}
{{- end }}
""",
    "templates/hooks.yaml": """
{{- range $index, $hook := list "pre-install" "post-install" "pre-upgrade" "pre-rollback" "pre-delete" }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: "{{ $.Release.Name }}-{{ $hook }}"
  annotations:
    helm.sh/hook: {{ $hook }}
    helm.sh/hook-weight: "{{ $index }}"
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: hook, image: IMAGE, imagePullPolicy: Never, command: ["true"]}]
{{- end }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: "{{ .Release.Name }}-passing"
  annotations: {helm.sh/hook: pre-install, helm.sh/hook-weight: "-5", helm.sh/hook-delete-policy: hook-succeeded}
---
apiVersion: v1
kind: Pod
metadata: {name: "{{ .Release.Name }}-test", annotations: {helm.sh/hook: test}}
spec:
  restartPolicy: Never
  containers: [{name: test, image: IMAGE, imagePullPolicy: Never, command: ["true"]}]
""",
    "templates/NOTES.txt": "Installed {{ .Release.Name }}.\n",
}


class Helm:
    """Helm in one namespace of a cluster."""

    def __init__(self, cluster: Cluster, program: Path, chart: Path) -> None:
        self.cluster = cluster
        self.chart = str(chart)
        self._program = program

    def __call__(self, *arguments: str, may_fail: bool = False) -> str:
        argv = [str(self._program), "--namespace", self.cluster.namespace, *arguments]
        return self.cluster.run(argv, may_fail=may_fail)

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json"))

    def names(self, what: str) -> set[str]:
        return set(self.cluster.kubectl("get", what, "-o", "jsonpath={.items[*].metadata.name}").split())


@pytest.fixture(scope="module")
def helm(containers: Cluster, layer: Layer, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    chart = tmp_path_factory.mktemp("chart") / "sample"
    for name, content in CHART.items():
        path = chart / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.replace("IMAGE", IMAGE))
    containers.kubectl("create", "namespace", "helm")
    return Helm(containers.by(containers.program, "helm"), layer.helm, chart)


def test_a_dry_run_asks_the_server_and_leaves_nothing(helm: Helm) -> None:
    helm.cluster.kubectl("create", "configmap", "looked-up", "--from-literal=a=b")
    shown = helm("install", "dry", helm.chart, "--dry-run=server", "--set=size=0")
    assert 'found: "eyJhIjoiYiJ9"' in shown
    assert 'has: "true"' in shown
    assert helm.json("list") == []
    assert "dry" not in helm.names("deployments")
    assert "kind: Deployment" in helm("template", "dry", helm.chart, "--include-crds")
    assert "0 chart(s) failed" in helm("lint", helm.chart)


def test_a_release_is_installed_tested_upgraded_rolled_back_and_uninstalled(helm: Helm) -> None:
    notes = helm("install", "web", helm.chart, "--wait", "--wait-for-jobs", "--timeout=60s")
    assert "Installed web." in notes
    assert helm.cluster.kubectl("get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}") == "2"
    assert helm.cluster.kubectl("get", "thing", "web", "-o", "jsonpath={.spec.size}") == "1"
    assert {"web-pre-install", "web-post-install"} <= helm.names("jobs")
    assert "web-passing" not in helm.names("configmaps")
    assert helm.json("status", "web")["info"]["status"] == "deployed"
    assert "Phase:          Succeeded" in helm("test", "web", "--timeout=60s")

    helm("upgrade", "web", helm.chart, "--set=replicas=1,size=2", "--wait", "--timeout=60s")
    assert "web-pre-upgrade" in helm.names("jobs")
    assert helm.cluster.kubectl("get", "thing", "web", "-o", "jsonpath={.spec.size}") == "2"
    assert [one["revision"] for one in helm.json("list")] == ["2"]
    assert "replicas: 1" in helm("get", "manifest", "web")
    assert helm.json("get", "values", "web") == {"replicas": 1, "size": 2}
    assert "helm.sh/hook: pre-upgrade" in helm("get", "hooks", "web")
    assert "Installed web." in helm("get", "notes", "web")

    helm("rollback", "web", "1", "--wait", "--timeout=60s")
    assert [(one["revision"], one["status"]) for one in helm.json("history", "web")] == [
        (1, "superseded"),
        (2, "superseded"),
        (3, "deployed"),
    ]
    assert helm.cluster.kubectl("get", "thing", "web", "-o", "jsonpath={.spec.size}") == "1"
    assert helm.cluster.kubectl("get", "configmap", "web", "-o", "jsonpath={.data.revision}") == "1"

    helm("uninstall", "web", "--wait", "--timeout=60s")
    assert "web-pre-delete" in helm.names("jobs")
    assert "web" not in helm.names("deployments,services,configmaps,things")
    assert helm.names("secrets") == set()


def test_a_failing_upgrade_goes_back_by_itself(helm: Helm) -> None:
    helm("install", "back", helm.chart, "--no-hooks", "--wait", "--timeout=60s")
    failed = helm(
        "upgrade",
        "back",
        helm.chart,
        "--set=failing=true",
        "--no-hooks",
        "--rollback-on-failure",
        "--timeout=3s",
        may_fail=True,
    )
    assert "rolled back" in failed
    assert [one["status"] for one in helm.json("history", "back")][1:] == ["failed", "deployed"]
    selector = helm.cluster.kubectl("get", "deployment", "back", "-o", "jsonpath={.spec.template.spec.nodeSelector}")
    assert selector == ""
    helm("upgrade", "--install", "back", helm.chart, "--no-hooks", "--server-side=false", "--set=size=5", "--wait")
    helm("uninstall", "back", "--no-hooks", "--cascade=foreground", "--wait", "--timeout=60s")
    # Helm takes what its own watches have not shown it yet for gone, so it may return before that.
    helm.cluster.kubectl("wait", "deployment/back", "--for=delete", "--timeout=60s")


def test_what_the_server_refuses_fails_the_install(helm: Helm) -> None:
    refused = helm("install", "wrong", helm.chart, "--no-hooks", "--set=replicas=-1", may_fail=True)
    assert "must be greater than or equal to 0" in refused
    helm("uninstall", "wrong", "--no-hooks", may_fail=True)
