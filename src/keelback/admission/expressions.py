"""The expressions of policies and match conditions: which variables and types they know, and compiling them.

What does not compile is kept with its reason: it is refused where it is written, and fails where it is asked.
KEP-3488, KEP-3962; the environment is that of k8s.io/apiserver/pkg/admission/plugin/cel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from keelback.cel.declarations import Library
from keelback.cel.environment import Environment, Program
from keelback.cel.errors import CompileError
from keelback.cel.libraries import authorization, json_patches, kubernetes
from keelback.cel.types import (
    BOOL,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    Kind,
    Type,
    list_of,
    map_of,
    object_of,
)

_KIND: Final = object_of("kubernetes.GroupVersionKind", {"group": STRING, "version": STRING, "kind": STRING})
_RESOURCE: Final = object_of(
    "kubernetes.GroupVersionResource", {"group": STRING, "version": STRING, "resource": STRING}
)
_USER: Final = object_of(
    "kubernetes.UserInfo",
    {"username": STRING, "uid": STRING, "groups": list_of(STRING), "extra": map_of(STRING, list_of(STRING))},
)
REQUEST: Final = object_of(
    "kubernetes.AdmissionRequest",
    {
        "kind": _KIND,
        "resource": _RESOURCE,
        "subResource": STRING,
        "requestKind": _KIND,
        "requestResource": _RESOURCE,
        "requestSubResource": STRING,
        "name": STRING,
        "namespace": STRING,
        "operation": STRING,
        "userInfo": _USER,
        "dryRun": BOOL,
        "options": DYN,
    },
)
_CONDITION: Final = object_of(
    "kubernetes.NamespaceCondition",
    {"status": STRING, "type": STRING, "lastTransitionTime": TIMESTAMP, "message": STRING, "reason": STRING},
)
NAMESPACE: Final = object_of(
    "kubernetes.Namespace",
    {
        "metadata": object_of(
            "kubernetes.NamespaceMetadata",
            {
                "name": STRING,
                "generateName": STRING,
                "namespace": STRING,
                "labels": map_of(STRING, STRING),
                "annotations": map_of(STRING, STRING),
                "UID": STRING,
                "creationTimestamp": TIMESTAMP,
                "deletionGracePeriodSeconds": INT,
                "deletionTimestamp": TIMESTAMP,
                "generation": INT,
                "resourceVersion": STRING,
                "finalizers": list_of(STRING),
            },
        ),
        "spec": object_of("kubernetes.NamespaceSpec", {"finalizers": list_of(STRING)}),
        "status": object_of("kubernetes.NamespaceStatus", {"conditions": list_of(_CONDITION), "phase": STRING}),
    },
)
JSON_PATCH: Final = object_of("JSONPatch", {"op": STRING, "from": STRING, "path": STRING, "value": DYN})
OBJECT: Final = object_of("Object", {}, is_open=True)
_VARIABLES: Final = "kubernetes.variables"
_OBJECT_NAMES: Final = re.compile(r"\bObject(?:\.[A-Za-z_][A-Za-z0-9_]*)+")
_MARKED_NULL: Final = "null_type"
_COMPILED: Final = 4096
"""Texts kept compiled: registry, admission and type checking compile the same ones, one after the other."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression may use besides object, oldObject, request and namespaceObject."""

    has_params: bool = False
    has_authorizer: bool = True
    has_patches: bool = False
    objects: Type = DYN
    """The type of object and oldObject, where the schema is known."""
    params: Type = DYN


@dataclass(frozen=True, slots=True)
class Compiled:
    """One expression: its program, or why there is none."""

    text: str
    program: Program | None
    problem: str = ""

    @property
    def type(self) -> Type:
        """What it gives; dyn if that is not known."""
        return DYN if self.program is None else self.program.type


def compile_text(
    text: str, scope: Scope, expected: tuple[Type, ...] = (), variables: Mapping[str, Type] | None = None
) -> Compiled:
    """An expression compiled. `variables` are the policy's, None if it has none; no `expected` type is any type."""
    declared = None if variables is None else tuple(variables.items())
    names = frozenset(_OBJECT_NAMES.findall(text)) if scope.has_patches else frozenset()
    # Types of objects are equal by name alone: what was compiled for one schema must not serve another.
    compiled = _compiled if scope.objects is DYN and scope.params is DYN else _compiled.__wrapped__
    return compiled(text, scope, expected, declared, names)


@lru_cache(maxsize=_COMPILED)
def _compiled(
    text: str,
    scope: Scope,
    expected: tuple[Type, ...],
    variables: tuple[tuple[str, Type], ...] | None,
    object_names: frozenset[str],
) -> Compiled:
    environment = _environment(scope)
    if variables is not None:
        declared = object_of(_VARIABLES, dict(variables))
        environment = environment.extend(variables={"variables": declared})
    if object_names:
        types = tuple(object_of(name, {}, is_open=True) for name in sorted(object_names))
        environment = environment.extend(libraries=(Library("kubernetes.objects", types=types),))
    try:
        program = environment.compile(text, expected=())
    except CompileError as error:
        return Compiled(text, None, f"compilation failed: {error}")
    if expected and program.type not in expected:
        return Compiled(text, None, _mismatch(expected, program.type))
    return Compiled(text, program)


def _mismatch(expected: tuple[Type, ...], found: Type) -> str:
    if len(expected) == 1:
        return f"must evaluate to {_named(expected[0])} but got {_named(found)}"
    return f"must evaluate to one of [{' '.join(map(_named, expected))}] but got {_named(found)}"


def _named(given: Type) -> str:
    return _MARKED_NULL if given.kind is Kind.NULL else str(given)


def _environment(scope: Scope) -> Environment:
    variables = {
        "object": scope.objects,
        "oldObject": scope.objects,
        "request": REQUEST,
        "namespaceObject": NAMESPACE,
    }
    libraries: list[Library] = []
    if scope.has_params:
        variables["params"] = scope.params
    if scope.has_authorizer:
        variables["authorizer"] = authorization.AUTHORIZER
        variables["authorizer.requestResource"] = authorization.RESOURCE_CHECK
    if scope.has_patches:
        libraries += [json_patches.LIBRARY, Library("kubernetes.patches", types=(JSON_PATCH, OBJECT))]
    return kubernetes.kubernetes().extend(variables=variables, libraries=tuple(libraries))


BOOLEAN: Final = (BOOL,)
TEXT: Final = (STRING,)
TEXT_OR_NULL: Final = (STRING, NULL)
PATCH: Final = (list_of(JSON_PATCH),)
CONFIGURATION: Final = (OBJECT,)


@dataclass(slots=True)
class Variables:
    """The variables of a policy, compiled in order: each may use those before it."""

    compiled: dict[str, Compiled] = field(default_factory=dict)

    def add(self, name: str, text: str, scope: Scope) -> Compiled:
        """Compile one more; of one that does not compile the type is unknown."""
        made = compile_text(text, replace(scope, has_patches=False), (), self.types())
        self.compiled[name] = made
        return made

    def types(self) -> dict[str, Type]:
        """What is known of them so far."""
        return {name: _as_declared(one.type) for name, one in self.compiled.items()}


def variables_of(given: Iterable[tuple[str, str]], scope: Scope) -> Variables:
    """The variables of a policy from pairs of name and expression."""
    made = Variables()
    for name, text in given:
        made.add(name, text, scope)
    return made


def _as_declared(given: Type) -> Type:
    """As upstream declares a variable of this type: what is neither scalar, list nor map is dyn."""
    match given.kind:
        case Kind.LIST | Kind.MAP:
            inner = tuple(map(_as_declared, given.parameters))
            return Type(given.kind, given.name, inner)
        case Kind.OBJECT | Kind.OPAQUE | Kind.TYPE | Kind.PARAMETER | Kind.ERROR:
            return DYN
        case _:
            return given
