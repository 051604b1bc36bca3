"""The flags of authentication and authorization, in upstream's words where they do not go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from keelback.bootstrap import components
from keelback.bootstrap.cluster_state import ClusterError
from keelback.bootstrap.components import APIServerOptions
from keelback.component import flags
from keelback.testing.access_servers import authentication_configuration, authorization_configuration

CA = b"a certificate"


def parse(*arguments: str) -> APIServerOptions:
    return flags.parse(APIServerOptions, [f"--{argument}" for argument in arguments])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("oidc-client-id=a",), "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags"),
        (("oidc-groups-claim=a",), "oidc-issuer-url and oidc-client-id must be specified together when any oidc-*"),
        (
            ("authentication-config=a", "oidc-issuer-url=https://a"),
            "authentication-config file and oidc-* flags are mutually exclusive",
        ),
        (
            ("oidc-issuer-url=https://a", "oidc-client-id=b", "oidc-signing-algs=RS256,HS256"),
            'oidc: unsupported signing alg: "HS256"',
        ),
        (
            ("authentication-token-webhook-version=v2",),
            'unsupported authentication webhook version "v2", supported versions are "v1", "v1beta1"',
        ),
        (("requestheader-allowed-names=a",), "--requestheader-allowed-names needs --requestheader-client-ca-file"),
        (
            ("authorization-config=a", "authorization-mode=RBAC"),
            "--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags",
        ),
        (("authorization-mode=",), "at least one authorization-mode must be passed"),
        (("authorization-mode=Node,Other",), 'authorization-mode "Other" is not a valid mode'),
        (("authorization-mode=RBAC,RBAC",), 'authorization-mode ["RBAC" "RBAC"] has mode specified more than once'),
        (("authorization-mode=ABAC",), "authorization-mode ABAC's authorization policy file not passed"),
        (("authorization-policy-file=a",), "cannot specify --authorization-policy-file without mode ABAC"),
        (("authorization-mode=Webhook",), "authorization-mode Webhook's authorization config file not passed"),
        (
            ("authorization-webhook-config-file=a",),
            "cannot specify --authorization-webhook-config-file without mode Webhook",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(flags.FlagError) as refused:
        parse(*arguments)
    assert said in str(refused.value)


def test_policies_are_read_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "policies"
    file.write_text('{"user": "alice"}\n')
    given = parse("authorization-mode=RBAC,ABAC", f"authorization-policy-file={file}").authorization()
    assert (given.modes, given.abac is None) == (("RBAC", "ABAC"), False)
    file.write_text("none")
    with pytest.raises(ClusterError, match="--authorization-policy-file: error reading policy file, line 1: none: "):
        parse("authorization-mode=ABAC", f"authorization-policy-file={file}").authorization()


def test_without_flags_a_cluster_is_as_kubeadm_makes_it() -> None:
    options = parse()
    authentication = options.authentication(CA)
    assert authentication.anonymous_auth
    assert authentication.request_header is not None
    assert authentication.request_header.ca_pem == CA
    assert authentication.request_header.allowed_names == ("front-proxy-client",)
    assert (authentication.jwt, authentication.token_webhook) == ((), None)
    authorization = options.authorization()
    assert (authorization.modes, authorization.webhook) == (("Node", "RBAC"), None)


def test_a_file_that_is_wrong_is_told_with_its_flag(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(authentication_configuration({"issuer": {"url": "http://a", "audiences": ["a"]}}))
    with pytest.raises(ClusterError, match=r"--authentication-config: .*URL scheme must be https"):
        parse(f"authentication-config={path}").authentication(CA)
    path.write_text(authorization_configuration())
    with pytest.raises(ClusterError, match=r"--authorization-config: authorizers: Required value"):
        parse(f"authorization-config={path}").authorization()
    with pytest.raises(ClusterError, match=r"--requestheader-client-ca-file: .*No such file"):
        parse("requestheader-client-ca-file=/none").authentication(CA)
    with pytest.raises(ClusterError, match=r"--authorization-webhook-config-file: /none does not exist"):
        parse("authorization-mode=Webhook", "authorization-webhook-config-file=/none").authorization()
    with pytest.raises(ClusterError, match=r"--oidc-\*: jwt\[0\].issuer.url: .*URL scheme must be https"):
        parse("oidc-issuer-url=http://a", "oidc-client-id=a").authentication(CA)


def test_files_are_named_from_where_the_command_is_typed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").touch()
    made = components.absolute("kube-apiserver", ("authentication-config=a.yaml",), tmp_path)
    assert made == (f"authentication-config={tmp_path}/a.yaml",)


@pytest.mark.parametrize(
    ("given", "prefix"), [((), "https://a#"), (("oidc-username-prefix=-",), ""), (("oidc-username-prefix=o:",), "o:")]
)
def test_users_of_an_issuer_are_told_from_the_clusters_own(given: tuple[str, ...], prefix: str) -> None:
    (entry,) = parse("oidc-issuer-url=https://a", "oidc-client-id=a", *given).authentication(CA).jwt
    assert entry.claim_mappings.username.prefix == prefix
    (entry,) = (
        parse("oidc-issuer-url=https://a", "oidc-client-id=a", "oidc-username-claim=email").authentication(CA).jwt
    )
    assert entry.claim_mappings.username.prefix == ""
