"""What a path and a method mean: the verb, the resource and the object they speak of (apiserver's RequestInfo)."""

from __future__ import annotations

import msgspec

from keelback.component.http import Request, query_flag, query_values

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_COLLECTION_VERBS = {"get": "list", "delete": "deletecollection"}
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
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return RequestInfo(False, path, request.method.lower())
    verb = _VERBS.get(request.method, "")
    is_watch_path = False
    if rest[0] in _LONG_RUNNING_VERBS and len(rest) > 1:
        verb = rest[0]
        rest = rest[1:]
        is_watch_path = verb == "watch"
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
    resource, size = rest[0], len(rest)
    name = rest[1] if size > 1 else ""
    subresource = rest[2] if size > 2 else ""
    tail = "/".join(rest[3:]) if size > 3 else ""
    info = RequestInfo(True, path, verb, group, version, namespace, resource, subresource, name, tail, is_watch_path)
    return info if name else _of_collection(request, info)


def is_long_running(info: RequestInfo) -> bool:
    """Whether a request lasts as long as its client likes: neither limits nor deadlines are for it."""
    if info.is_resource_request:
        return info.verb in _LONG_RUNNING_VERBS or info.subresource in _LONG_RUNNING_SUBRESOURCES
    return info.path.startswith("/debug/pprof/")


def _of_collection(request: Request, info: RequestInfo) -> RequestInfo:
    """What a request that names no object is for, which its query may say."""
    verb, name = info.verb, ""
    field_selector = label_selector = ""
    if request.query and verb in ("get", "delete", "watch"):
        values = query_values(request.query)
        if verb == "get" and query_flag(values.get("watch")):
            verb = "watch"
        field_selector = values.get("fieldSelector", "")
        label_selector = values.get("labelSelector", "")
        # Selecting one object by its name is authorized as access to that object.
        if verb != "delete" and field_selector.startswith("metadata.name=") and "," not in field_selector:
            name = field_selector.removeprefix("metadata.name=").removeprefix("=")
    verb = _COLLECTION_VERBS.get(verb, verb)
    return msgspec.structs.replace(
        info, verb=verb, name=name, field_selector=field_selector, label_selector=label_selector
    )
