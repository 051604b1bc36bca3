"""What the span of a request is called: its path, without what names one object (apiserver's tracing filter)."""

from __future__ import annotations

from keelback.apiserver import request_info
from keelback.component.http import Request


def of_request(request: Request) -> str:
    """Such as `GET /api/v1/namespaces/{:namespace}/pods/{:name}`."""
    info = request_info.parse(request)
    if not info.is_resource_request:
        return f"{request.method} {info.path}"
    parts = ["", "apis" if info.group else "api", info.group, info.version]
    if info.namespace:
        parts += ["namespaces", "{:namespace}"]
    parts.append(info.resource)
    if info.name:
        parts.append("{:name}")
    parts.append(info.subresource)
    return f"{request.method} /{'/'.join(filter(None, parts))}"
