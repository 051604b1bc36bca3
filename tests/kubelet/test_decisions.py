"""Small decisions: admission, names, probes' tallies, cgroup figures, what is written of a status."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.api.core_v1 import (
    Container,
    ContainerPort,
    HostAlias,
    Node,
    NodeSpec,
    Pod,
    PodCondition,
    PodDNSConfig,
    PodDNSConfigOption,
    PodIP,
    PodSecurityContext,
    PodSpec,
    PodStatus,
    ResourceRequirements,
    Sysctl,
    Taint,
)
from keelback.apimachinery.meta import ObjectMeta
from keelback.kubelet.cgroups import oom_score_adj, pod_cgroup, quota, shares
from keelback.kubelet.network_files import (
    ResolvConf,
    dns_config,
    hostname,
    hosts_file,
    kernel_hostname,
    parse_resolv_conf,
)
from keelback.kubelet.pod_admission import admit
from keelback.kubelet.prober import Tally
from keelback.kubelet.status_writer import patch_of

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
NODE = Node(metadata=ObjectMeta(name="node", labels={"disk": "ssd"}))
ROOM = {"cpu": "2", "memory": "1Gi", "pods": "3"}


def a_pod(name="p", *, requests=None, limits=None, ports=(), **spec):
    resources = ResourceRequirements(requests=requests or {}, limits=limits or {})
    container = Container(name="c", resources=resources, ports=ports)
    return Pod(
        metadata=ObjectMeta(name=name, namespace="default", uid=f"uid-{name}"),
        spec=PodSpec(containers=(container,), **spec),
    )


# Admission


def test_a_pod_that_fits_is_taken():
    assert admit(a_pod(requests={"cpu": "1"}), [a_pod("q", requests={"cpu": "1"})], NODE, ROOM) is None


@pytest.mark.parametrize(
    ("pod", "reason", "message"),
    [
        (
            a_pod(requests={"cpu": "1500m"}),
            "OutOfcpu",
            "Pod was rejected: Node didn't have enough resource: cpu, requested: 1500, used: 600, capacity: 2000",
        ),
        (
            a_pod(node_selector={"disk": "hdd"}),
            "NodeAffinity",
            "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
        ),
        (
            a_pod(ports=(ContainerPort(container_port=80, host_port=8080, host_ip="10.0.0.1"),)),
            "NodePorts",
            "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
        ),
        (
            a_pod(security_context=PodSecurityContext(sysctls=(Sysctl(name="kernel.msgmax", value="1"),))),
            "SysctlForbidden",
            'Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted',
        ),
    ],
)
def test_a_pod_that_does_not_fit_is_refused_in_upstreams_words(pod, reason, message):
    other = a_pod("q", requests={"cpu": "600m"}, ports=(ContainerPort(container_port=1, host_port=8080),))
    rejection = admit(pod, [other], NODE, ROOM)
    assert (rejection.reason, rejection.message) == (reason, message)


def test_no_more_pods_than_the_node_may_have():
    assert admit(a_pod(), [a_pod("a"), a_pod("b"), a_pod("c")], NODE, ROOM).reason == "OutOfpods"


def test_a_taint_that_evicts_also_refuses():
    node = Node(metadata=NODE.metadata, spec=NodeSpec(taints=(Taint(key="k", effect="NoExecute"),)))
    assert admit(a_pod(), [], node, ROOM).reason == "TaintToleration"


# Resources


@pytest.mark.parametrize(
    ("requests", "limits", "qos"),
    [
        ({}, {}, "BestEffort"),
        ({"cpu": "1"}, {}, "Burstable"),
        ({"cpu": "1", "memory": "1Gi"}, {"cpu": "1000m", "memory": "1024Mi"}, "Guaranteed"),
        ({"cpu": "1", "memory": "1Gi"}, {"cpu": "2", "memory": "1Gi"}, "Burstable"),
    ],
)
def test_the_class_decides_the_cgroup(requests, limits, qos):
    pod = a_pod(requests=requests, limits=limits)
    expected = {"BestEffort": "/n/kubepods/besteffort/", "Burstable": "/n/kubepods/burstable/"}
    assert pod_cgroup("/n", pod) == expected.get(qos, "/n/kubepods/") + "poduid-p"


def test_cgroup_figures_are_upstreams():
    assert (shares(0), shares(1), shares(250), shares(10**9)) == (2, 2, 256, 262144)
    assert (quota(0), quota(1), quota(250)) == (0, 1000, 25000)
    assert oom_score_adj(a_pod(), 0, 1 << 30) == 1000
    assert oom_score_adj(a_pod(requests={"memory": "512Mi"}), 512 << 20, 1 << 30) == 500
    assert oom_score_adj(a_pod(requests={"memory": "1Gi"}), 1 << 30, 1 << 30) == 3


# Names


def test_the_cluster_dns_comes_with_its_search_path():
    node = ResolvConf(("8.8.8.8",), ("corp.example",), ())
    config = dns_config(a_pod(), ("10.96.0.10",), "cluster.local", node)
    assert config.servers == ("10.96.0.10",)
    assert config.searches == ("default.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example")
    assert config.options == ("ndots:5",)
    assert dns_config(a_pod(host_network=True), ("10.96.0.10",), "cluster.local", node).servers == ("8.8.8.8",)


def test_a_dns_config_is_merged_and_may_stand_alone():
    options = (PodDNSConfigOption(name="ndots", value="2"), PodDNSConfigOption(name="edns0"))
    asked = PodDNSConfig(nameservers=("1.1.1.1",), searches=("x.y",), options=options)
    merged = dns_config(a_pod(dns_config=asked), ("10.96.0.10",), "cluster.local", ResolvConf())
    assert merged.servers == ("10.96.0.10", "1.1.1.1")
    assert merged.options == ("ndots:2", "edns0")
    alone = dns_config(a_pod(dns_policy="None", dns_config=asked), ("10.96.0.10",), "cluster.local", ResolvConf())
    assert (alone.servers, alone.searches) == (("1.1.1.1",), ("x.y",))


def test_resolv_conf_is_read_as_the_c_library_does():
    text = "# nameserver 9.9.9.9\nnameserver 1.1.1.1\nsearch a\nsearch b c.\noptions ndots:1 rotate\n"
    assert parse_resolv_conf(text) == ResolvConf(("1.1.1.1",), ("b", "c"), ("ndots:1", "rotate"))


def test_host_names():
    assert hostname(a_pod("p"), "node") == "p"
    assert hostname(a_pod("p", hostname="h"), "node") == "h"
    assert hostname(a_pod("p", host_network=True), "node") == "node"
    assert hostname(a_pod("x" * 62 + "-y"), "node") == "x" * 62
    named = a_pod("p", hostname="h", subdomain="s", set_hostname_as_fqdn=True)
    assert kernel_hostname(named, "node", "cluster.local") == "h.s.default.svc.cluster.local"


def test_the_hosts_file_has_the_pod_and_its_aliases():
    pod = a_pod("p", subdomain="s", host_aliases=(HostAlias(ip="1.2.3.4", hostnames=("a", "b")),))
    text = hosts_file(pod, ["10.0.0.2"], "node", "cluster.local", "")
    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert "10.0.0.2\tp.s.default.svc.cluster.local\tp\n" in text
    assert text.endswith("\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n")


# Probes


@given(st.lists(st.booleans(), min_size=1), st.integers(1, 4), st.integers(1, 4))
def test_a_state_changes_only_after_enough_results_in_a_row(results, successes, failures):
    tally = Tally()
    for number, ok in enumerate(results):
        before, tally = tally, tally.after(ok, successes, failures)
        needed = successes if ok else failures
        in_a_row = all(one == ok for one in results[max(0, number + 1 - needed) : number + 1]) and number + 1 >= needed
        assert tally.state == (ok if in_a_row else before.state)


# Statuses


def test_only_what_differs_is_written():
    old = PodStatus(phase="Pending", conditions=(PodCondition(type="PodScheduled", status="True"),))
    assert patch_of(old, old) == {}
    new = PodStatus(phase="Running", pod_ips=(PodIP(ip="10.0.0.2"),), conditions=old.conditions)
    assert patch_of(old, new) == {"phase": "Running", "podIPs": [{"$patch": "replace"}, {"ip": "10.0.0.2"}]}


def test_conditions_of_others_are_left_alone_and_reasons_are_cleared():
    old = PodStatus(
        conditions=(
            PodCondition(type="Ready", status="False", reason="ContainersNotReady"),
            PodCondition(type="DisruptionTarget", status="True"),
        )
    )
    patch = patch_of(old, PodStatus(conditions=(PodCondition(type="Ready", status="True"),)))
    unset = {"lastProbeTime": None, "lastTransitionTime": None, "reason": None}
    assert patch == {"conditions": [{"type": "Ready", "status": "True", **unset}]}
