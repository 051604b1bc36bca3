"""The API server's flags about the servers that it aggregates, and the config they become."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from keelback.bootstrap.cluster_state import ClusterError
from keelback.bootstrap.pki import KeyPair
from keelback.component.flags import FlagError

if TYPE_CHECKING:
    from keelback.apiserver.aggregation_config import AggregationConfig

FILE_FLAGS: Final = frozenset(("proxy-client-cert-file", "proxy-client-key-file"))
"""Flags whose values are files."""


@dataclass(frozen=True, kw_only=True)
class AggregationOptions:
    proxy_client_cert_file: Annotated[
        str,
        "The certificate with which this server says who it is to aggregated API servers, which then believe whom it "
        "names; the cluster's own if not given.",
    ] = ""
    proxy_client_key_file: Annotated[str, "Its key."] = ""
    enable_aggregator_routing: Annotated[
        bool,
        "Send requests for aggregated API servers to an endpoint of their Service; if false to its cluster IP, which "
        "needs a service proxy beside this server.",
    ] = True

    def __post_init__(self) -> None:
        if bool(self.proxy_client_cert_file) != bool(self.proxy_client_key_file):
            raise FlagError("--proxy-client-cert-file and --proxy-client-key-file must be specified together")

    def aggregation(self, own: KeyPair) -> AggregationConfig:
        """What the flags say; `own` is the cluster's certificate. Raises ClusterError for files that cannot be used."""
        from keelback.apiserver.aggregation_config import AggregationConfig

        certificate, key = own.certificate_path, own.key_path
        if self.proxy_client_cert_file:
            certificate, key = Path(self.proxy_client_cert_file), Path(self.proxy_client_key_file)
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key)
            except OSError as error:
                raise ClusterError(f"--proxy-client-cert-file: {certificate}, {key}: {error}") from error
        return AggregationConfig(
            client_certificate=certificate, client_key=key, routes_to_endpoints=self.enable_aggregator_routing
        )
