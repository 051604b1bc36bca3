"""The flags about requests, TLS and the end of an API server."""

from __future__ import annotations

from pathlib import Path

import pytest

from keelback.admission import admission_configuration
from keelback.bootstrap.cluster_state import ClusterError
from keelback.bootstrap.components import APIServerOptions
from keelback.bootstrap.standalone_options import StandaloneAPIServerOptions
from keelback.component import flags
from keelback.component.flags import FlagError
from keelback.component.http1_requests import Limits
from keelback.component.serving_certificates import KeyPair


def test_limits_are_upstream_s_unless_given() -> None:
    default = flags.parse(APIServerOptions, []).request_limits()
    assert (default.seats, default.request_timeout_seconds, default.min_request_timeout_seconds) == (600, 60, 1800)
    given = flags.parse(
        APIServerOptions,
        ["--max-requests-inflight=40", "--max-mutating-requests-inflight=20", "--request-timeout=1m30s"],
    )
    assert (given.request_limits().seats, given.request_limits().request_timeout_seconds) == (60, 90)
    off = flags.parse(APIServerOptions, ["--enable-priority-and-fairness=false", "--max-requests-inflight=0"])
    assert not off.request_limits().enable_priority_and_fairness


def test_admission_plugins_are_such_as_there_are(tmp_path: Path) -> None:
    for arguments, told in (
        (["--enable-admission-plugins=Nope"], 'enable-admission-plugins plugin "Nope" is unknown'),
        (["--disable-admission-plugins=Nope"], 'disable-admission-plugins plugin "Nope" is unknown'),
        (
            ["--enable-admission-plugins=PodSecurity", "--disable-admission-plugins=PodSecurity"],
            r"\[PodSecurity\] in enable-admission-plugins and disable-admission-plugins overlapped",
        ),
    ):
        with pytest.raises(FlagError, match=told):
            flags.parse(APIServerOptions, arguments)
    limited = flags.parse(APIServerOptions, ["--enable-admission-plugins=EventRateLimit"])
    with pytest.raises(ClusterError, match="EventRateLimit needs limits"):
        limited.admission()
    path = tmp_path / "admission.yaml"
    with pytest.raises(ClusterError, match=r"admission\.yaml: .*No such file"):
        flags.parse(APIServerOptions, [f"--admission-control-config-file={path}"]).admission()
    path.write_text("apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins: []")
    given = flags.parse(APIServerOptions, [f"--admission-control-config-file={path}"])
    assert given.admission() == admission_configuration.DEFAULT


def test_large_answers_are_compressed_as_the_gate_says() -> None:
    def limits(*arguments: str) -> Limits:
        return flags.parse(APIServerOptions, arguments).connection_limits()

    assert limits() == Limits()
    assert limits("--feature-gates=APIResponseCompression=true").gzip_on_loopback
    assert limits("--feature-gates=APIResponseCompression=false").gzip_bytes > 1 << 60


def test_certificates_for_names_may_be_several() -> None:
    arguments = ["--tls-sni-cert-key=a.crt,a.key", "--tls-sni-cert-key=b.crt,b.key:*.example.com,example.com"]
    assert flags.parse(StandaloneAPIServerOptions, arguments).named_pairs() == (
        KeyPair(Path("a.crt"), Path("a.key")),
        KeyPair(Path("b.crt"), Path("b.key"), ("*.example.com", "example.com")),
    )


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("--max-requests-inflight=-1", "--max-requests-inflight can not be negative value"),
        ("--request-timeout=-1s", "--request-timeout can not be negative value"),
        ("--tls-cert-file=a.crt", "--tls-cert-file and --tls-private-key-file go together"),
        ("--tls-min-version=VersionTLS11", "unknown tls version"),
        ("--tls-cipher-suites=TLS_RSA_WITH_RC4_128_SHA", "not supported or doesn't exist"),
        ("--tls-sni-cert-key=a.crt", "expected comma separated certificate and key file paths"),
        ("--shutdown-delay-duration=-1s", "--shutdown-delay-duration can not be negative value"),
        ("--storage-backend=etcd2", "--storage-backend invalid, allowed values: etcd3"),
        ("--storage-media-type=application/vnd.kubernetes.protobuf", "allowed values: application/json"),
        ("--watch-cache=false", "--watch-cache=false is not possible here"),
        ("--service-account-lookup=false", "it can only be true"),
        ("--etcd-readycheck-timeout=0s", "must be positive"),
        ("--goaway-chance=0.1", "--goaway-chance can not be less than 0 or greater than 0.02"),
        ("--cors-allowed-origins=example.com", "does not pin to start/end of host in the origin header"),
        (
            "--cors-allowed-origins=//(",
            "--cors-allowed-origins has an invalid regular expression: error parsing regexp",
        ),
        ("--strict-transport-security-directives=max-age", "invalid, allowed values: max-age=expireTime"),
        ("--strict-transport-security-directives=preload, ", "empty value in strict-transport-security-directives"),
    ],
)
def test_what_cannot_be_is_said(argument: str, problem: str) -> None:
    with pytest.raises(FlagError, match=problem):
        flags.parse(StandaloneAPIServerOptions, [argument])


def test_what_installers_say_anyway_is_taken() -> None:
    arguments = [
        "--storage-backend=etcd3",
        "--service-account-lookup=True",
        "--enable-garbage-collector",
        "--watch-cache",
    ]
    assert flags.parse(StandaloneAPIServerOptions, arguments).storage_media_type == "application/json"


def test_no_seats_at_all_are_refused() -> None:
    arguments = ["--max-requests-inflight=0", "--max-mutating-requests-inflight=0"]
    with pytest.raises(FlagError, match="can not both be 0"):
        flags.parse(APIServerOptions, arguments)
