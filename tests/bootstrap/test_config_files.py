"""The configuration files of kubelet and kube-proxy: what they say, what goes before it, and what they cannot say."""

from __future__ import annotations

from pathlib import Path

import pytest

from keelback.bootstrap import components, config_files
from keelback.bootstrap.cluster_state import ClusterError
from keelback.bootstrap.standalone_options import StandaloneKubeletOptions, StandaloneProxyOptions
from keelback.component.flags import FlagError

KUBELET = """apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
maxPods: 50
clusterDNS: [10.96.0.10, 10.96.0.11]
nodeStatusUpdateFrequency: 30s
systemReserved: {cpu: 500m, memory: 1Gi}
authentication:
  anonymous: {enabled: false}
  x509: {clientCAFile: /etc/ca.crt}
"""
PROXY = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"


def kubelet(path: Path, text: str, *more: str) -> StandaloneKubeletOptions:
    file = path / "kubelet.yaml"
    file.write_text(text)
    return config_files.parse("kubelet", StandaloneKubeletOptions, [f"--config={file}", *more])


def test_its_fields_are_flags_by_other_names(tmp_path: Path) -> None:
    given = kubelet(tmp_path, KUBELET)
    assert (given.max_pods, given.node_status_update_frequency) == (50, 30.0)
    assert given.cluster_dns == ("10.96.0.10", "10.96.0.11")
    assert given.system_reserved == {"cpu": "500m", "memory": "1Gi"}
    assert given.client_ca_file == "/etc/ca.crt"


def test_flags_go_before_it(tmp_path: Path) -> None:
    given = kubelet(tmp_path, KUBELET, "--max-pods=7", "--cluster-dns=10.96.0.12")
    assert (given.max_pods, given.cluster_dns) == (7, ("10.96.0.12",))
    assert given.node_status_update_frequency == 30.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Pod", "None Pod is not kubelet.config.k8s.io/v1beta1 KubeletConfiguration"),
        (f"{KUBELET}evictionHard: {{}}", "evictionHard cannot be set here; these can: address, authentication.x509"),
        (f"{KUBELET}readOnlyPort: 10255", "readOnlyPort can only be 0 here, not 10255"),
        (KUBELET.replace("maxPods: 50", "maxPods: many"), 'invalid argument "many" for "--max-pods" flag'),
        (f"{KUBELET}maxPods: 51", "already set"),
        (f"{KUBELET}authentication: 5", "already set"),
        ("[]", "None None is not"),
        ("{", "yaml"),
    ],
)
def test_what_it_cannot_say(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(FlagError) as raised:
        kubelet(tmp_path, text)
    assert said in str(raised.value)


def test_a_proxys_file_knows_one_mode(tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text(f"{PROXY}mode: nftables\nclusterCIDR: 10.0.0.0/8\nclientConnection: {{kubeconfig: /etc/k}}\n")
    given = config_files.parse("proxy", StandaloneProxyOptions, [f"--config={file}"])
    assert (given.cluster_cidr, given.kubeconfig) == ("10.0.0.0/8", "/etc/k")
    file.write_text(f"{PROXY}mode: ipvs\n")
    with pytest.raises(FlagError, match="mode can only be nftables here, not ipvs"):
        config_files.parse("proxy", StandaloneProxyOptions, [f"--config={file}"])


def test_a_clusters_kubelets_take_what_is_not_a_nodes_own(tmp_path: Path) -> None:
    file = tmp_path / "kubelet.yaml"
    file.write_text("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 50\n")
    [said] = components.absolute("kubelet", ("config=kubelet.yaml",), tmp_path)
    assert components.parse("kubelet", (said,)).max_pods == 50
    file.write_text("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nport: 1\n")
    with pytest.raises(ClusterError, match="port cannot be set here"):
        components.parse("kubelet", (said,))
