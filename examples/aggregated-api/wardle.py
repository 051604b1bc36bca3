"""An API server of its own for the group wardle.example.com, to be put behind a cluster's by an APIService.

It keeps Flunders, which are namespaced, and Fischers, which say what no Flunder may be called; in memory, so that what
matters can be read at one sitting: who asks and whether they may (`delegation`), discovery, OpenAPI, objects, watches.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web
from delegation import Authorizer, RequestHeaderRules, cluster_client

from keelback.api.authorization_v1 import NonResourceAttributes, ResourceAttributes
from keelback.apimachinery import fields, labels

GROUP = "wardle.example.com"
VERSIONS = ("v1alpha1", "v1beta1")
KINDS = {"flunders": "Flunder", "fischers": "Fischer"}
NAMESPACED = frozenset({"flunders"})
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
PUBLIC = frozenset({"/healthz", "/livez", "/readyz"})
_VERBS_OF_METHODS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
Tree = dict[str, Any]


class Refused(Exception):
    """A Status to answer with."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }


class Objects:
    """What is kept. Every change has a number, by which watches go on."""

    def __init__(self) -> None:
        self.revision = 1
        self.kept: dict[tuple[str, str, str], Tree] = {}
        self.events: deque[tuple[int, str, str, Tree]] = deque(maxlen=1000)
        self.changed = asyncio.Condition()

    def get(self, resource: str, namespace: str, name: str) -> Tree:
        """The object. Raises Refused."""
        found = self.kept.get((resource, namespace, name))
        if found is None:
            raise Refused(404, "NotFound", f'{resource}.{GROUP} "{name}" not found')
        return found

    def list(self, resource: str, namespace: str) -> list[Tree]:
        """All in a namespace, or in all of them."""
        return [
            one for (kind, place, _), one in sorted(self.kept.items()) if kind == resource and namespace in ("", place)
        ]

    async def after(self, revision: int) -> list[tuple[int, str, str, Tree]]:
        """The events since then, once there are any. Raises Refused where they are not known any more."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.revision > revision)
            if self.events[0][0] > revision + 1 and len(self.events) == self.events.maxlen:
                raise Refused(410, "Expired", f"too old resource version: {revision}")
            return [event for event in self.events if event[0] > revision]

    async def put(self, resource: str, obj: Tree, event: str) -> Tree:
        """Keep an object under its name. Raises Refused for one that a Fischer bans."""
        metadata = obj["metadata"]
        banned = [name for fischer in self.list("fischers", "") for name in fischer.get("disallowedFlunders") or ()]
        if resource == "flunders" and metadata["name"] in banned:
            raise Refused(
                403, "Forbidden", f'flunders.{GROUP} "{metadata["name"]}" is forbidden: this name may not be used'
            )
        self.revision += 1
        obj = {**obj, "metadata": {**metadata, "resourceVersion": str(self.revision)}}
        self.kept[resource, metadata.get("namespace", ""), metadata["name"]] = obj
        await self._tell(resource, event, obj)
        return obj

    async def delete(self, resource: str, namespace: str, name: str) -> Tree:
        """Keep it no more. Raises Refused."""
        gone = self.get(resource, namespace, name)
        del self.kept[resource, namespace, name]
        self.revision += 1
        await self._tell(
            resource, "DELETED", {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.revision)}}
        )
        return gone

    async def _tell(self, resource: str, event: str, obj: Tree) -> None:
        async with self.changed:
            self.events.append((self.revision, resource, event, obj))
            self.changed.notify_all()


class Server:
    """Answers requests that the cluster has passed on."""

    def __init__(self, rules: RequestHeaderRules, authorizer: Authorizer) -> None:
        self.rules = rules
        self.authorizer = authorizer
        self.objects = Objects()

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(middlewares=[self._guarded])
        for path in PUBLIC:
            app.router.add_get(path, self._healthy)
        app.router.add_get("/apis", self._groups)
        app.router.add_get(f"/apis/{GROUP}", self._group)
        app.router.add_get("/openapi/v2", self._openapi)
        app.router.add_get("/openapi/v3", self._openapi_index)
        app.router.add_get("/openapi/v3/apis/{group}/{version}", self._openapi_version)
        for version in VERSIONS:
            root = f"/apis/{GROUP}/{version}"
            app.router.add_get(root, self._resources)
            for place in (f"{root}/{{resource}}", f"{root}/namespaces/{{namespace}}/{{resource}}"):
                app.router.add_route("*", place, self._collection)
                app.router.add_route("*", f"{place}/{{name}}", self._object)
        return app

    @web.middleware
    async def _guarded(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            if request.path not in PUBLIC:
                await self._check(request)
            return await handler(request)
        except Refused as refused:
            return web.json_response(refused.status, status=refused.status["code"])

    async def _check(self, request: web.Request) -> None:
        """Raises Refused."""
        assert request.transport is not None
        user = self.rules.user(request.transport.get_extra_info("peercert"), request.headers)
        if user is None:
            raise Refused(401, "Unauthorized", "Unauthorized")
        resource = request.match_info.get("resource")
        verb = _VERBS_OF_METHODS.get(request.method, "")
        if resource is None:
            path = NonResourceAttributes(path=request.path, verb=verb)
            refusal = await self.authorizer.refusal(user, None, path)
        else:
            refusal = await self.authorizer.refusal(user, self._attributes(request, resource, verb))
        if refusal is not None:
            raise Refused(403, "Forbidden", f'User "{user.name}" cannot {verb} path "{request.path}": {refusal}')

    @staticmethod
    def _attributes(request: web.Request, resource: str, verb: str) -> ResourceAttributes:
        name = request.match_info.get("name", "")
        if not name:
            watching = request.query.get("watch") in ("1", "true")
            verb = {"get": "watch" if watching else "list", "delete": "deletecollection"}.get(verb, verb)
        return ResourceAttributes(
            group=GROUP,
            version=_version(request),
            resource=resource,
            verb=verb,
            name=name,
            namespace=request.match_info.get("namespace", ""),
        )

    # What there is.

    async def _healthy(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _groups(self, request: web.Request) -> web.Response:
        if "as=APIGroupDiscoveryList" in request.headers.get("Accept", ""):
            versions = [
                {"version": version, "resources": list(_aggregated(version)), "freshness": "Current"}
                for version in reversed(VERSIONS)
            ]
            document = {
                "kind": "APIGroupDiscoveryList",
                "apiVersion": "apidiscovery.k8s.io/v2",
                "metadata": {},
                "items": [{"metadata": {"name": GROUP}, "versions": versions}],
            }
            kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
            return web.Response(body=json.dumps(document).encode(), headers={"Content-Type": kind})
        return web.json_response({"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group()]})

    async def _group(self, request: web.Request) -> web.Response:
        return web.json_response({"kind": "APIGroup", "apiVersion": "v1", **_group()})

    async def _resources(self, request: web.Request) -> web.Response:
        resources = [
            {
                "name": name,
                "singularName": kind.lower(),
                "namespaced": name in NAMESPACED,
                "kind": kind,
                "verbs": VERBS,
            }
            for name, kind in sorted(KINDS.items())
        ]
        version = f"{GROUP}/{_version(request)}"
        return web.json_response(
            {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}
        )

    async def _openapi(self, request: web.Request) -> web.Response:
        definitions = {name: schema for version in VERSIONS for name, schema in _schemas(version)}
        return web.json_response(
            {
                "swagger": "2.0",
                "info": {"title": "Wardle", "version": "v1"},
                "paths": {path: item for version in VERSIONS for path, item in _paths(version, "#/definitions/")},
                "definitions": definitions,
            }
        )

    async def _openapi_index(self, request: web.Request) -> web.Response:
        paths = {
            f"apis/{GROUP}/{version}": {"serverRelativeURL": f"/openapi/v3/apis/{GROUP}/{version}?hash=1"}
            for version in VERSIONS
        }
        return web.json_response({"paths": paths})

    async def _openapi_version(self, request: web.Request) -> web.Response:
        version = request.match_info["version"]
        return web.json_response(
            {
                "openapi": "3.0.0",
                "info": {"title": "Wardle", "version": "v1"},
                "paths": dict(_paths(version, "#/components/schemas/")),
                "components": {"schemas": dict(_schemas(version))},
            }
        )

    # Objects.

    async def _collection(self, request: web.Request) -> web.StreamResponse:
        resource, namespace = self._place(request)
        if request.method == "POST":
            return web.json_response(await self._create(request, resource, namespace), status=201)
        if request.method == "DELETE":
            items = [
                await self.objects.delete(resource, one["metadata"].get("namespace", ""), one["metadata"]["name"])
                for one in filter(_selection(request), self.objects.list(resource, namespace))
            ]
            return web.json_response(self._list(request, resource, items))
        if request.method != "GET":
            raise Refused(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        if request.query.get("watch") in ("1", "true"):
            return await self._watch(request, resource, namespace)
        items = list(filter(_selection(request), self.objects.list(resource, namespace)))
        return web.json_response(self._list(request, resource, items))

    async def _object(self, request: web.Request) -> web.StreamResponse:
        resource, namespace = self._place(request)
        name = request.match_info["name"]
        held = self.objects.get(resource, namespace, name)
        if request.method == "GET":
            return web.json_response(_as(request, held))
        if request.method == "DELETE":
            await self.objects.delete(resource, namespace, name)
            return web.json_response({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})
        given = await request.json()
        if request.method == "PATCH":
            if request.content_type != "application/merge-patch+json":
                raise Refused(415, "UnsupportedMediaType", "only application/merge-patch+json is taken")
            given = _merged(held, given)
        version = given.get("metadata", {}).get("resourceVersion", "")
        if version not in ("", held["metadata"]["resourceVersion"]):
            raise Refused(409, "Conflict", f'Operation cannot be fulfilled on {resource}.{GROUP} "{name}"')
        own = {
            key: held["metadata"][key]
            for key in ("name", "namespace", "uid", "creationTimestamp")
            if key in held["metadata"]
        }
        given = {**given, "metadata": {**given.get("metadata", {}), **own}}
        return web.json_response(_as(request, await self.objects.put(resource, given, "MODIFIED")))

    async def _create(self, request: web.Request, resource: str, namespace: str) -> Tree:
        given = await request.json()
        if given.get("kind") != KINDS[resource]:
            raise Refused(400, "BadRequest", f"a {KINDS[resource]} was expected")
        metadata = dict(given.get("metadata") or {})
        name = metadata.get("name") or metadata.get("generateName", "") + secrets.token_hex(3)
        if (resource, namespace, name) in self.objects.kept:
            raise Refused(409, "AlreadyExists", f'{resource}.{GROUP} "{name}" already exists')
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata |= {"name": name, "uid": secrets.token_hex(16), "creationTimestamp": now}
        if namespace:
            metadata["namespace"] = namespace
        return _as(request, await self.objects.put(resource, {**given, "metadata": metadata}, "ADDED"))

    async def _watch(self, request: web.Request, resource: str, namespace: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        is_selected = _selection(request)
        since = int(request.query.get("resourceVersion") or 0)
        seen = since or self.objects.revision
        begins_with_all = since == 0 or request.query.get("sendInitialEvents") == "true"
        begun = [one for one in self.objects.list(resource, namespace) if is_selected(one)] if begins_with_all else []
        if begins_with_all:
            seen = self.objects.revision
        await response.prepare(request)

        async def write(event: str, obj: Tree) -> None:
            await response.write(json.dumps({"type": event, "object": _as(request, obj)}).encode() + b"\n")

        for one in begun:
            await write("ADDED", one)
        if request.query.get("sendInitialEvents") == "true":
            # A client that asks for a list in this form waits for the word that it is complete (KEP-3157).
            annotations = {"k8s.io/initial-events-end": "true"}
            metadata = {"resourceVersion": str(seen), "annotations": annotations}
            await write("BOOKMARK", {"kind": KINDS[resource], "metadata": metadata})
        try:
            async with asyncio.timeout(float(request.query.get("timeoutSeconds") or 1800)):
                while True:
                    for revision, kind, event, obj in await self.objects.after(seen):
                        seen = revision
                        is_here = kind == resource and namespace in ("", obj["metadata"].get("namespace", ""))
                        if is_here and is_selected(obj):
                            await write(event, obj)
        except TimeoutError:
            return response
        except Refused as refused:
            await response.write(json.dumps({"type": "ERROR", "object": refused.status}).encode() + b"\n")
            return response

    def _list(self, request: web.Request, resource: str, items: list[Tree]) -> Tree:
        return {
            "kind": f"{KINDS[resource]}List",
            "apiVersion": f"{GROUP}/{_version(request)}",
            "metadata": {"resourceVersion": str(self.objects.revision)},
            "items": [_as(request, one) for one in items],
        }

    @staticmethod
    def _place(request: web.Request) -> tuple[str, str]:
        resource, namespace = request.match_info["resource"], request.match_info.get("namespace", "")
        if resource not in KINDS or (namespace and resource not in NAMESPACED):
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        return resource, namespace


def _selection(request: web.Request) -> Callable[[Tree], bool]:
    """Whether an object is one of those that are asked for. Raises Refused."""
    try:
        wanted = labels.parse(request.query.get("labelSelector", ""))
        named = fields.parse(request.query.get("fieldSelector", ""))
    except (labels.LabelSelectorError, fields.FieldSelectorError) as error:
        raise Refused(400, "BadRequest", str(error)) from error

    def is_selected(obj: Tree) -> bool:
        metadata = obj["metadata"]
        known = {f"metadata.{field}": metadata.get(field, "") for field in ("name", "namespace")}
        return bool(wanted.matches(metadata.get("labels") or {}) and named.matches(known))

    return is_selected


def _version(request: web.Request) -> str:
    return request.path.split("/")[3]


def _as(request: web.Request, obj: Tree) -> Tree:
    """The object in the version it is asked for in: both have the same fields."""
    return {**obj, "apiVersion": f"{GROUP}/{_version(request)}"}


def _merged(held: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    kept = dict(held) if isinstance(held, dict) else {}
    for key, value in patch.items():
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = _merged(kept.get(key), value)
    return kept


def _group() -> Tree:
    versions = [{"groupVersion": f"{GROUP}/{version}", "version": version} for version in reversed(VERSIONS)]
    return {"name": GROUP, "versions": versions, "preferredVersion": versions[0]}


def _aggregated(version: str) -> Iterator[Tree]:
    for name, kind in sorted(KINDS.items()):
        yield {
            "resource": name,
            "responseKind": {"group": GROUP, "version": version, "kind": kind},
            "scope": "Namespaced" if name in NAMESPACED else "Cluster",
            "singularResource": kind.lower(),
            "verbs": VERBS,
        }


def _schemas(version: str) -> Iterator[tuple[str, Tree]]:
    text = {"type": "string"}
    fields = {
        "Flunder": {"spec": {"type": "object", "properties": {"reference": text, "referenceType": text}}},
        "Fischer": {"disallowedFlunders": {"type": "array", "items": text}},
    }
    for kind, properties in fields.items():
        yield (
            f"com.example.wardle.{version}.{kind}",
            {
                "description": f"A {kind} of the sample API server.",
                "type": "object",
                "properties": {"apiVersion": text, "kind": text, "metadata": {"type": "object"}, **properties},
                "x-kubernetes-group-version-kind": [{"group": GROUP, "version": version, "kind": kind}],
            },
        )


def _paths(version: str, prefix: str) -> Iterator[tuple[str, Tree]]:
    for name, kind in KINDS.items():
        schema = {"$ref": f"{prefix}com.example.wardle.{version}.{kind}"}
        answer: Tree = {"description": "OK", "schema": schema}
        if prefix != "#/definitions/":
            answer = {"description": "OK", "content": {"application/json": {"schema": schema}}}
        place = f"namespaces/{{namespace}}/{name}" if name in NAMESPACED else name
        operation = {
            "operationId": f"readWardle{version.capitalize()}{kind}",
            "responses": {"200": answer},
            "x-kubernetes-action": "get",
            "x-kubernetes-group-version-kind": {"group": GROUP, "version": version, "kind": kind},
        }
        yield f"/apis/{GROUP}/{version}/{place}/{{name}}", {"get": operation}


async def serve(options: argparse.Namespace) -> None:
    """Serve until cancelled."""
    client = cluster_client(options.kubeconfig)
    rules = await RequestHeaderRules.read(client)
    runner = web.AppRunner(Server(rules, Authorizer(client)).app())
    await runner.setup()
    context = rules.tls_context(options.tls_cert_file, options.tls_private_key_file)
    site = web.TCPSite(runner, options.bind_address, options.secure_port, ssl_context=context)
    await site.start()
    print(f"serving on port {runner.addresses[0][1]}", flush=True)  # noqa: T201 - for who has started it
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", default="", help="the cluster; that of the pod if not given")
    parser.add_argument("--bind-address", default="0.0.0.0")  # noqa: S104 - a pod has no other
    parser.add_argument("--secure-port", type=int, default=443)
    parser.add_argument("--tls-cert-file", type=Path, required=True)
    parser.add_argument("--tls-private-key-file", type=Path, required=True)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
