"""What the runtime is asked for: mounts, users, and what is refused because the runtime would leave it out."""

from __future__ import annotations

from pathlib import Path

import pytest

from keelback.api.core_v1 import (
    AppArmorProfile,
    ConfigMapVolumeSource,
    Container,
    ContainerRestartRule,
    ContainerRestartRuleOnExitCodes,
    DownwardAPIVolumeSource,
    EmptyDirVolumeSource,
    Node,
    Pod,
    PodDNSConfig,
    PodSecurityContext,
    PodSpec,
    ProjectedVolumeSource,
    SecretVolumeSource,
    SecurityContext,
    Sysctl,
    Volume,
    VolumeMount,
)
from keelback.apimachinery.meta import ObjectMeta
from keelback.cri.values import Image
from keelback.kubelet.config import KubeletConfig
from keelback.kubelet.network_files import ResolvConf, dns_config, too_much_dns
from keelback.kubelet.pod_admission import admit
from keelback.kubelet.pod_config import Unconfigurable, container_config, volume_mount

CONFIG = KubeletConfig(node_name="node", node_ips=("10.0.0.1",))


def a_pod(*volumes, container=None, **spec):
    return Pod(
        metadata=ObjectMeta(name="p", namespace="default", uid="u"),
        spec=PodSpec(containers=(container or Container(name="c"),), volumes=volumes, **spec),
    )


@pytest.mark.parametrize(
    ("source", "readonly"),
    [
        ({"config_map": ConfigMapVolumeSource(name="x")}, True),
        ({"secret": SecretVolumeSource(secret_name="x")}, True),
        ({"downward_api": DownwardAPIVolumeSource()}, True),
        ({"projected": ProjectedVolumeSource()}, True),
        ({"empty_dir": EmptyDirVolumeSource()}, False),
    ],
)
def test_containers_cannot_write_what_the_node_writes(source, readonly):
    pod = a_pod(Volume(name="v", **source))
    assert volume_mount(VolumeMount(name="v", mount_path="/v"), Path("/x"), pod).readonly is readonly


def test_what_the_runtime_cannot_make_read_only_is_refused():
    pod = a_pod(Volume(name="v", empty_dir=EmptyDirVolumeSource()))
    mount = VolumeMount(name="v", mount_path="/v", read_only=True, recursive_read_only="Enabled")
    with pytest.raises(Unconfigurable, match='volume "v" requested recursive read-only mode'):
        volume_mount(mount, Path("/x"), pod)
    optional = VolumeMount(name="v", mount_path="/v", read_only=True, recursive_read_only="IfPossible")
    assert volume_mount(optional, Path("/x"), pod).readonly


@pytest.mark.parametrize(
    ("image", "user", "name"),
    [(Image(id="i"), 0, ""), (Image(id="i", uid=1000), 1000, ""), (Image(id="i", user="www"), None, "www")],
)
def test_a_group_without_a_user_goes_with_the_images(image, user, name):
    pod = a_pod(security_context=PodSecurityContext(run_as_group=3000))
    made = container_config(
        pod.spec.containers[0], pod, 0, CONFIG, image=image, environment={}, mounts=(), memory_capacity_bytes=1
    ).security_context
    assert (made.run_as_user, made.run_as_username, made.run_as_group) == (user, name, 3000)


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        (
            {"security_context": PodSecurityContext(supplemental_groups_policy="Strict")},
            "SupplementalGroupsPolicyNotSupported",
            "SupplementalGroupsPolicy=Strict is not supported in this node",
        ),
        (
            {"security_context": PodSecurityContext(app_armor_profile=AppArmorProfile(type="RuntimeDefault"))},
            "AppArmor",
            "Cannot enforce AppArmor: AppArmor is not enabled on the host",
        ),
        (
            {
                "security_context": PodSecurityContext(sysctls=(Sysctl(name="net.ipv4.tcp_syncookies", value="1"),)),
                "host_network": True,
            },
            "SysctlForbidden",
            'forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled',
        ),
        (
            {
                "security_context": PodSecurityContext(sysctls=(Sysctl(name="kernel/shm_rmid_forced", value="1"),)),
                "host_ipc": True,
            },
            "SysctlForbidden",
            'forbidden sysctl: "kernel.shm_rmid_forced" not allowed with host ipc enabled',
        ),
    ],
)
def test_what_the_node_cannot_do_is_refused(spec, reason, message):
    found = admit(a_pod(**spec), [], Node(metadata=ObjectMeta(name="node")), {})
    assert found is not None
    assert (found.reason, found.message) == (reason, f"Pod was rejected: {message}")


def test_a_containers_own_profile_is_looked_at_too():
    profile = AppArmorProfile(type="Localhost", localhost_profile="x")
    pod = a_pod(container=Container(name="c", security_context=SecurityContext(app_armor_profile=profile)))
    found = admit(pod, [], Node(metadata=ObjectMeta(name="node")), {})
    assert found is not None
    assert found.reason == "AppArmor"


def test_a_rule_that_restarts_the_whole_pod_is_refused_and_not_left_out():
    exited = ContainerRestartRuleOnExitCodes(operator="In", values=(42,))
    rule = ContainerRestartRule(action="RestartAllContainers", exit_codes=exited)
    pod = a_pod(container=Container(name="c", restart_policy="Never", restart_policy_rules=(rule,)))
    found = admit(pod, [], Node(metadata=ObjectMeta(name="node")), {})
    assert found is not None
    assert found.reason == "RestartAllContainersNotSupported"


def test_resolv_conf_has_no_more_than_resolvers_read():
    pod = a_pod(
        dns_policy="ClusterFirst",
        dns_config=PodDNSConfig(nameservers=("1.1.1.1", "2.2.2.2", "3.3.3.3"), searches=tuple("abc")),
    )
    asked = (pod, ("10.96.0.10",), "cluster.local", ResolvConf())
    assert dns_config(*asked).servers == ("10.96.0.10", "1.1.1.1", "2.2.2.2")
    assert too_much_dns(*asked) == [
        "Nameserver limits were exceeded, some nameservers have been omitted, "
        "the applied nameserver line is: 10.96.0.10 1.1.1.1 2.2.2.2"
    ]
    many = a_pod(dns_policy="None", dns_config=PodDNSConfig(searches=tuple(f"{n}.x" for n in range(40))))
    assert len(dns_config(many, (), "cluster.local", ResolvConf()).searches) == 32
    assert "Search Line limits" in too_much_dns(many, (), "cluster.local", ResolvConf())[0]
