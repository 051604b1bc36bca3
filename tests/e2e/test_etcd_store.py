"""A cluster whose objects are in an etcd beside the control plane, by the real command and the real kubectl."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from keelback.bootstrap.cluster_state import Place
from keelback.bootstrap.etcd_member import EtcdMember
from keelback.bootstrap.processes import Process
from keelback.concurrency.clock import SystemClock
from keelback.testing import etcd
from keelback.testing.commands import PROGRAMS, Cluster

pytestmark = pytest.mark.skipif(not etcd.is_installed(), reason="etcd is not installed")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(f"etcd-{os.getpid()}", tmp_path)
    try:
        yield made
    finally:
        made.keelback("down")


@pytest.mark.slow_clients
def test_the_etcd_outlives_a_killed_control_plane_and_is_adopted(cluster: Cluster) -> None:
    place = Place(cluster.name, cluster.data)
    cluster.keelback("up", "--simulated", "--store", "etcd")
    member = EtcdMember(place, SystemClock()).process()
    assert member is not None
    assert (place.run.stat().st_mode & 0o77) == 0
    cluster.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    plane = msgspec.json.decode(place.process_file.read_bytes(), type=Process)
    os.kill(plane.pid, signal.SIGKILL)
    assert "sqlite" in cluster.run(_up(cluster, "--simulated", "--store", "sqlite"), may_fail=True), (
        "its objects are not left behind unasked"
    )
    cluster.keelback("up")
    assert EtcdMember(place, SystemClock()).process() == member
    assert cluster.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "b"
    os.kill(member.pid, signal.SIGKILL)
    cluster.kubectl("create", "configmap", "another", "--from-literal=a=b")
    again = EtcdMember(place, SystemClock()).process()
    assert again is not None
    assert again != member, "it was started again"
    cluster.keelback("down", "--keep-data")
    assert not again.is_alive()
    cluster.keelback("up")
    assert cluster.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "b"


def _up(cluster: Cluster, *arguments: str) -> list[str]:
    return [str(PROGRAMS / "keelback"), "up", "--name", cluster.name, "--data-dir", str(cluster.data), *arguments]
