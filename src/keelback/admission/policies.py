"""What ValidatingAdmissionPolicy and MutatingAdmissionPolicy have in common: policies, their bindings and parameters.

Changes take effect together, a moment after the first of them: a policy and its bindings, written one after the other,
are never seen in part, and a burst of writes compiles nothing twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from keelback.admission.matching import Criteria, Matcher, criteria_of
from keelback.admission.plugin import AdmissionRequest, Reader
from keelback.admission.resources import Resources
from keelback.api.admissionregistration_v1 import MatchResources, ParamKind, ParamRef
from keelback.api.core_v1 import Namespace
from keelback.apimachinery import labels
from keelback.apimachinery.meta import Kind, Object
from keelback.concurrency.clock import Clock

REFRESH_SECONDS: Final = 0.8
"""How old what is applied may be. Upstream looks once a second."""

EvaluatorT = TypeVar("EvaluatorT")
Tree = Mapping[str, Any]


class ConfigurationError(Exception):
    """A policy or binding cannot be applied as it is written; its failure policy decides."""


class _PolicySpec(Protocol):
    @property
    def match_constraints(self) -> MatchResources | None: ...
    @property
    def param_kind(self) -> ParamKind | None: ...
    @property
    def failure_policy(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Binding:
    """One binding of a policy, ready to be matched."""

    object: Any
    criteria: Criteria | None

    @property
    def name(self) -> str:
        return str(self.object.metadata.name)

    @property
    def param_ref(self) -> ParamRef | None:
        ref: ParamRef | None = self.object.spec.param_ref
        return ref


@dataclass(frozen=True, slots=True)
class Bound(Generic[EvaluatorT]):
    """A policy that has bindings: compiled, and ready to be matched."""

    policy: Any
    criteria: Criteria | None
    bindings: tuple[Binding, ...]
    evaluator: EvaluatorT

    @property
    def name(self) -> str:
        return str(self.policy.metadata.name)

    @property
    def spec(self) -> _PolicySpec:
        spec: _PolicySpec = self.policy.spec
        return spec


@dataclass(frozen=True, slots=True)
class Invocation(Generic[EvaluatorT]):
    """A policy to be applied with a binding and a parameter, to objects in the version `kind`."""

    bound: Bound[EvaluatorT]
    binding: Binding
    kind: Kind
    params: Tree | None


class Policies(Generic[EvaluatorT]):
    """All policies of a kind that have bindings, by name."""

    def __init__(
        self,
        reader: Reader,
        clock: Clock,
        policy_class: type[Object],
        binding_class: type[Object],
        compile_policy: Callable[[Any], EvaluatorT],
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._policy_class = policy_class
        self._binding_class = binding_class
        self._compile = compile_policy
        self._compiled: dict[tuple[str, int], EvaluatorT] = {}
        self._bound: tuple[Bound[EvaluatorT], ...] = ()
        self._seen: list[tuple[str, str]] | None = None
        self._looked_at: float | None = None
        self._changed_at: float | None = None

    def note_change(self, kind: Kind) -> None:
        """Something of a kind is about to be written: what is applied stays as it is for a moment from now."""
        if kind in (self._policy_class.__kind__, self._binding_class.__kind__) and self._changed_at is None:
            self._changed_at = self._clock.monotonic()

    async def current(self) -> Sequence[Bound[EvaluatorT]]:
        """What is to be applied to a request."""
        now = self._clock.monotonic()
        if self._is_due(now):
            self._looked_at, self._changed_at = now, None
            await self._refresh()
        return self._bound

    def _is_due(self, now: float) -> bool:
        if self._looked_at is None:
            return True
        since = self._looked_at if self._changed_at is None else max(self._looked_at, self._changed_at)
        return now - since >= REFRESH_SECONDS

    async def _refresh(self) -> None:
        bindings = await self._reader.list(self._binding_class)
        policies = await self._reader.list(self._policy_class) if bindings else ()
        seen = [(one.metadata.uid, one.metadata.resource_version) for one in (*policies, *bindings)]
        if seen == self._seen:
            return
        self._seen = seen
        of_policy: dict[str, list[Any]] = {}
        for binding in sorted(bindings, key=lambda one: one.metadata.name):
            of_policy.setdefault(binding.spec.policy_name, []).append(binding)  # type: ignore[attr-defined]
        known, self._compiled = self._compiled, {}
        self._bound = tuple(
            self._bind(policy, of_policy[policy.metadata.name], known)
            for policy in sorted(policies, key=lambda one: one.metadata.name)
            if policy.metadata.name in of_policy
        )

    def _bind(
        self, policy: Any, bindings: Sequence[Any], known: Mapping[tuple[str, int], EvaluatorT]
    ) -> Bound[EvaluatorT]:
        version = (policy.metadata.uid, policy.metadata.generation)
        evaluator = known.get(version)
        if evaluator is None:
            evaluator = self._compile(policy)
        self._compiled[version] = evaluator
        return Bound(
            policy,
            criteria_of(policy.spec.match_constraints),
            tuple(Binding(one, criteria_of(one.spec.match_resources)) for one in bindings),
            evaluator,
        )


async def in_version(obj: Any, own: Kind, kind: Kind, resources: Resources) -> Any:
    """A request's object in the version of the resource it was matched by; that of a subresource as it is."""
    if obj is None or kind is own or getattr(obj, "__kind__", None) is not own:
        return obj
    return await resources.convert(obj, kind)


async def namespace_of(reader: Reader, request: AdmissionRequest) -> Namespace | None:
    """The namespace a request is made in. Raises NotFound."""
    if not request.namespace or request.kind is Namespace.__kind__:
        return None
    return await reader.get(Namespace, request.namespace)


async def invocations(
    bound: Bound[EvaluatorT],
    request: AdmissionRequest,
    matcher: Matcher,
    resources: Resources,
    failed: Callable[[Bound[EvaluatorT], str, str], None],
) -> AsyncIterator[Invocation[EvaluatorT]]:
    """How a policy is to be applied to a request: with each of its bindings, and each parameter of those.

    `failed` is told the policy, the binding's name (none where it is the policy) and what keeps it from being applied.
    """
    kind = await _version_met(matcher, bound.criteria, request)
    if kind is None:
        return
    try:
        param_kind = _param_kind(resources, bound.spec.param_kind)
    except ConfigurationError as error:
        failed(bound, "", f"failed to configure policy: {error}")
        return
    for binding in bound.bindings:
        if await _version_met(matcher, binding.criteria, request) is None:
            continue
        try:
            given = await _parameters(resources, param_kind, binding.param_ref, request.namespace_seen)
        except ConfigurationError as error:
            failed(bound, binding.name, f"failed to configure binding: {error}")
            continue
        for params in given:
            yield Invocation(bound, binding, kind, params)


async def _version_met(matcher: Matcher, asked: Criteria | None, request: AdmissionRequest) -> Kind | None:
    """The version of the resource in which a request meets criteria; without any criteria the request's own."""
    return request.kind if asked is None else await matcher.matched(asked, request)


def _param_kind(resources: Resources, given: ParamKind | None) -> Kind | None:
    """The resource that parameters are of. Raises ConfigurationError where it is not served."""
    if given is None:
        return None
    kind = resources.kind_of(given.api_version, given.kind)
    if kind is None:
        version = given.api_version if "/" in given.api_version else f"/{given.api_version}"
        raise ConfigurationError(f"failed to find resource referenced by paramKind: '{version}, Kind={given.kind}'")
    return kind


async def _parameters(
    resources: Resources, kind: Kind | None, ref: ParamRef | None, namespace: str
) -> Sequence[Tree | None]:
    """The parameters with which a binding applies its policy, one after the other; None where it has none.

    Raises ConfigurationError.
    """
    if kind is None or ref is None:
        return (None,)
    if not kind.namespaced and ref.namespace:
        raise ConfigurationError("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
    within = ref.namespace or namespace if kind.namespaced else ""
    if kind.namespaced and not within:
        raise ConfigurationError(
            "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
        )
    if ref.name:
        named = await resources.find(kind, ref.name, within)
        found = [] if named is None else [named]
    else:
        selector = labels.from_label_selector(ref.selector)
        found = [one for one in await resources.find_all(kind, within) if selector.matches(_labels(one))]
    if not found and ref.parameter_not_found_action == "Deny":
        raise ConfigurationError("no params found for policy binding with `Deny` parameterNotFoundAction")
    return found


def _labels(tree: Tree) -> Mapping[str, str]:
    metadata = tree.get("metadata")
    given = metadata.get("labels") if isinstance(metadata, Mapping) else None
    return given if isinstance(given, Mapping) else {}
