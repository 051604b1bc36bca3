"""Clients in Java: fabric8 with its watches and commands over WebSocket, Spark on it, and Apache Ignite's finder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from keelback.bootstrap import images
from keelback.bootstrap.images import File, ImageConfig
from keelback.testing import clients
from keelback.testing.commands import Cluster

pytestmark = [pytest.mark.slow_clients, pytest.mark.timeout(900)]

PROGRAMS = Path(__file__).with_name("programs")
SAMPLE = "localhost/keelback-sample:latest"
SPARK_IMAGE = "localhost/keelback-spark:latest"
NewNamespace = Callable[[Cluster, str], str]


def java(cluster: Cluster, program: str, *arguments: str, classes: str = "") -> str:
    """What a program of one source file printed."""
    clients.debian("javac", "openjdk-17-jdk-headless")
    found = ["-cp", classes] if classes else []
    argv = [
        str(clients.debian("java", "openjdk-17-jre-headless")),
        *found,
        str(PROGRAMS / f"{program}.java"),
        *arguments,
    ]
    return cluster.run(argv)


def pyspark() -> Path:
    """Spark as it comes from its Python package, with its back end for Kubernetes, which is built on fabric8."""
    python = clients.python("spark", "pyspark==4.3.*")
    return next(python.parents[1].glob("lib/python*/site-packages/pyspark"))


@pytest.mark.containers
def test_fabric8_as_jenkins_calls_it(containers: Cluster, new_namespace: NewNamespace) -> None:
    java(containers, "Fabric8", new_namespace(containers, "java"), SAMPLE, classes=f"{pyspark()}/jars/*")


def test_ignite_finds_its_peers_when_it_may(simulated: Cluster, new_namespace: NewNamespace) -> None:
    namespace = new_namespace(simulated, "ignite")
    here = simulated.by(simulated.program, namespace)
    here.kubectl("create", "deployment", "ignite", "--image=example", "--port=47500")
    here.kubectl("expose", "deployment", "ignite", "--cluster-ip=None")
    here.kubectl("rollout", "status", "deployment/ignite", "--timeout=60s")
    here.kubectl("wait", "endpoints/ignite", "--for=jsonpath={.subsets[0].addresses[0].ip}", "--timeout=30s")
    here.kubectl("create", "serviceaccount", "ignite")
    token = here.kubectl("create", "token", "ignite").strip()
    server = here.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")

    def ask() -> tuple[str, dict[str, object]]:
        ca = str(simulated.data / "pki/ca.crt")
        status, body = java(simulated, "IgniteFinder", server, ca, token, namespace, "ignite").split("\n", 1)
        return status, json.loads(body)

    status, refused = ask()
    assert (status, refused["reason"]) == ("403", "Forbidden")
    here.kubectl("create", "role", "ignite", "--verb=get,list,watch", "--resource=endpoints")
    here.kubectl("create", "rolebinding", "ignite", "--role=ignite", f"--serviceaccount={namespace}:ignite")
    status, found = ask()
    address = here.kubectl("get", "pods", "-o", "jsonpath={.items[0].status.podIP}")
    assert status == "200"
    assert address in json.dumps(found["subsets"])


@dataclass(frozen=True)
class Spark:
    """Spark on a cluster's first node: its home, the job, and where it runs."""

    cluster: Cluster
    home: Path
    folder: Path
    namespace: str

    def submit(self, mode: str, job: str, **settings: str) -> str:
        """What spark-submit printed, within the node's network: executors must find a driver there."""
        network = f"/proc/{self.cluster.record('node-0', 'node.json')}/ns/net"
        mounts = {"executor": {"home": self.home}, "driver": {"home": self.home, "job": self.folder}}
        chosen = {
            "spark.executor.instances": "2",
            "spark.executor.memory": "512m",
            "spark.driver.memory": "512m",
            "spark.kubernetes.namespace": self.namespace,
            "spark.kubernetes.container.image": SPARK_IMAGE,
            "spark.kubernetes.container.image.pullPolicy": "Never",
            "spark.kubernetes.authenticate.driver.serviceAccountName": "spark",
            "spark.kubernetes.driver.request.cores": "0.1",
            "spark.kubernetes.executor.request.cores": "0.1",
            **settings,
        }
        for role, folders in mounts.items():
            for name, path in folders.items():
                volume = f"spark.kubernetes.{role}.volumes.hostPath.{name}"
                chosen[f"{volume}.options.path"] = str(path)
                chosen[f"{volume}.mount.path"] = {"home": "/opt/spark", "job": "/job"}[name]
        options = [part for name, value in chosen.items() for part in ("--conf", f"{name}={value}")]
        master = self.cluster.kubectl("get", "endpoints", "kubernetes", "-n", "default", "-o", f"jsonpath={_ADDRESS}")
        submit = [str(self.home / "bin/spark-submit"), "--master", f"k8s://https://{master}", "--deploy-mode", mode]
        argv = ["nsenter", f"--net={network}", *submit, "--name", "pi", "--class", "Pi", *options, job]
        return self.cluster.run(argv, with_errors=True, timeout_seconds=300)


_ADDRESS = "{.subsets[0].addresses[0].ip}:{.subsets[0].ports[0].port}"


@pytest.mark.containers
def test_spark_counts_pi_with_two_executors_from_a_node_and_from_a_pod(
    containers: Cluster, new_namespace: NewNamespace, tmp_path: Path
) -> None:
    home = pyspark()
    build_job(containers, home, tmp_path)
    load_image(containers, tmp_path)
    namespace = new_namespace(containers, "spark")
    here = containers.by(containers.program, namespace)
    here.kubectl("create", "serviceaccount", "spark")
    here.kubectl("create", "rolebinding", "spark", "--clusterrole=edit", f"--serviceaccount={namespace}:spark")
    spark = Spark(here, home, tmp_path, namespace)

    node = here.kubectl("get", "node", "node-0", "-o", "jsonpath={.status.addresses[?(@.type=='InternalIP')].address}")
    shown = spark.submit("client", str(tmp_path / "pi.jar"), **{"spark.driver.host": node})
    assert "Pi is roughly 3.14" in shown
    assert "Registered executor" in shown
    here.kubectl("wait", "pods", "--all", "--for=delete", "--timeout=30s")

    spark.submit("cluster", "local:///job/pi.jar")
    assert "Pi is roughly 3.14" in here.kubectl("logs", "-l", "spark-role=driver", "--tail=-1")
    phases = here.kubectl("get", "pods", "-o", "jsonpath={.items[*].status.phase}")
    assert phases == "Succeeded"


def build_job(cluster: Cluster, home: Path, folder: Path) -> None:
    classes = folder / "classes"
    compiler = clients.debian("javac", "openjdk-17-jdk-headless")
    cluster.run([str(compiler), "-cp", f"{home}/jars/*", "-d", str(classes), str(PROGRAMS / "Pi.java")])
    cluster.run([str(compiler.with_name("jar")), "cf", str(folder / "pi.jar"), "-C", str(classes), "."])


def load_image(cluster: Cluster, folder: Path) -> None:
    """An image with Java; Spark itself lies on the machine, half a gigabyte that need not be copied."""
    files = {
        "/opt/entrypoint.sh": File.program((PROGRAMS / "spark_entrypoint.sh").read_bytes()),
        "/opt/work": File.directory(0o777),
        "/opt/spark": File.directory(),
    }
    packages = ("openjdk-17-jre-headless", "bash", "coreutils", "dash", "libc-bin", "procps")
    config = ImageConfig(entrypoint=("/opt/entrypoint.sh",), working_directory="/opt/work")
    (folder / "image.tar").write_bytes(images.from_packages(SPARK_IMAGE, packages, config, files=files))
    cluster.keelback("load", str(folder / "image.tar"))
