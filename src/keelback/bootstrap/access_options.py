"""The API server's flags about who calls and what they may do, and the settings they become."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from keelback.bootstrap.cluster_state import ClusterError
from keelback.bootstrap.service_account_options import ServiceAccountOptions
from keelback.component.flags import Duration, FlagError

if TYPE_CHECKING:
    from keelback.auth.abac import ABACAuthorizer
    from keelback.auth.authentication_configuration import JWTAuthenticatorConfiguration
    from keelback.auth.authorizers import AuthorizationSettings
    from keelback.auth.request_header import RequestHeaderSettings
    from keelback.auth.settings import AuthenticationSettings
    from keelback.auth.token_webhook import TokenWebhookSettings
    from keelback.auth.webhook_authorizer import WebhookAuthorizerSettings

FILE_FLAGS: Final = frozenset(
    (
        "authentication-config",
        "authentication-token-webhook-config-file",
        "authorization-config",
        "authorization-policy-file",
        "authorization-webhook-config-file",
        "oidc-ca-file",
        "requestheader-client-ca-file",
    )
)
"""Flags whose values are files."""
_MODES: Final = ("ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook")
_VERSIONS: Final = ("v1", "v1beta1")
_FRONT_PROXY: Final = "front-proxy-client"
_DEFAULT_MODES: Final = ("Node", "RBAC")


@dataclass(frozen=True, kw_only=True)
class AccessOptions(ServiceAccountOptions):
    anonymous_auth: Annotated[
        bool | None, "Let requests without credentials be those of system:anonymous. True if not given."
    ] = None
    enable_bootstrap_token_auth: Annotated[
        bool, "Believe tokens of Secrets of type bootstrap.kubernetes.io/token. Upstream's default is false."
    ] = True
    authentication_config: Annotated[
        str, "An AuthenticationConfiguration file (apiserver.config.k8s.io), read again when it changes."
    ] = ""
    authentication_token_webhook_config_file: Annotated[
        str, "A kubeconfig of the server that is sent TokenReviews about bearer tokens."
    ] = ""
    authentication_token_webhook_version: Annotated[str, "The version of these reviews: v1 or v1beta1."] = "v1beta1"  # noqa: S105
    authentication_token_webhook_cache_ttl: Annotated[Duration, "How long its answers count."] = 120.0
    requestheader_client_ca_file: Annotated[
        str, "The authority of proxies in front, which say in headers who calls; the cluster's own if not given."
    ] = ""
    requestheader_allowed_names: Annotated[
        tuple[str, ...], "The common names that certificates of proxies may have; any if not given."
    ] = ()
    requestheader_username_headers: Annotated[tuple[str, ...], "Where proxies say the user."] = ("X-Remote-User",)
    requestheader_uid_headers: Annotated[tuple[str, ...], "Where proxies say the user's uid."] = ("X-Remote-Uid",)
    requestheader_group_headers: Annotated[tuple[str, ...], "Where proxies say the groups."] = ("X-Remote-Group",)
    requestheader_extra_headers_prefix: Annotated[
        tuple[str, ...], "How headers begin in which proxies say more of the user."
    ] = ("X-Remote-Extra-",)
    oidc_issuer_url: Annotated[str, "The OpenID Connect issuer whose tokens are believed: an https URL."] = ""
    oidc_client_id: Annotated[str, "Whom these tokens must be for."] = ""
    oidc_ca_file: Annotated[str, "The authority of the issuer's server; the machine's own if not given."] = ""
    oidc_username_claim: Annotated[str, "The claim that is the user's name."] = "sub"
    oidc_username_prefix: Annotated[
        str, "What is put before it; the issuer's URL and # if not given and it is not email; - for nothing."
    ] = ""
    oidc_groups_claim: Annotated[str, "The claim that has the user's groups."] = ""
    oidc_groups_prefix: Annotated[str, "What is put before each of them."] = ""
    oidc_signing_algs: Annotated[tuple[str, ...], "The algorithms that tokens may be signed by."] = ("RS256",)
    oidc_required_claim: Annotated[
        Mapping[str, str], "A claim, key=value, that tokens must have; may be given several times."
    ] = field(default_factory=dict)
    authorization_mode: Annotated[
        tuple[str, ...], f"The authorizers, in the order in which they are asked: of {', '.join(_MODES)}."
    ] = _DEFAULT_MODES
    authorization_config: Annotated[
        str, "An AuthorizationConfiguration file (apiserver.config.k8s.io), read again when it changes."
    ] = ""
    authorization_policy_file: Annotated[
        str, "A file with a policy on each line, for the mode ABAC. It is read once."
    ] = ""
    authorization_webhook_config_file: Annotated[
        str, "A kubeconfig of the server that is sent SubjectAccessReviews, for the mode Webhook."
    ] = ""
    authorization_webhook_version: Annotated[str, "The version of these reviews: v1 or v1beta1."] = "v1beta1"
    authorization_webhook_cache_authorized_ttl: Annotated[Duration, "How long it counts that it allows."] = 300.0
    authorization_webhook_cache_unauthorized_ttl: Annotated[Duration, "How long it counts that it does not."] = 30.0

    def __post_init__(self) -> None:
        self.check_service_accounts()
        for problem in (self._authentication_problem(), self._authorization_problem()):
            if problem:
                raise FlagError(problem)

    def authentication(self, front_proxy_ca_pem: bytes) -> AuthenticationSettings:
        """What the flags say about authentication; where they name no proxies, those of the cluster's own authority are
        believed, as kubeadm has it. Raises ClusterError for files that cannot be used."""
        from keelback.auth import authentication_configuration
        from keelback.auth.json_web_keys import ALGORITHMS
        from keelback.auth.settings import AuthenticationSettings

        if self.authentication_config:
            read = authentication_configuration.read
            issuers = self.own_issuers()
            _check("--authentication-config", self.authentication_config, lambda text: read(text, issuers))
        return AuthenticationSettings(
            anonymous_auth=self.anonymous_auth is not False,
            allows_bootstrap_tokens=self.enable_bootstrap_token_auth,
            configures_anonymous=self.anonymous_auth is None,
            token_webhook=self._token_webhook(),
            request_header=self._request_header(front_proxy_ca_pem),
            jwt=self._jwt(),
            signing_algorithms=self.oidc_signing_algs if self.oidc_issuer_url else ALGORITHMS,
            configuration_file=Path(self.authentication_config) if self.authentication_config else None,
        )

    def authorization(self) -> AuthorizationSettings:
        """What they say about authorization. Raises ClusterError for files that cannot be used."""
        from keelback.auth import authorization_configuration
        from keelback.auth.authorizers import AuthorizationSettings

        if self.authorization_config:
            _check("--authorization-config", self.authorization_config, authorization_configuration.read)
        return AuthorizationSettings(
            modes=self.authorization_mode,
            webhook=self._authorization_webhook(),
            abac=self._abac(),
            configuration_file=Path(self.authorization_config) if self.authorization_config else None,
        )

    def _authentication_problem(self) -> str:
        if self.authentication_config:
            if self._has_oidc_flags():
                return "authentication-config file and oidc-* flags are mutually exclusive"
        elif self._has_oidc_flags():
            if not self.oidc_issuer_url or not self.oidc_client_id:
                return "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set"
            from keelback.auth.json_web_keys import ALGORITHMS

            for algorithm in self.oidc_signing_algs:
                if algorithm not in ALGORITHMS:
                    return f'oidc: unsupported signing alg: "{algorithm}"'
        version = self.authentication_token_webhook_version
        if version not in _VERSIONS:
            return _unsupported("authentication webhook", version)
        if not self.requestheader_client_ca_file and self.requestheader_allowed_names:
            return "--requestheader-allowed-names needs --requestheader-client-ca-file"
        return ""

    def _authorization_problem(self) -> str:
        modes = self.authorization_mode
        if self.authorization_config:
            if modes != _DEFAULT_MODES or self.authorization_webhook_config_file:
                return (
                    "--authorization-config can not be specified when --authorization-mode or "
                    "--authorization-webhook-* flags are defined"
                )
            return ""
        if not modes:
            return "at least one authorization-mode must be passed"
        for mode in modes:
            if mode not in _MODES:
                return f'authorization-mode "{mode}" is not a valid mode'
        if len(set(modes)) != len(modes):
            quoted = " ".join(f'"{mode}"' for mode in modes)
            return f"authorization-mode [{quoted}] has mode specified more than once"
        if "ABAC" in modes and not self.authorization_policy_file:
            return "authorization-mode ABAC's authorization policy file not passed"
        if self.authorization_policy_file and "ABAC" not in modes:
            return "cannot specify --authorization-policy-file without mode ABAC"
        if "Webhook" in modes and not self.authorization_webhook_config_file:
            return "authorization-mode Webhook's authorization config file not passed"
        if self.authorization_webhook_config_file and "Webhook" not in modes:
            return "cannot specify --authorization-webhook-config-file without mode Webhook"
        if self.authorization_webhook_version not in _VERSIONS:
            return _unsupported("webhook authorizer", self.authorization_webhook_version)
        return ""

    def _has_oidc_flags(self) -> bool:
        fields = AccessOptions.__dataclass_fields__
        return any(getattr(self, name) != _default(one) for name, one in fields.items() if name.startswith("oidc_"))

    def _abac(self) -> ABACAuthorizer | None:
        from keelback.auth import abac

        if not self.authorization_policy_file:
            return None
        flag = "--authorization-policy-file"
        try:
            return abac.read(_text(flag, self.authorization_policy_file))
        except abac.PolicyError as error:
            raise ClusterError(f"{flag}: {error}") from error

    def _token_webhook(self) -> TokenWebhookSettings | None:
        if not self.authentication_token_webhook_config_file:
            return None
        from keelback.auth.token_webhook import TokenWebhookSettings

        return TokenWebhookSettings(
            Path(self.authentication_token_webhook_config_file),
            self.authentication_token_webhook_version,
            self.authentication_token_webhook_cache_ttl,
        )

    def _request_header(self, front_proxy_ca_pem: bytes) -> RequestHeaderSettings:
        from keelback.auth.request_header import RequestHeaderSettings

        ca_file = self.requestheader_client_ca_file
        return RequestHeaderSettings(
            ca_pem=_text("--requestheader-client-ca-file", ca_file).encode() if ca_file else front_proxy_ca_pem,
            allowed_names=self.requestheader_allowed_names if ca_file else (_FRONT_PROXY,),
            username_headers=self.requestheader_username_headers,
            uid_headers=self.requestheader_uid_headers,
            group_headers=self.requestheader_group_headers,
            extra_header_prefixes=self.requestheader_extra_headers_prefix,
        )

    def _jwt(self) -> tuple[JWTAuthenticatorConfiguration, ...]:
        """The issuer that flags name, as an entry of a file."""
        if not self.oidc_issuer_url:
            return ()
        from keelback.auth import authentication_configuration as configuration

        prefix: str = self.oidc_username_prefix
        if not prefix and self.oidc_username_claim != "email":
            # Else a user of the issuer could be one of the cluster's own.
            prefix = f"{self.oidc_issuer_url}#"
        username = configuration.PrefixedClaimOrExpression(
            claim=self.oidc_username_claim, prefix="" if prefix == "-" else prefix
        )
        groups = configuration.PrefixedClaimOrExpression()
        if self.oidc_groups_claim:
            groups = configuration.PrefixedClaimOrExpression(
                claim=self.oidc_groups_claim, prefix=self.oidc_groups_prefix
            )
        made = configuration.JWTAuthenticatorConfiguration(
            issuer=configuration.Issuer(
                url=self.oidc_issuer_url,
                audiences=(self.oidc_client_id,),
                certificate_authority=_text("--oidc-ca-file", self.oidc_ca_file) if self.oidc_ca_file else "",
            ),
            claim_validation_rules=tuple(
                configuration.ClaimValidationRule(claim=claim, required_value=value)
                for claim, value in sorted(self.oidc_required_claim.items())
            ),
            claim_mappings=configuration.ClaimMappings(username=username, groups=groups),
        )
        whole = configuration.AuthenticationConfiguration(jwt=(made,))
        problems = list(configuration.validate(whole, self.own_issuers()))
        if problems:
            raise ClusterError(f"--oidc-*: {problems[0].field}: {problems[0].body}")
        return (made,)

    def _authorization_webhook(self) -> WebhookAuthorizerSettings | None:
        if not self.authorization_webhook_config_file:
            return None
        from keelback.auth.webhook_authorizer import WebhookAuthorizerSettings
        from keelback.client import kubeconfig

        try:
            access = kubeconfig.load(Path(self.authorization_webhook_config_file))
        except kubeconfig.KubeconfigError as error:
            raise ClusterError(f"--authorization-webhook-config-file: {error}") from error
        return WebhookAuthorizerSettings(
            access=access,
            version=self.authorization_webhook_version,
            authorized_seconds=self.authorization_webhook_cache_authorized_ttl,
            unauthorized_seconds=self.authorization_webhook_cache_unauthorized_ttl,
        )


def _default(one: Any) -> Any:
    return {} if one.default_factory is dict else one.default


def _unsupported(what: str, version: str) -> str:
    return f'unsupported {what} version "{version}", supported versions are "v1", "v1beta1"'


def _check(flag: str, path: str, read: Callable[[str], object]) -> None:
    """Say which flag's file is wrong, before the server starts."""
    try:
        read(_text(flag, path))
    except ValueError as error:
        raise ClusterError(f"{flag}: {error}") from error


def _text(flag: str, path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ClusterError(f"{flag}: {error}") from error
