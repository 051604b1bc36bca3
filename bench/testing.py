"""What a cluster inside a test costs: `python bench/testing.py`. Each figure is the best of three processes."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import Final

ROUNDS: Final = 3
_WEB: Final = """
WEB = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 3,
    "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "web", "image": "web:1"}]}}}}
"""
_BEGIN: Final = """
import time
began = time.perf_counter()
from keelback.testing.cluster import Cluster

def took(work):
    began, used = time.perf_counter(), time.process_time()
    work()
    return f"{(time.perf_counter() - began) * 1000} {(time.process_time() - used) * 1000}"

def resident():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
"""
_FILL: Final = """
POD = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}
KINDS = [
    ("v1", "ConfigMap", {}),
    ("v1", "Secret", {}),
    ("v1", "ServiceAccount", {}),
    ("v1", "Service", {"spec": {"ports": [{"port": 80}]}}),
    ("v1", "PersistentVolumeClaim",
     {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
    ("v1", "ResourceQuota", {"spec": {"hard": {"pods": "90"}}}),
    ("v1", "LimitRange", {"spec": {"limits": []}}),
    ("v1", "PodTemplate", {"template": {"spec": POD}}),
    ("v1", "Pod", {"spec": POD}),
    ("rbac.authorization.k8s.io/v1", "Role", {"rules": []}),
    ("rbac.authorization.k8s.io/v1", "RoleBinding",
     {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "x"}}),
    ("networking.k8s.io/v1", "NetworkPolicy", {"spec": {"podSelector": {}}}),
    ("networking.k8s.io/v1", "Ingress",
     {"spec": {"defaultBackend": {"service": {"name": "x", "port": {"number": 80}}}}}),
    ("policy/v1", "PodDisruptionBudget", {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}}),
    ("coordination.k8s.io/v1", "Lease", {}),
    ("discovery.k8s.io/v1", "EndpointSlice", {"addressType": "IPv4", "endpoints": []}),
    ("apps/v1", "ControllerRevision", {"revision": 1, "data": {}}),
    ("batch/v1", "Job", {"spec": {"template": {"spec": POD}}}),
    ("batch/v1", "CronJob",
     {"spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": {"spec": POD}}}}}),
    ("autoscaling/v2", "HorizontalPodAutoscaler",
     {"spec": {"maxReplicas": 2, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}}}),
]
"""
MEASURES: Final = {
    "first cluster of a process, imports included (ms)": """
c = Cluster().start()
print((time.perf_counter() - began) * 1000, time.process_time() * 1000)
c.stop()
""",
    "next cluster (ms)": "Cluster().start().stop(); c = Cluster(); print(took(c.start)); c.stop()",
    "stop (ms)": "c = Cluster().start(); print(took(c.stop))",
    "Deployment to three Ready (ms)": _WEB
    + """
with Cluster() as c:
    def go():
        c.apply(WEB)
        c.wait("deployment/web", "status.readyReplicas=3")
    print(took(go))
""",
    "namespace with 50 objects of 20 kinds gone (ms)": _FILL
    + """
with Cluster() as c:
    c.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "full"}})
    c.wait("serviceaccount/default", "exists", namespace="full")
    for number in range(50):
        version, kind, more = KINDS[number % 20]
        c.apply({"apiVersion": version, "kind": kind, "metadata": {"name": f"one-{number}"}, **more}, namespace="full")
    def go():
        c.delete("namespace/full")
        c.wait("namespace/full", "deleted")
    print(took(go))
""",
    "memory of a process with one cluster (MB)": _WEB
    + """
with Cluster() as c:
    c.apply(WEB)
    c.wait("deployment/web", "Available")
    print(resident())
""",
    "memory of a process with eight clusters (MB)": _WEB
    + """
held = [Cluster(seed=number).start() for number in range(8)]
for c in held:
    c.apply(WEB)
    c.wait("deployment/web", "Available")
print(resident())
for c in held:
    c.stop()
""",
    "a CronJob's week, hourly (ms)": """
JOB = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "hourly"}, "spec": {"schedule": "0 * * * *",
    "jobTemplate": {"spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}}
with Cluster() as c:
    c.apply(JOB)
    print(took(lambda: c.advance(days=7)))
""",
}


def measured(script: str) -> tuple[float, ...]:
    """The figures that a script prints, in a fresh interpreter. Raises CalledProcessError."""
    whole = f"{_BEGIN}\n{textwrap.dedent(script)}"
    done = subprocess.run([sys.executable, "-c", whole], stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    return tuple(map(float, done.stdout.split()))


def main() -> None:
    """Print each figure; of those that are times also the processor's, which a busy machine spoils less."""
    for name, script in MEASURES.items():
        rounds = [measured(script) for _ in range(ROUNDS)]
        print(f"{name:60}", *(f"{min(column):8.0f}" for column in zip(*rounds, strict=True)), flush=True)


if __name__ == "__main__":
    main()
