"""How this server meets the API servers that it aggregates: its certificate, its routes, and what it tells them all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from keelback.auth.request_header import RequestHeaderSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregationConfig:
    """The certificate with which this server says who it is to aggregated servers, and how it reaches them."""

    client_certificate: Path | None = None
    client_key: Path | None = None
    routes_to_endpoints: bool = True
    """Whether requests go to a Service's endpoints. Its cluster IP means something only beside a service proxy."""


NO_CERTIFICATE = AggregationConfig()
"""Aggregated servers are passed requests, and have no reason to believe who they are from."""


def published(client_ca_pem: bytes, proxies: RequestHeaderSettings | None) -> dict[str, str]:
    """The data of the ConfigMap extension-apiserver-authentication: whom to believe who a request is from."""
    told = {"client-ca-file": client_ca_pem.decode()}
    if proxies is None:
        return told
    listed = {
        "allowed-names": proxies.allowed_names,
        "username-headers": proxies.username_headers,
        "uid-headers": proxies.uid_headers,
        "group-headers": proxies.group_headers,
        "extra-headers-prefix": proxies.extra_header_prefixes,
    }
    told["requestheader-client-ca-file"] = proxies.ca_pem.decode()
    return told | {
        f"requestheader-{name}": json.dumps(values, separators=(",", ":")) for name, values in listed.items()
    }


def identity_names(proxies: RequestHeaderSettings | None) -> frozenset[str]:
    """The headers, and with a dash at their ends the beginnings of headers, that name users; in lower case."""
    if proxies is None:
        return frozenset()
    whole = (*proxies.username_headers, *proxies.uid_headers, *proxies.group_headers)
    prefixes = (f"{one.rstrip('-')}-" for one in proxies.extra_header_prefixes)
    return frozenset(one.lower() for one in (*whole, *prefixes))
