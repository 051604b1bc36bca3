"""Evaluating the expressions of policies and match conditions on one request, within a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec

from keelback.admission.expressions import Compiled
from keelback.admission.plugin import AdmissionRequest, Question, Rules
from keelback.api.core_v1 import Namespace
from keelback.apimachinery import codecs
from keelback.apimachinery.meta import Kind
from keelback.cel.environment import Budget, Patience
from keelback.cel.errors import EvaluationError
from keelback.cel.libraries.authorization import (
    CHECK_COST,
    AccessCheck,
    AuthorizerValue,
    ResourceCheckValue,
    Verdict,
)
from keelback.cel.values import Timestamp, Value
from keelback.component.evaluations import Evaluations, size_bytes

ResultT = TypeVar("ResultT")

RUNTIME_BUDGET: Final = 10_000_000
"""What all expressions of a kind may cost together, for one policy, binding and parameter."""
_OF_ANY_SIZE: Final = ("object", "oldObject", "params")
MATCH_CONDITIONS_BUDGET: Final = RUNTIME_BUDGET // 4
OUT_OF_BUDGET: Final = "validation failed due to running out of cost budget, no further validation rules will be run"


class OutOfBudgetError(Exception):
    """The expressions did more than they may all together."""

    def __init__(self) -> None:
        super().__init__(OUT_OF_BUDGET)


class ExpressionFailure(Exception):
    """An expression does not compile, or failed; the text says which and why."""


class Evaluation:
    """One group of expressions on one request: the variables are computed when first asked for, once."""

    def __init__(self, values: Mapping[str, Value], variables: Mapping[str, Compiled], budget: Budget) -> None:
        self._budget = budget
        self._values: dict[str, Value] = dict(values)
        self._values["variables"] = _Lazy(variables, self)

    def value(self, compiled: Compiled) -> Value:
        """What an expression gives. Raises ExpressionFailure; OutOfBudgetError ends everything."""
        if compiled.program is None:
            raise ExpressionFailure(f"compilation error: {compiled.problem}")
        try:
            value = compiled.program.evaluate(self._values, self._budget)
        except EvaluationError as error:
            self.check_budget()
            raise ExpressionFailure(f"expression '{compiled.text}' resulted in error: {error.message}") from error
        self.check_budget()
        return value

    def check_budget(self) -> None:
        """Raise OutOfBudgetError if there is nothing left."""
        if self._budget.remaining < 0:
            raise OutOfBudgetError

    def variable(self, name: str, compiled: Compiled) -> Value:
        """The value of a variable, for an expression that asks for it. Raises EvaluationError."""
        if compiled.program is None:
            raise EvaluationError(f'composited variable "{name}" fails to compile: {compiled.problem}')
        try:
            return compiled.program.evaluate(self._values, self._budget)
        except EvaluationError as error:
            raise EvaluationError(f'composited variable "{name}" fails to evaluate: {error.message}') from error


class _Lazy(dict[str, Any]):
    """The variables, each computed when it is first asked for."""

    def __init__(self, variables: Mapping[str, Compiled], evaluation: Evaluation) -> None:
        super().__init__()
        self._variables = variables
        self._evaluation = evaluation

    def __missing__(self, name: str) -> Value:
        compiled = self._variables.get(name)
        if compiled is None:
            raise KeyError(name)
        value = self[name] = self._evaluation.variable(name, compiled)
        return value

    def __contains__(self, name: object) -> bool:
        return name in self._variables

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self._variables else default

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


def tree_of(obj: Any) -> dict[str, Any] | None:
    """An object as expressions see it."""
    return None if obj is None else codecs.to_tree(obj)


def request_values(
    request: AdmissionRequest, kind: Kind, obj: Mapping[str, Any] | None, old: Mapping[str, Any] | None
) -> dict[str, Value]:
    """The variables that every expression has, for a request seen in the version of a resource it was matched by."""
    return {
        "object": obj,
        "oldObject": old,
        "request": request_tree(request, kind),
        "namespaceObject": None,
        "params": None,
    }


def request_tree(request: AdmissionRequest, kind: Kind) -> dict[str, Any]:
    """The AdmissionRequest (admission.k8s.io/v1) without its uid and objects."""
    some = request.obj if request.obj is not None else request.old_obj
    shown: Kind = getattr(some, "__kind__", request.kind)
    seen = kind if shown is request.kind else shown
    user = request.user
    user_info: dict[str, Any] = {"username": user.name}
    if user.uid:
        user_info["uid"] = user.uid
    if user.groups:
        user_info["groups"] = list(user.groups)
    if user.extra:
        user_info["extra"] = {key: list(values) for key, values in user.extra.items()}
    tree: dict[str, Any] = {"kind": _kind_tree(seen), "resource": _resource_tree(kind)}
    if request.subresource:
        tree["subResource"] = request.subresource
    tree |= {"requestKind": _kind_tree(shown), "requestResource": _resource_tree(request.kind)}
    if request.subresource:
        tree["requestSubResource"] = request.subresource
    if request.name:
        tree["name"] = request.name
    if request.namespace_seen:
        tree["namespace"] = request.namespace_seen
    tree |= {
        "operation": request.operation.value,
        "userInfo": user_info,
        "dryRun": request.dry_run,
        "options": request.options(),
    }
    return tree


def _kind_tree(kind: Kind) -> dict[str, str]:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _resource_tree(kind: Kind) -> dict[str, str]:
    return {"group": kind.group, "version": kind.version, "resource": kind.plural}


_NAMESPACE_METADATA: Final = (
    "name",
    "generateName",
    "namespace",
    "labels",
    "annotations",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
    "finalizers",
)
_TIMES: Final = ("creationTimestamp", "deletionTimestamp")


def namespace_tree(namespace: Namespace | None) -> dict[str, Any] | None:
    """What expressions see of the request's namespace (`namespaceObject`)."""
    if namespace is None:
        return None
    tree = codecs.to_tree(namespace)
    metadata = tree.get("metadata", {})
    shown = {name: metadata[name] for name in _NAMESPACE_METADATA if name in metadata}
    shown |= {name: timestamp(metadata[name]) for name in _TIMES if metadata.get(name)}
    if "uid" in metadata:
        shown["UID"] = metadata["uid"]
    status = dict(tree.get("status") or {})
    if "conditions" in status:
        status["conditions"] = [
            {**one, "lastTransitionTime": timestamp(one["lastTransitionTime"])}
            if one.get("lastTransitionTime")
            else one
            for one in status["conditions"]
        ]
    return {"metadata": shown, "spec": tree.get("spec") or {}, "status": status}


def timestamp(text: str) -> Timestamp:
    """An RFC 3339 time."""
    moment = msgspec.convert(text, datetime)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return Timestamp((since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000)


class _Unanswered(Exception):
    """An expression asks for a right that nobody has looked up yet."""

    def __init__(self, check: AccessCheck) -> None:
        super().__init__()
        self.check = check


class AccessChecks:
    """The rights that the expressions of one request ask for.

    Expressions are evaluated at once, while an authorizer may have to wait. So an evaluation that asks for what is not
    known ends there, and begins anew when it is known: expressions have no effects, and can afford but few checks.
    """

    def __init__(self, request: AdmissionRequest, rules: Rules, evaluations: Evaluations) -> None:
        self._request = request
        self._rules = rules
        self._evaluations = evaluations
        self._sizes: dict[int, tuple[Any, int]] = {}
        self._known: dict[AccessCheck, Verdict] = {}
        kind = request.kind
        own = AccessCheck(
            group=kind.group,
            resource=kind.plural,
            subresource=request.subresource,
            namespace=request.namespace_seen,
            name=request.name,
        )
        self.values: Mapping[str, Value] = {
            "authorizer": AuthorizerValue(self._decide),
            "authorizer.requestResource": ResourceCheckValue(self._decide, own),
        }
        """`authorizer`, and `authorizer.requestResource`: a check of what the request itself is about."""

    def _decide(self, check: AccessCheck) -> Verdict:
        known = self._known.get(check)
        if known is None:
            raise _Unanswered(check)
        return known

    async def answering(self, evaluate: Callable[[Patience], ResultT], given: Mapping[str, Value]) -> ResultT:
        """What an evaluation of these variables gives, once all it asks for is known. It may be called several times.

        Raises what it raises, and Timeout.
        """
        size = sum(map(self._size_bytes, map(given.get, _OF_ANY_SIZE)))
        while True:
            try:
                # A check is dear because somebody else may have to be asked, which happens between the rounds.
                idle_cost = CHECK_COST * len(self._known)
                return await self._evaluations.run(evaluate, size, idle_cost=idle_cost)
            except _Unanswered as unanswered:
                check = unanswered.check
            self._known[check] = Verdict(*await self._rules(_question(self._request, check)))

    def _size_bytes(self, tree: Any) -> int:
        if tree is None:
            return 0
        known = self._sizes.get(id(tree))
        if known is None:
            known = self._sizes[id(tree)] = tree, size_bytes(tree)
        return known[1]


class _ServiceAccount:
    """The user that stands for a service account."""

    def __init__(self, namespace: str, name: str) -> None:
        self.name = f"system:serviceaccount:{namespace}:{name}"
        self.uid = ""
        self.groups: tuple[str, ...] = (
            "system:serviceaccounts",
            f"system:serviceaccounts:{namespace}",
            "system:authenticated",
        )
        self.extra: Mapping[str, tuple[str, ...]] = {}


def _question(request: AdmissionRequest, check: AccessCheck) -> Question:
    user = request.user if check.service_account is None else _ServiceAccount(*check.service_account)
    return Question(
        user=user,
        verb=check.verb,
        group=check.group,
        resource=check.resource,
        name=check.name,
        namespace=check.namespace,
        subresource=check.subresource,
        path=check.path,
        label_selector=check.label_selector,
        field_selector=check.field_selector,
    )
