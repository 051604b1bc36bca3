"""The operations of what is served, as OpenAPI v2 describes them: paths, verbs, parameters, bodies and answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from keelback.apiserver.discovery import Served, Subresource
from keelback.apiserver.openapi_schemas import PATCH, STATUS, V2_PREFIX, WATCH_EVENT, Schemas

Tree = dict[str, Any]

_FORMS: Final = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"]
_STREAMS: Final = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"]
_PATCHES: Final = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
]
_CUSTOM_PATCHES: Final = [one for one in _PATCHES if "strategic" not in one]
_UNAUTHORIZED: Final = {"401": {"description": "Unauthorized"}}

_WRITE: Final = ("dryRun", "fieldManager-Qy4HdaTW", "fieldValidation")
_APPLY: Final = ("dryRun", "fieldManager-7c6nTn1T", "fieldValidation", "force-tOGGb0Yi")
_LIST: Final = (
    "allowWatchBookmarks-HC2hJt-J",
    "continue-QfD61s0i",
    "fieldSelector-xIcQKXFG",
    "labelSelector-5Zw57w4C",
    "limit-1NfNmdNH",
    "resourceVersion-5WAnf1kx",
    "resourceVersionMatch-t8XhRHeC",
    "sendInitialEvents-rLXlEK_k",
    "shardSelector-Kgyki_3_",
    "timeoutSeconds-yvYezaOC",
    "watch-XNNPZGbK",
)
_DELETE: Final = (
    "body-2Y1dVQaQ",
    "dryRun",
    "gracePeriodSeconds--K5HaBOS",
    "ignoreStoreReadErrorWithClusterBreakingPotential-QbNkfIqj",
    "orphanDependents-uRB25kX5",
    "propagationPolicy-6jk3prlO",
)
_DELETE_COLLECTION: Final = (
    *_DELETE,
    *(one for one in _LIST if not one.startswith(("allowWatchBookmarks", "watch"))),
)
_CONNECTIONS: Final[dict[str, tuple[str, ...]]] = {
    "PodExecOptions": (
        "command-Py3eQybp",
        "container-i5dOmRiM",
        "stderr-W_1TNlWc",
        "stdin-PSzNhyUC",
        "stdout--EZLRwV1",
        "tty-s0flW37O",
    ),
    "PodAttachOptions": (
        "container-_Q-EJ3nR",
        "stderr-26jJhFUR",
        "stdin-sEFnN3IS",
        "stdout-005YMKE6",
        "tty-g7MlET_l",
    ),
    "PodPortForwardOptions": ("ports-91KROJmm",),
    "PodProxyOptions": ("path-oPbzgLUj",),
    "NodeProxyOptions": ("path-rFDtV0x9",),
    "ServiceProxyOptions": ("path-QCf0eosM",),
}
_LOG: Final = (
    "container-1GeXxFDC",
    "follow-9OIXh_2R",
    "insecureSkipTLSVerifyBackend-gM00jVbe",
    "limitBytes-zwd1RXuc",
    "pretty-tJGM1-ng",
    "previous-1jxDPu3y",
    "sinceSeconds-vE2NLdnP",
    "stream-l-48cgXv",
    "tailLines-9xQLWHMV",
    "timestamps-c17fW1w_",
)
# Deleting one of these answers with the object, for which clients wait to be gone; the others answer with a Status.
_DELETION_ANSWERS_OBJECT: Final = frozenset(
    {
        "CSIDriver",
        "CSINode",
        "DeviceClass",
        "DeviceTaintRule",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "Pod",
        "PodTemplate",
        "ResourceClaim",
        "ResourceClaimTemplate",
        "ResourcePoolStatusRequest",
        "ResourceQuota",
        "ResourceSlice",
        "Service",
        "ServiceAccount",
        "StorageClass",
        "VolumeAttachment",
        "VolumeAttributesClass",
    }
)


def operation_group(group: str) -> str:
    """A group as operation identifiers name it: `Core`, `Apps`, `RbacAuthorization`, `ComExampleExCrd`."""
    if not group:
        return "Core"
    is_built_in = group.endswith(".k8s.io") or "." not in group
    parts = group.removesuffix(".k8s.io").split(".") if is_built_in else list(reversed(group.split(".")))
    return "".join(part[:1].upper() + part[1:] for part in parts)


def paths_of(served: Iterable[Served], schemas: Schemas, *, with_watch_paths: bool = True) -> dict[str, Tree]:
    """The path items of some resources, by path. A resource without a published schema answers with any object."""
    found: dict[str, Tree] = {}
    for one in served:
        found.update(_Resource(one, schemas, with_watch_paths=with_watch_paths).paths())
    return found


def information_paths(groups: dict[str, list[str]]) -> dict[str, Tree]:
    """The path items of discovery and of /version, for the versions of each group."""

    def item(description: str, operation: str, kind: str, tag: str, forms: list[str]) -> Tree:
        name = f"io.k8s.apimachinery.pkg.{kind}"
        return {
            "get": {
                "consumes": forms,
                "description": description,
                "operationId": operation,
                "produces": forms,
                "responses": {"200": {"description": "OK", "schema": {"$ref": V2_PREFIX + name}}, **_UNAUTHORIZED},
                "schemes": ["https"],
                "tags": [tag],
            }
        }

    meta = "apis.meta.v1"
    found = {
        "/apis/": item("get available API versions", "getAPIVersions", f"{meta}.APIGroupList", "apis", _FORMS),
        "/version/": item(
            "get the version information for this server", "getCodeVersion", "version.Info", "version", _FORMS[:1]
        ),
    }
    found.update(_issuer_paths())
    for group, versions in groups.items():
        operation = operation_group(group)
        tag = operation[:1].lower() + operation[1:]
        if not group:
            found["/api/"] = item(
                "get available API versions", "getCoreAPIVersions", f"{meta}.APIVersions", tag, _FORMS
            )
        else:
            found[f"/apis/{group}/"] = item(
                "get information of a group", f"get{operation}APIGroup", f"{meta}.APIGroup", tag, _FORMS
            )
        for version in versions:
            path = f"/apis/{group}/{version}/" if group else f"/api/{version}/"
            found[path] = item(
                "get available resources",
                f"get{operation}{version[:1].upper()}{version[1:]}APIResources",
                f"{meta}.APIResourceList",
                f"{tag}_{version}",
                _FORMS,
            )
    return found


def _issuer_paths() -> dict[str, Tree]:
    """The path items of what verifies tokens of service accounts."""

    def item(description: str, operation: str, form: str, tag: str) -> Tree:
        return {
            "get": {
                "description": description,
                "operationId": operation,
                "produces": [form],
                "responses": {"200": {"description": "OK", "schema": {"type": "string"}}, **_UNAUTHORIZED},
                "schemes": ["https"],
                "tags": [tag],
            }
        }

    return {
        "/.well-known/openid-configuration/": item(
            "get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'",
            "getServiceAccountIssuerOpenIDConfiguration",
            "application/json",
            "WellKnown",
        ),
        "/openid/v1/jwks/": item(
            "get service account issuer OpenID JSON Web Key Set (contains public token verification keys)",
            "getServiceAccountIssuerOpenIDKeyset",
            "application/jwk-set+json",
            "openid",
        ),
    }


def references(tree: Any) -> set[str]:
    """The names of the schemas that a v2 tree refers to."""
    found: set[str] = set()
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            reference = one.get("$ref")
            if isinstance(reference, str) and reference.startswith(V2_PREFIX):
                found.add(reference.removeprefix(V2_PREFIX))
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return found


class _Resource:
    """One resource's path items."""

    def __init__(self, served: Served, schemas: Schemas, *, with_watch_paths: bool) -> None:
        self._served = served
        self._schemas = schemas
        self._with_watch_paths = with_watch_paths
        kind = served.kind
        self._kind = kind
        self._prefix = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
        group = operation_group(kind.group)
        self._tag = f"{group[:1].lower()}{group[1:]}_{kind.version}"
        self._operation = f"{group}{kind.version[:1].upper()}{kind.version[1:]}"
        self._scope = "Namespaced" if kind.namespaced else ""
        name = schemas.name_of(kind.group, kind.version, kind.kind) or ""
        self._is_built_in = not name or name.startswith("io.k8s.")

    def paths(self) -> dict[str, Tree]:
        kind = self._kind
        base = f"{self._prefix}/namespaces/{{namespace}}" if kind.namespaced else self._prefix
        collection, single = f"{base}/{kind.plural}", f"{base}/{kind.plural}/{{name}}"
        found: dict[str, Tree] = {}
        self._put(found, collection, self._collection_operations(self._scope, ""), named=False)
        if kind.namespaced and "list" in self._served.verbs:
            everywhere = {"get": self._list("", "ForAllNamespaces")}
            self._put(found, f"{self._prefix}/{kind.plural}", everywhere, named=False, namespaced=False)
        self._put(found, single, self._object_operations(), named=True)
        if self._with_watch_paths and "watch" in self._served.verbs and self._is_built_in:
            self._add_watch_paths(found, base.replace(self._prefix, f"{self._prefix}/watch", 1))
        for name in self._served.subresources:
            self._add_subresource(found, single, self._served.subresource(name))
        return found

    def _put(
        self,
        found: dict[str, Tree],
        path: str,
        operations: Tree,
        *,
        named: bool,
        namespaced: bool | None = None,
        named_for: str = "",
        extra: tuple[Tree, ...] = (),
        is_pretty: bool = True,
    ) -> None:
        """Add a path item; parameters that all its operations have belong to the path."""
        if not operations:
            return
        shared: list[Tree] = list(extra)
        if named:
            shared.append(_name_parameter(named_for or self._kind.kind))
        if self._kind.namespaced if namespaced is None else namespaced:
            shared.append(_parameter("namespace-vgWSWtn3"))
        if is_pretty:
            shared.append(_parameter("pretty-tJGM1-ng"))
        lists = [one.get("parameters", []) for one in operations.values()]
        common = [one for one in lists[0] if not _is_body(one) and all(one in other for other in lists[1:])]
        for operation in operations.values():
            own = [one for one in operation.pop("parameters", []) if one not in common]
            if own:
                operation["parameters"] = own
        found[path] = {**operations, "parameters": sorted((*common, *shared), key=_parameter_order)}

    def _collection_operations(self, scope: str, suffix: str) -> Tree:
        verbs, operations = self._served.verbs, {}
        kind = self._kind.kind
        if "deletecollection" in verbs:
            operations["delete"] = self._make(
                "deletecollection",
                f"delete collection of {kind}",
                f"delete{self._operation}Collection{scope}{kind}",
                _DELETE_COLLECTION,
                {"200": STATUS},
            )
        if "list" in verbs:
            operations["get"] = self._list(scope, suffix)
        if "create" in verbs:
            operations["post"] = self._make(
                "post",
                f"create {_with_article(kind)}",
                f"create{self._operation}{scope}{kind}",
                _WRITE,
                {"200": "", "201": "", "202": ""},
                body="",
            )
        return operations

    def _list(self, scope: str, suffix: str) -> Tree:
        kind = self._kind
        name = self._schemas.name_of(kind.group, kind.version, kind.list_kind) or ""
        verbs = "list or watch" if "watch" in self._served.verbs else "list"
        return self._make(
            "list",
            f"{verbs} objects of kind {kind.kind}",
            f"list{self._operation}{scope}{kind.kind}{suffix}",
            _LIST,
            {"200": name},
            produces=[*_FORMS, *_STREAMS],
        )

    def _object_operations(self) -> Tree:
        kind, operations = self._kind.kind, {}
        subject = f"{self._operation}{self._scope}{kind}"
        answer = "" if kind in _DELETION_ANSWERS_OBJECT and self._is_built_in else STATUS
        if "delete" in self._served.verbs:
            operations["delete"] = self._make(
                "delete", f"delete {_with_article(kind)}", f"delete{subject}", _DELETE, {"200": answer, "202": answer}
            )
        operations.update(self._read_write(self._served.verbs, subject, "the specified", self._kind_tree()))
        return operations

    def _read_write(self, verbs: tuple[str, ...], subject: str, what: str, gvk: Tree) -> Tree:
        operations, kind = {}, self._kind.kind
        if "get" in verbs:
            operations["get"] = self._make("get", f"read {what} {kind}", f"read{subject}", (), {"200": ""}, gvk=gvk)
        if "patch" in verbs:
            operations["patch"] = self._make(
                "patch",
                f"partially update {what} {kind}",
                f"patch{subject}",
                _APPLY,
                {"200": "", "201": ""},
                body=PATCH,
                gvk=gvk,
                consumes=_PATCHES if self._is_built_in else _CUSTOM_PATCHES,
            )
        if "update" in verbs:
            operations["put"] = self._make(
                "put", f"replace {what} {kind}", f"replace{subject}", _WRITE, {"200": "", "201": ""}, body="", gvk=gvk
            )
        return operations

    def _add_watch_paths(self, found: dict[str, Tree], base: str) -> None:
        kind = self._kind
        instead = "deprecated: use the 'watch' parameter with a list operation instead"
        many = f"watch individual changes to a list of {kind.kind}. {instead}."
        one = (
            f"watch changes to an object of kind {kind.kind}. {instead}, filtered to a single item with the "
            "'fieldSelector' parameter."
        )
        start = f"watch{self._operation}"
        produces = [*_FORMS, *_STREAMS]

        def operation(action: str, text: str, name: str) -> Tree:
            return {"get": self._make(action, text, name, _LIST, {"200": WATCH_EVENT}, produces=produces)}

        listed = operation("watchlist", many, f"{start}{self._scope}{kind.kind}List")
        self._put(found, f"{base}/{kind.plural}", listed, named=False)
        if kind.namespaced:
            everywhere = operation("watchlist", many, f"{start}{kind.kind}ListForAllNamespaces")
            self._put(found, f"{self._prefix}/watch/{kind.plural}", everywhere, named=False, namespaced=False)
        if "get" in self._served.verbs:
            single = operation("watch", one, f"{start}{self._scope}{kind.kind}")
            self._put(found, f"{base}/{kind.plural}/{{name}}", single, named=True)

    def _add_subresource(self, found: dict[str, Tree], single: str, part: Subresource) -> None:
        path, own = f"{single}/{part.name}", self._kind.kind
        camel = part.name[:1].upper() + part.name[1:]
        subject = f"{self._operation}{self._scope}{own}{camel}"
        gvk = self._kind_tree(part)
        if part.kind in _CONNECTIONS:
            self._add_connection(found, path, part, camel, gvk)
        elif part.name == "log":
            operation = self._make(
                "get",
                f"read log of the specified {own}",
                f"read{subject}",
                _LOG,
                {"200": None},
                produces=["text/plain", *_FORMS],
            )
            self._put(found, path, {"get": operation}, named=True, is_pretty=False)
        elif "create" in part.verbs:
            operation = self._make(
                "post",
                f"create {part.name} of {_with_article(own)}",
                f"create{subject}",
                _WRITE,
                {"200": "", "201": "", "202": ""},
                body="",
                gvk=gvk,
            )
            self._put(found, path, {"post": operation}, named=True, named_for=part.kind)
        else:
            operations = self._read_write(part.verbs, subject, f"{part.name} of the specified", gvk)
            self._put(found, path, operations, named=True, named_for=part.kind or own)

    def _add_connection(self, found: dict[str, Tree], path: str, part: Subresource, camel: str, gvk: Tree) -> None:
        own, extra = self._kind.kind, tuple(map(_parameter, _CONNECTIONS[part.kind]))
        methods = ["get", "post"]
        if part.name == "proxy":
            methods = ["delete", "get", "head", "options", "patch", "post", "put"]
        for suffix, with_path in (("", False), ("WithPath", True)) if part.name == "proxy" else (("", False),):
            operations = {
                method: self._make(
                    "connect",
                    f"connect {method.upper()} requests to {part.name} of {own}",
                    f"connect{self._operation}{method.capitalize()}{self._scope}{own}{camel}{suffix}",
                    (),
                    {"200": None},
                    gvk=gvk,
                    produces=["*/*"],
                )
                for method in methods
            }
            parameters = (*extra, _parameter("path-z6Ciiujn")) if with_path else extra
            self._put(
                found,
                f"{path}/{{path}}" if with_path else path,
                operations,
                named=True,
                named_for=part.kind,
                extra=parameters,
                is_pretty=False,
            )

    def _kind_tree(self, part: Subresource | None = None) -> Tree:
        kind = self._kind
        if part is not None and part.kind:
            return {
                "group": part.group if part.version else kind.group,
                "kind": part.kind,
                "version": part.version or kind.version,
            }
        return {"group": kind.group, "kind": kind.kind, "version": kind.version}

    def _make(
        self,
        action: str,
        description: str,
        operation: str,
        parameters: tuple[str, ...],
        answers: dict[str, str | None],
        *,
        body: str | None = None,
        gvk: Tree | None = None,
        consumes: list[str] | None = None,
        produces: list[str] | None = None,
    ) -> Tree:
        """One operation. The schema "" is that of the kind itself; None among the answers is plain text."""
        kind = gvk or self._kind_tree()
        own = self._schemas.name_of(kind["group"], kind["version"], kind["kind"]) or ""
        texts = {"200": "OK", "201": "Created", "202": "Accepted"}
        listed = [_parameter(one) for one in parameters]
        if body is not None:
            listed.append(
                _parameter("body-78PwaGsr")
                if body == PATCH
                else {"in": "body", "name": "body", "required": True, "schema": _schema(body or own)}
            )
        return {
            "consumes": consumes or ["*/*"],
            "description": description,
            "operationId": operation,
            "parameters": sorted(listed, key=_parameter_order),
            "produces": produces or _FORMS,
            "responses": {
                **{
                    code: {
                        "description": texts[code],
                        "schema": {"type": "string"} if name is None else _schema(name or own),
                    }
                    for code, name in answers.items()
                },
                **_UNAUTHORIZED,
            },
            "schemes": ["https"],
            "tags": [self._tag],
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": kind,
        }


def _schema(name: str) -> Tree:
    return {"$ref": V2_PREFIX + name} if name else {"type": "object"}


def _with_article(kind: str) -> str:
    if kind == "Endpoints":
        return kind
    return f"an {kind}" if kind[:1] in "AEIO" else f"a {kind}"


def _name_parameter(kind: str) -> Tree:
    return {
        "description": f"name of the {kind}",
        "in": "path",
        "name": "name",
        "required": True,
        "type": "string",
        "uniqueItems": True,
    }


def _parameter(name: str) -> Tree:
    return {"$ref": f"#/parameters/{name}"}


def _is_body(parameter: Tree) -> bool:
    return parameter.get("name") == "body" or parameter.get("$ref", "").startswith("#/parameters/body-")


def _parameter_order(parameter: Tree) -> tuple[str, str]:
    reference = parameter.get("$ref", "").removeprefix("#/parameters/")
    # A shared parameter is named by its name, a hyphen and a hash of eight characters.
    name = parameter.get("name") or (reference[:-9] if reference[-9:-8] == "-" else reference)
    return (name, "" if reference == "path-z6Ciiujn" else reference)
