"""Who answers which request: resources and their parts by name, paths outside the API, and what is nowhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from keelback.apimachinery import errors
from keelback.apimachinery.meta import StatusDetails
from keelback.apiserver.context import RequestContext
from keelback.apiserver.request_info import RequestInfo
from keelback.component.http import AnyResponse, text_response

Route: TypeAlias = Callable[[RequestContext], Awaitable[AnyResponse]]
_Place: TypeAlias = tuple[str, str, str, str]


class Routes:
    """Routes are added before a server serves, or while it does (custom resources come and go)."""

    def __init__(self) -> None:
        self.custom_groups: set[str] = set()
        """Groups in which an unknown version is an unknown path."""
        self.delegate: Callable[[RequestInfo], Route | None] | None = None
        """Asked first, where it is set: who answers what is passed on to an aggregated API server."""
        self._paths: dict[str, Route] = {}
        self._prefixes: dict[str, Route] = {}
        self._resources: dict[_Place, Route] = {}
        self._reserved: dict[_Place, Route] = {}
        self._verbs: dict[_Place, frozenset[str]] = {}
        self._scopes: dict[_Place, bool] = {}
        self._versions: dict[tuple[str, str], int] = {}

    def add_path(self, path: str, route: Route) -> None:
        """Serve one path outside the resources; with a slash at its end, everything below it too."""
        (self._prefixes if path.endswith("/") and path != "/" else self._paths)[path] = route

    def add_resource(self, group: str, version: str, resource: str, subresource: str, route: Route) -> None:
        """Serve a resource, or one subresource of it."""
        key = (group, version, resource, subresource)
        if key not in self._resources:
            self._versions[group, version] = self._versions.get((group, version), 0) + 1
        self._resources[key] = route

    def reserve_resource(self, group: str, version: str, resource: str, subresource: str, route: Route) -> None:
        """Serve a resource, or one subresource of it, to the server itself; for others there is none."""
        self._reserved[group, version, resource, subresource] = route

    def restrict_resource(
        self, group: str, version: str, resource: str, subresource: str, verbs: Iterable[str]
    ) -> None:
        """Refuse every verb but these: a path that only takes a POST has no other method, whatever it would answer."""
        self._verbs[group, version, resource, subresource] = frozenset(verbs)

    def scope_resource(self, group: str, version: str, resource: str, subresource: str, *, namespaced: bool) -> None:
        """Serve it only below a namespace, or only above all of them; lists and watches may span the namespaces."""
        self._scopes[group, version, resource, subresource] = namespaced

    def remove_resource(self, group: str, version: str, resource: str, subresource: str) -> None:
        """Serve it no more."""
        self._scopes.pop((group, version, resource, subresource), None)
        if self._resources.pop((group, version, resource, subresource), None) is not None:
            self._versions[group, version] -= 1
            if not self._versions[group, version]:
                del self._versions[group, version]

    def knows(self, info: RequestInfo) -> bool:
        """Whether the resource is served; what is none is known."""
        place = (info.group, info.version, info.resource, info.subresource)
        return not info.is_resource_request or place in self._resources

    def find(self, method: str, info: RequestInfo, *, is_own: bool) -> Route:
        """Who answers a request; `is_own` those of the server itself. Raises NotFound and MethodNotSupported."""
        if self.delegate is not None and (elsewhere := self.delegate(info)) is not None:
            return elsewhere
        if info.is_resource_request:
            place = (info.group, info.version, info.resource, info.subresource)
            found = self._resources.get(place)
            if found is not None:
                verbs = self._verbs.get(place)
                is_custom = verbs is None
                if not is_custom and _is_beyond(info):
                    raise _unknown_resource()
                namespaced = self._scopes.get(place)
                if namespaced is not None and _is_out_of_scope(info, namespaced):
                    if is_custom:
                        return _not_found
                    if info.subresource or not _is_collection(info) or "list" not in (verbs or ()) or info.namespace:
                        raise _unknown_resource()
                    raise errors.MethodNotSupported.unrouted()
                if method == "HEAD" and info.subresource != "proxy" and not is_custom:
                    raise errors.MethodNotSupported.unrouted()
                if verbs is not None and (info.verb not in verbs or (info.is_watch_path and method != "GET")):
                    raise errors.MethodNotSupported.unrouted()
                return found
            if is_own and (reserved := self._reserved.get(place)) is not None:
                return reserved
            if info.group in self.custom_groups:
                if (info.group, info.version, info.resource, "") in self._resources:
                    raise _unknown_part(info)
                return _not_found
            if (info.group, info.version) in self._versions:
                raise _unknown_resource()
        return self._find_path(method, info.path)

    def _find_path(self, method: str, path: str) -> Route:
        if method != "GET" and self._can_only_be_read(path):
            raise errors.MethodNotSupported.unrouted()
        found = self._paths.get(path) or (self._paths.get(path.rstrip("/")) if path != "/" else None)
        if found is not None:
            return found
        for prefix, route in self._prefixes.items():
            if path.startswith(prefix):
                return route
        if path.startswith("/api/") or any(path.startswith(f"/apis/{group}/") for group, _ in self._versions if group):
            raise _unknown_resource()
        return _not_found

    def _can_only_be_read(self, path: str) -> bool:
        """Whether a path is that of the version, of discovery or of the issuer of tokens."""
        match path.strip("/").split("/"):
            case ["version" | "api"] | [".well-known", "openid-configuration"] | ["openid", "v1", "jwks"]:
                return True
            case ["api", version]:
                return ("", version) in self._versions
            case ["apis", group, version]:
                # The lists of groups, and what custom resources there are, are told whatever the method.
                return group not in self.custom_groups and (group, version) in self._versions
        return False


def _is_beyond(info: RequestInfo) -> bool:
    """Whether a path goes on where those of built-in resources end, or is one that Kubernetes once had."""
    if info.verb == "proxy" or (info.is_watch_path and info.subresource):
        return True
    return bool(info.rest) and info.subresource != "proxy"


def _is_out_of_scope(info: RequestInfo, namespaced: bool) -> bool:
    if info.namespace:
        return not namespaced and (info.group, info.resource) != ("", "namespaces")
    return namespaced and not (info.verb in ("list", "watch") and _is_collection(info))


def _is_collection(info: RequestInfo) -> bool:
    """Whether a path outside the namespaces names no object; a selector may have, which the name then tells."""
    return info.path.count("/", 0, len(info.path.rstrip("/"))) == 3 + bool(info.group) + info.is_watch_path


def _unknown_resource() -> errors.NotFound:
    return errors.NotFound("the server could not find the requested resource", details=StatusDetails())


def _unknown_part(info: RequestInfo) -> errors.NotFound:
    """Of a custom resource: what is missing is the object, says upstream."""
    return errors.NotFound(
        f'{info.resource}.{info.group} "{info.name}" not found',
        details=StatusDetails(name=info.name, group=info.group, kind=info.resource),
    )


async def _not_found(context: RequestContext) -> AnyResponse:
    return text_response("404 page not found\n", 404)
