"""The command line that kubeadm writes for kube-apiserver, and what its flags about tokens and resources say."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from keelback.auth.jwt import VerifyingKey
from keelback.auth.service_accounts import DEFAULT_ISSUER
from keelback.bootstrap.cluster_state import ClusterError
from keelback.bootstrap.components import APIServerOptions
from keelback.bootstrap.pki import KeyPair
from keelback.bootstrap.standalone_options import StandaloneAPIServerOptions
from keelback.component import flags
from keelback.component.flags import FlagError

KUBEADM = """
--advertise-address=172.18.0.2 --allow-privileged=true --authorization-mode=Node,RBAC --client-ca-file=PKI/ca.crt
--enable-admission-plugins=NodeRestriction --enable-bootstrap-token-auth=true --etcd-cafile=PKI/etcd/ca.crt
--etcd-certfile=PKI/apiserver-etcd-client.crt --etcd-keyfile=PKI/apiserver-etcd-client.key
--etcd-servers=https://127.0.0.1:2379 --kubelet-client-certificate=PKI/apiserver-kubelet-client.crt
--kubelet-client-key=PKI/apiserver-kubelet-client.key
--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname --proxy-client-cert-file=PKI/front-proxy-client.crt
--proxy-client-key-file=PKI/front-proxy-client.key --requestheader-allowed-names=front-proxy-client
--requestheader-client-ca-file=PKI/front-proxy-ca.crt --requestheader-extra-headers-prefix=X-Remote-Extra-
--requestheader-group-headers=X-Remote-Group --requestheader-username-headers=X-Remote-User
--runtime-config= --secure-port=6443 --service-account-issuer=https://kubernetes.default.svc.cluster.local
--service-account-key-file=PKI/sa.pub --service-account-signing-key-file=PKI/sa.key
--service-cluster-ip-range=10.96.0.0/16 --tls-cert-file=PKI/apiserver.crt --tls-private-key-file=PKI/apiserver.key
--v=2
"""
ISSUER = "https://kubernetes.default.svc.cluster.local"


def rsa_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """A key as kubeadm makes them, and its public half."""
    key = rsa.generate_private_key(65537, 2048)
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def test_the_flags_that_kubeadm_gives_are_understood(tmp_path: Path) -> None:
    private, public = rsa_keys(tmp_path, "sa")
    given = flags.parse(StandaloneAPIServerOptions, KUBEADM.replace("PKI", str(tmp_path)).split())
    assert given.brings_certificates
    own = given.signing_key(b"")
    assert own == private.read_bytes()
    settings = given.service_accounts(own)
    assert (settings.issuers, settings.audiences()) == ((ISSUER,), (ISSUER,))
    verifying = VerifyingKey.load(public.read_bytes())
    assert settings.all_keys(settings.issuer(own).public_key) == (verifying,)
    client = KeyPair(b"", b"", Path("a"), Path("b"))
    assert given.kubelet_client(client)[0] == tmp_path / "apiserver-kubelet-client.crt"
    assert given.kubelet_authority(b"own") == b"own"
    assert given.enable_bootstrap_token_auth


def test_a_key_that_was_replaced_still_verifies_and_others_audiences_are_known(tmp_path: Path) -> None:
    private, public = rsa_keys(tmp_path, "new")
    _, old = rsa_keys(tmp_path, "old")
    both = tmp_path / "both.pub"
    both.write_bytes(old.read_bytes() + b"\n" + public.read_bytes())
    given = flags.parse(
        APIServerOptions,
        [
            f"--service-account-key-file={both}",
            f"--service-account-signing-key-file={private}",
            "--service-account-issuer=https://new",
            "--service-account-issuer=https://old",
            "--api-audiences=a,b",
            "--service-account-max-token-expiration=2h",
            "--service-account-extend-token-expiration=false",
        ],
    )
    settings = given.service_accounts(b"")
    issuer = settings.issuer(given.signing_key(b""))
    assert (settings.issuers, issuer.issuer, issuer.api_audiences) == (
        ("https://new", "https://old"),
        "https://new",
        ("a", "b"),
    )
    assert [one.key_id for one in settings.all_keys(issuer.public_key)] == [
        VerifyingKey.load(path.read_bytes()).key_id for path in (old, public)
    ]
    assert (settings.max_token_seconds, settings.extends_expiration) == (7200, False)
    assert flags.parse(APIServerOptions, []).own_issuers() == (DEFAULT_ISSUER,)


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("service-account-issuer=://x", "contained a ':' but was not a valid URL"),
        ("service-account-jwks-uri=http://a", "service-account-jwks-uri requires https scheme"),
        ("service-account-max-token-expiration=1m", "must be between 1 hour"),
        ("service-node-port-range=30000-70000", "expected the first and the last port"),
        ("service-node-port-range=b-a", "expected the first and the last port"),
        ("event-ttl=0s", "--event-ttl must be positive"),
        ("kubelet-client-key=a", "--kubelet-client-certificate and --kubelet-client-key must be specified together"),
        ("kubelet-preferred-address-types=Other", '"Other" is none of Hostname'),
    ],
)
def test_what_cannot_be_meant(argument: str, told: str) -> None:
    with pytest.raises(FlagError, match=told):
        flags.parse(StandaloneAPIServerOptions, [f"--{argument}"])


def test_files_that_are_no_keys(tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("no key")
    for flag in ("service-account-key-file", "service-account-signing-key-file"):
        given = flags.parse(APIServerOptions, [f"--{flag}={nonsense}"])
        with pytest.raises(ClusterError, match=f"--{flag}"):
            given.service_accounts(given.signing_key(rsa_keys(tmp_path, "own")[0].read_bytes()))


def test_ports_are_a_range_in_either_form() -> None:
    for text, ports in (("30000-30010", (30000, 30010)), ("30000+5", (30000, 30005)), ("30000", (30000, 30000))):
        assert flags.parse(APIServerOptions, [f"--service-node-port-range={text}"]).node_ports() == ports
