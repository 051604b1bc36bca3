"""The flags about aggregated API servers: the cluster's own certificate unless another one is given, whole."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from keelback.bootstrap import components
from keelback.bootstrap.cluster_state import ClusterError
from keelback.bootstrap.pki import ensure_cluster_pki


def test_the_clusters_own_certificate_is_used_unless_another_is_given(tmp_path: Path) -> None:
    keys = ensure_cluster_pki(tmp_path, datetime.now(UTC))
    own = keys.front_proxy_client
    config = components.parse("kube-apiserver", ()).aggregation(own)
    assert (config.client_certificate, config.client_key) == (own.certificate_path, own.key_path)
    assert config.routes_to_endpoints
    other = keys.apiserver_kubelet_client
    given = (f"proxy-client-cert-file={other.certificate_path}", f"proxy-client-key-file={other.key_path}")
    config = components.parse("kube-apiserver", (*given, "enable-aggregator-routing=false")).aggregation(own)
    assert (config.client_certificate, config.client_key) == (other.certificate_path, other.key_path)
    assert not config.routes_to_endpoints


def test_half_a_certificate_is_refused(tmp_path: Path) -> None:
    keys = ensure_cluster_pki(tmp_path, datetime.now(UTC))
    certificate = f"proxy-client-cert-file={keys.ca.certificate_path}"
    with pytest.raises(ClusterError, match="must be specified together"):
        components.parse("kube-apiserver", (certificate,))
    options = components.parse("kube-apiserver", (certificate, f"proxy-client-key-file={keys.front_proxy_ca.key_path}"))
    with pytest.raises(ClusterError, match="--proxy-client-cert-file: "):
        options.aggregation(keys.front_proxy_client)
