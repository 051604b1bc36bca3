"""The flags of a controller manager and a scheduler that run alone about how they are asked, by upstream's names."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final

from keelback.bootstrap.cluster_state import ClusterError
from keelback.component.flags import FlagError

_LARGEST_PORT: Final = 65535


@dataclass(frozen=True, kw_only=True)
class ComponentServingOptions:
    bind_address: Annotated[
        str, "The address to serve /healthz, /livez, /readyz and /metrics on; all of the machine's is 0.0.0.0."
    ] = "127.0.0.1"
    secure_port: Annotated[int, "The port to serve them on, with TLS; 0 for nowhere."] = 0
    tls_cert_file: Annotated[str, "The certificate to serve with; one signed by itself if not given."] = ""
    tls_private_key_file: Annotated[str, "Its key."] = ""
    client_ca_file: Annotated[
        str, "The authority of clients' certificates; what the API server publishes if not given."
    ] = ""
    requestheader_client_ca_file: Annotated[
        str, "The authority of proxies that say whom they ask for; what the API server publishes if not given."
    ] = ""
    requestheader_allowed_names: Annotated[
        tuple[str, ...], "The common names that those proxies may have; any if not given."
    ] = ()
    requestheader_username_headers: Annotated[tuple[str, ...], "The headers with the user's name."] = ("x-remote-user",)
    requestheader_group_headers: Annotated[tuple[str, ...], "The headers with groups."] = ("x-remote-group",)
    requestheader_uid_headers: Annotated[tuple[str, ...], "The headers with the user's uid."] = ()
    requestheader_extra_headers_prefix: Annotated[tuple[str, ...], "How headers with more about the user begin."] = (
        "x-remote-extra-",
    )
    authentication_kubeconfig: Annotated[
        str, "Whom to ask whose a token is (TokenReviews); the server of --kubeconfig if not given."
    ] = ""
    authorization_kubeconfig: Annotated[
        str, "Whom to ask what somebody may do (SubjectAccessReviews); the server of --kubeconfig if not given."
    ] = ""
    authentication_skip_lookup: Annotated[
        bool, "Do not look up which authorities the API server publishes: only those of flags are believed."
    ] = False
    authorization_always_allow_paths: Annotated[
        tuple[str, ...], "Paths that anybody may ask; a * at the end stands for whatever follows."
    ] = ("/healthz", "/readyz", "/livez")
    kube_api_qps: Annotated[
        float | None,
        "Upstream's limit of requests a second. There is no such limit here: the API server's fairness is the limit, "
        "and what is given is told of as without effect.",
    ] = None
    kube_api_burst: Annotated[
        int | None, "Upstream's limit of requests at once. Without effect, as --kube-api-qps."
    ] = None
    profiling: Annotated[bool, "Upstream's /debug/pprof. Only false here: an API server serves it, nobody else."] = (
        False
    )

    def __post_init__(self) -> None:
        self.check_serving()

    def check_serving(self) -> None:
        """Raises FlagError for what cannot be."""
        if not 0 <= self.secure_port <= _LARGEST_PORT:
            raise FlagError(f"--secure-port {self.secure_port} must be between 0 and 65535, inclusive. 0 turns it off")
        try:
            ip_address(self.bind_address)
        except ValueError as error:
            raise FlagError(f'invalid argument "{self.bind_address}" for "--bind-address" flag: {error}') from error
        if bool(self.tls_cert_file) != bool(self.tls_private_key_file):
            raise FlagError("--tls-cert-file and --tls-private-key-file go together")
        if self.profiling:
            raise FlagError("--profiling can only be false: of all components only the API server serves /debug/pprof")

    def without_effect(self) -> dict[str, str]:
        """The flags that were given and change nothing here, with the reason."""
        reason = "there is no limit on the client's side; the API server's fairness is the limit"
        given = {"--kube-api-qps": self.kube_api_qps, "--kube-api-burst": self.kube_api_burst}
        return {flag: reason for flag, value in given.items() if value is not None}

    def read(self, flag: str) -> bytes:
        """The file of a flag; nothing where it was not given. Raises ClusterError."""
        path = getattr(self, flag)
        try:
            return Path(path).read_bytes() if path else b""
        except OSError as error:
            raise ClusterError(f"--{flag.replace('_', '-')}: {path}: {error.strerror}") from error
