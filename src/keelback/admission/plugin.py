"""What an admission plugin is: it may change an object that is about to be stored, or refuse it.

A plugin says which requests concern it; `admit` answers the object to go on with, `validate` raises a `StatusError`.
All plugins admit first, then, when the object no longer changes, all validate.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import msgspec

from keelback.admission.metrics import AdmissionMetrics, Phase, PhaseMeter
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Kind, Object
from keelback.component.metrics import Registry, Series

ObjectT = TypeVar("ObjectT", bound=Object)
ValueT = TypeVar("ValueT")


class Operation(StrEnum):
    """What is about to happen to the object."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    CONNECT = "CONNECT"


class User(Protocol):
    """Who asks for it."""

    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...
    @property
    def groups(self) -> tuple[str, ...]: ...
    @property
    def extra(self) -> Mapping[str, tuple[str, ...]]: ...


class Reinvocation:
    """Whether the plugins must see the object a second time because a webhook or a policy changed it.

    `kept` is what such plugins remember of the first round, by their name (KEP-1872).
    """

    __slots__ = ("is_second_round", "is_wanted", "kept")

    def __init__(self) -> None:
        self.is_wanted = False
        self.is_second_round = False
        self.kept: dict[str, Any] = {}


def _no_options() -> dict[str, Any] | None:
    return None


class AdmissionRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One write, before it is stored.

    `kind` is the resource in the path. `obj` is the new object (None for a deletion; of another kind for subresources
    such as `binding`), `old_obj` the stored one (None for a creation). `options` gives the tree of the CreateOptions or
    their like, for those few who ask. `verb` is the API's (`update`, `patch`), where the request has one. `warnings`
    and `audit_annotations` are added to.
    """

    operation: Operation
    kind: Kind
    user: User
    verb: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    obj: Any = None
    old_obj: Any = None
    options: Callable[[], dict[str, Any] | None] = _no_options
    dry_run: bool = False
    warnings: list[str] = msgspec.field(default_factory=list)
    audit_annotations: dict[str, str] = msgspec.field(default_factory=dict)
    reinvocation: Reinvocation = msgspec.field(default_factory=Reinvocation)

    def with_object(self, obj: Any) -> AdmissionRequest:
        """The same request about a changed object."""
        return msgspec.structs.replace(self, obj=obj)

    def warn(self, text: str) -> None:
        """Tell the client something without refusing."""
        if text not in self.warnings:
            self.warnings.append(text)

    @property
    def namespace_seen(self) -> str:
        """The namespace as expressions and webhooks see it: that of a Namespace is itself."""
        is_namespace = self.kind.plural == "namespaces" and not self.kind.group
        return self.namespace or (self.name if is_namespace else "")

    def new(self, kind: type[ValueT]) -> ValueT:
        """The new object as what it must be."""
        assert isinstance(self.obj, kind)
        return self.obj

    def old(self, kind: type[ValueT]) -> ValueT:
        """The stored object as what it must be."""
        assert isinstance(self.old_obj, kind)
        return self.old_obj

    def forbidden(self, why: str) -> errors.Forbidden:
        """The error that refuses it: `pods "a" is forbidden: why`."""
        return errors.Forbidden.of(self.kind, self.name or _name_to_be(self.obj), why)


class Reader(Protocol):
    """Where plugins look things up: the server's own caches."""

    async def get(self, kind: type[ObjectT], name: str, namespace: str = "") -> ObjectT:
        """The object. Raises `errors.NotFound`."""
        ...

    async def list(self, kind: type[ObjectT], namespace: str = "") -> Sequence[ObjectT]:
        """All objects of a kind, in a namespace if one is given."""
        ...


class NewestReader(Reader, Protocol):
    """A reader that can wait for what was just written."""

    async def newest(self, kind: type[ObjectT], name: str, namespace: str = "") -> ObjectT:
        """The object as it is now, not as it was a moment ago. Raises `errors.NotFound`."""
        ...


class Question(msgspec.Struct, frozen=True):
    """A further right that some writes need: to a resource, or to a path."""

    user: User
    verb: str
    group: str
    resource: str
    name: str = ""
    namespace: str = ""
    subresource: str = ""
    path: str = ""
    label_selector: str = ""
    field_selector: str = ""


class Ruling(NamedTuple):
    """Whether somebody has a right, and what the authorizer says of it."""

    is_allowed: bool
    reason: str = ""
    error: str | None = None
    """What kept the authorizer from knowing, if anything did."""


IsAllowed = Callable[[Question], Awaitable[bool]]
Rules = Callable[[Question], Awaitable[Ruling]]


class AdmissionPlugin:
    """What plugins have in common: by default a plugin changes nothing and refuses nothing."""

    name: ClassVar[str]
    # `group/plural` or `plural` for the core group; with `/subresource` where it is one. Empty means every resource.
    resources: ClassVar[frozenset[str]] = frozenset()
    operations: ClassVar[frozenset[Operation]] = frozenset({Operation.CREATE})

    def handles(self, operation: Operation, kind: Kind, subresource: str) -> bool:
        """Whether such requests concern the plugin; asked once for each sort of request."""
        return operation in self.operations and (
            not self.resources or resource_key(kind, subresource) in self.resources
        )

    async def admit(self, request: AdmissionRequest) -> Any:
        """The object to go on with. Raises `StatusError` to refuse."""
        return request.obj

    async def validate(self, request: AdmissionRequest) -> None:
        """Raise `StatusError` to refuse."""


class _Concerned(NamedTuple):
    """The plugins that one sort of request concerns in one phase, each with where its times go."""

    plugins: tuple[tuple[AdmissionPlugin, Series], ...]
    meter: PhaseMeter


class AdmissionChain:
    """The plugins that are on, in order."""

    def __init__(self, plugins: Sequence[AdmissionPlugin], metrics: AdmissionMetrics | None = None) -> None:
        """Without `metrics` nobody will ask how long they took."""
        self._plugins = tuple(plugins)
        self._metrics = metrics or AdmissionMetrics(Registry())
        self._meters: dict[tuple[Phase, Operation], PhaseMeter] = {}
        self._admitting: dict[tuple[Operation, str], _Concerned] = {}
        self._validating: dict[tuple[Operation, str], _Concerned] = {}

    async def admit(self, request: AdmissionRequest) -> AdmissionRequest:
        """The request with its object as the plugins want it. Raises `StatusError`.

        All plugins see the object once more if a webhook or a policy changed it; what they do is done only once.
        """
        concerned = self._concerned(self._admitting, request, "admit")
        started = time.perf_counter()
        request = await _admitted(concerned, request, started)
        if request.reinvocation.is_wanted:
            request.reinvocation.is_second_round = True
            request = await _admitted(concerned, request, started)
        concerned.meter.passed(time.perf_counter() - started)
        return request

    async def validate(self, request: AdmissionRequest) -> None:
        """Raise `StatusError` if a plugin refuses."""
        concerned = self._concerned(self._validating, request, "validate")
        started = before = time.perf_counter()
        for plugin, times in concerned.plugins:
            try:
                await plugin.validate(request)
            except errors.StatusError:
                now = time.perf_counter()
                concerned.meter.refused(plugin.name, now - before, now - started)
                raise
            now = time.perf_counter()
            times.observe(now - before)
            before = now
        concerned.meter.passed(before - started)

    def _concerned(
        self, known: dict[tuple[Operation, str], _Concerned], request: AdmissionRequest, phase: Phase
    ) -> _Concerned:
        operation = request.operation
        key = (operation, resource_key(request.kind, request.subresource))
        concerned = known.get(key)
        if concerned is None:
            meter = self._meters.get((phase, operation))
            if meter is None:
                meter = self._meters[phase, operation] = self._metrics.phase(phase, operation)
            concerned = known[key] = _Concerned(
                tuple(
                    (plugin, meter.plugin(plugin.name))
                    for plugin in self._plugins
                    if getattr(type(plugin), phase) is not getattr(AdmissionPlugin, phase)
                    and plugin.handles(operation, request.kind, request.subresource)
                ),
                meter,
            )
        return concerned


async def _admitted(concerned: _Concerned, request: AdmissionRequest, started: float) -> AdmissionRequest:
    before = time.perf_counter()
    for plugin, times in concerned.plugins:
        try:
            obj = await plugin.admit(request)
        except errors.StatusError:
            now = time.perf_counter()
            concerned.meter.refused(plugin.name, now - before, now - started)
            raise
        if obj is not request.obj:
            request = request.with_object(obj)
        now = time.perf_counter()
        times.observe(now - before)
        before = now
    return request


def resource_key(kind: Kind, subresource: str = "") -> str:
    """How plugins name a resource: `pods`, `pods/status`, `networking.k8s.io/ingresses`."""
    resource = f"{kind.group}/{kind.plural}" if kind.group else kind.plural
    return f"{resource}/{subresource}" if subresource else resource


def _name_to_be(obj: Any) -> str:
    """What stands for a name that is not known yet (admission.NewForbidden)."""
    if not isinstance(obj, Object):
        return ""
    return obj.metadata.name or obj.metadata.generate_name or "Unknown"
