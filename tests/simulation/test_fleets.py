"""A simulated node's pods go through the phases that a kubelet's would."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from keelback.apimachinery.meta import OwnerReference
from keelback.simulation.config import SimulatedConfig, nodes
from keelback.simulation.fleets import AddressPool
from keelback.simulation.manners import EXIT_CODE, RUN_SECONDS, START_SECONDS
from keelback.simulation.nodes import node_object
from keelback.simulation.pods import (
    READY,
    SimulatedContainer,
    SimulatedMeta,
    SimulatedPod,
    SimulatedPodCondition,
    SimulatedPodSpec,
    SimulatedPodStatus,
    Step,
    finished_status,
    plan,
    running_status,
)

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
CONFIG = SimulatedConfig(nodes=())
ALL_TRUE = tuple(
    SimulatedPodCondition(type=kind, status="True")
    for kind in ("PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready")
)


def a_pod(phase="Pending", *, restart_policy="Always", owner="ReplicaSet", annotations=None, conditions=(), **metadata):
    return SimulatedPod(
        metadata=SimulatedMeta(
            name="web",
            namespace="default",
            uid="u1",
            annotations=annotations or {},
            owner_references=(OwnerReference(api_version="v1", kind=owner, name="x", uid="o"),),
            **metadata,
        ),
        spec=SimulatedPodSpec(
            node_name="node-0",
            restart_policy=restart_policy,
            containers=(SimulatedContainer(name="main", image="web:1"),),
        ),
        status=SimulatedPodStatus(phase=phase, conditions=conditions),
    )


def test_a_pending_pod_starts_after_a_short_delay():
    assert plan(a_pod(), CONFIG) == Step("start", 0.1)
    assert plan(a_pod(annotations={START_SECONDS: "5"}), CONFIG) == Step("start", 5.0)


def test_a_running_pod_of_a_deployment_stays_as_it_is():
    assert plan(a_pod("Running", conditions=ALL_TRUE), CONFIG) is None


def test_a_running_pod_of_a_job_finishes():
    assert plan(a_pod("Running", restart_policy="Never", owner="Job", conditions=ALL_TRUE), CONFIG) == Step("finish", 1)
    told = {RUN_SECONDS: "30"}
    pod = a_pod("Running", restart_policy="Never", owner="Job", annotations=told, conditions=ALL_TRUE)
    assert plan(pod, CONFIG) == Step("finish", 30.0)
    told = {RUN_SECONDS: "forever"}
    pod = a_pod("Running", restart_policy="Never", owner="Job", annotations=told, conditions=ALL_TRUE)
    assert plan(pod, CONFIG) is None


def test_a_pod_told_to_be_unready_is_updated():
    assert plan(a_pod("Running", annotations={READY: "false"}, conditions=ALL_TRUE), CONFIG) == Step("update")


def test_a_change_of_the_spec_is_said_to_be_seen():
    pod = a_pod("Running", conditions=ALL_TRUE, generation=2)
    seen = msgspec.structs.replace(pod.status, observed_generation=1)
    assert plan(msgspec.structs.replace(pod, status=seen), CONFIG) == Step("update")


def test_a_version_that_keeps_no_observed_generation_does_not_hold_up_a_job() -> None:
    pod = a_pod("Running", restart_policy="Never", owner="Job", conditions=ALL_TRUE, generation=1)
    assert plan(pod, CONFIG) == Step("finish", 1)


def test_a_deleted_pod_is_removed_within_its_grace():
    deleted = {"deletion_timestamp": NOW, "deletion_grace_period_seconds": 30}
    assert plan(a_pod("Running", conditions=ALL_TRUE, **deleted), CONFIG) == Step("remove", 0.1)
    deleted = {"deletion_timestamp": NOW, "deletion_grace_period_seconds": 0}
    assert plan(a_pod("Running", conditions=ALL_TRUE, **deleted), CONFIG) == Step("remove", 0.0)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_finished_pod_stays_finished(phase):
    assert plan(a_pod(phase), CONFIG) is None


def test_after_running_status_nothing_is_left_to_do():
    status = running_status(a_pod(), "172.24.0.1", "10.128.0.2", NOW)
    assert status["phase"] == "Running"
    assert status["podIPs"] == [{"ip": "10.128.0.2"}]
    conditions = tuple(SimulatedPodCondition(type=c["type"], status=c["status"]) for c in status["conditions"])
    assert plan(a_pod(status["phase"], conditions=conditions), CONFIG) is None


def test_a_condition_that_stays_is_not_written_again():
    status = running_status(a_pod("Running", conditions=ALL_TRUE), "h", "p", NOW)
    assert status["conditions"] == []


def test_the_exit_code_decides_between_success_and_failure():
    assert finished_status(a_pod("Running"), NOW)["phase"] == "Succeeded"
    failed = finished_status(a_pod("Running", annotations={EXIT_CODE: "3"}), NOW)
    assert failed["phase"] == "Failed"
    assert failed["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3


def test_nodes_have_addresses_and_pod_networks_of_their_own():
    made = nodes(300)
    assert len({node.internal_ip for node in made}) == 300
    assert len({node.pod_cidr for node in made}) == 300
    assert node_object(made[0], CONFIG, NOW).status.conditions[-1].type == "Ready"


def test_an_address_is_given_once_and_again_when_given_back():
    pool = AddressPool("10.128.0.0/29")
    pool.hold("held", "10.128.0.3")
    taken = [pool.take(str(number)) for number in range(5)]
    assert taken == ["10.128.0.2", "10.128.0.4", "10.128.0.5", "10.128.0.6", ""]
    assert pool.take("1") == "10.128.0.4"
    pool.give_back("1")
    assert pool.take("new") == "10.128.0.4"
