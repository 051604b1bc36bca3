"""What a path and a method mean: the verb, the resource and the object they speak of (apiserver's RequestInfo)."""

from __future__ import annotations

import msgspec

from keelback.component.http import Request, query_flag, query_values

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})
_LONG_RUNNING_VERBS = frozenset({"watch", "proxy"})
_LONG_RUNNING_SUBRESOURCES = frozenset({"attach", "exec", "proxy", "log", "portforward"})


class RequestInfo(msgspec.Struct, frozen=True, gc=False):
    """A request as authorization and routing see it. `path_parts` is set for resource requests' longer subpaths."""

    is_resource_request: bool
    path: str
    verb: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    rest: str = ""
    """What follows the subresource: the path that a proxy request forwards."""
    is_watch_path: bool = False
    field_selector: str = ""
    label_selector: str = ""


def parse(request: Request) -> RequestInfo:
    """Take a request apart. Paths outside /api and /apis, and those too short to name a resource, are non-resource."""
    path = request.path
    # An empty part stands for itself: `/api/v1//pods` is not `/api/v1/pods`.
    trimmed = path.strip("/")
    parts = trimmed.split("/") if trimmed else []
    method_verb = request.method.lower()
    if not parts or parts[0] not in ("api", "apis"):
        return RequestInfo(False, path, method_verb)
    if parts[0] == "api":
        if len(parts) < 3:
            return RequestInfo(False, path, method_verb)
        group, version, rest = "", parts[1], parts[2:]
    else:
        if len(parts) < 4:
            return RequestInfo(False, path, method_verb)
        group, version, rest = parts[1], parts[2], parts[3:]
    verb = _VERBS.get(request.method, "")
    is_watch_path = rest[0] == "watch" and len(rest) > 1
    is_proxy_path = rest[0] == "proxy" and len(rest) > 1
    if is_watch_path or is_proxy_path:
        verb = rest[0]
        rest = rest[1:]
    namespace, resource, name, subresource, tail = _locate(rest)
    return _with_collection_verb(
        request, verb, is_watch_path, group, version, (namespace, resource, name, subresource, tail)
    )


def is_long_running(info: RequestInfo) -> bool:
    """Whether a request lasts as long as its client likes: neither limits nor deadlines are for it."""
    if info.is_resource_request:
        return info.verb in _LONG_RUNNING_VERBS or info.subresource in _LONG_RUNNING_SUBRESOURCES
    return info.path.startswith("/debug/pprof/")


def _locate(rest: list[str]) -> tuple[str, str, str, str, str]:
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
    resource = rest[0]
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    return namespace, resource, name, subresource, "/".join(rest[3:])


def _with_collection_verb(
    request: Request,
    verb: str,
    is_watch_path: bool,
    group: str,
    version: str,
    place: tuple[str, str, str, str, str],
) -> RequestInfo:
    namespace, resource, name, subresource, tail = place
    field_selector = label_selector = ""
    if not name and verb in ("get", "delete", "watch") and request.query:
        values = query_values(request.query)
        if verb == "get" and query_flag(values.get("watch")):
            verb = "watch"
        field_selector = values.get("fieldSelector", "")
        label_selector = values.get("labelSelector", "")
        # Selecting one object by its name is authorized as access to that object.
        if verb != "delete" and field_selector.startswith("metadata.name=") and "," not in field_selector:
            selected = field_selector.removeprefix("metadata.name=").removeprefix("=")
            name = selected if verb in ("watch",) or verb == "get" else name
            verb = "list" if verb == "get" else verb
    if not name or (verb == "get" and field_selector):
        verb = {"get": "list", "delete": "deletecollection"}.get(verb, verb)
    return RequestInfo(
        True,
        request.path,
        verb,
        group,
        version,
        namespace,
        resource,
        subresource,
        name,
        tail,
        is_watch_path,
        field_selector,
        label_selector,
    )
