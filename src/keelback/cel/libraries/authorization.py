"""Kubernetes' `authz` and `authzSelectors` libraries: asking, within an expression, who may do what.

Who decides comes in from outside as a function that answers at once: an `authorizer` variable holds it. This library
only gathers what is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final, TypeAlias, final

from keelback.apimachinery import names
from keelback.cel.declarations import CallEstimate, Library, Operand, function, member
from keelback.cel.errors import EvaluationError
from keelback.cel.estimates import Estimate, exactly
from keelback.cel.libraries import costs
from keelback.cel.types import BOOL, STRING, Type, opaque
from keelback.cel.values import OpaqueValue, Value

AUTHORIZER = opaque("kubernetes.authorization.Authorizer")
PATH_CHECK = opaque("kubernetes.authorization.PathCheck")
GROUP_CHECK = opaque("kubernetes.authorization.GroupCheck")
RESOURCE_CHECK = opaque("kubernetes.authorization.ResourceCheck")
DECISION = opaque("kubernetes.authorization.Decision")


@dataclass(frozen=True, slots=True)
class AccessCheck:
    """One question: may the user of the request, or a service account, do this to a resource or to a path?"""

    verb: str = ""
    path: str = ""
    """What is asked for if it is no resource."""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    """As it is written: an authorizer may leave one that does not parse out of account, but must not fail."""
    label_selector: str = ""
    service_account: tuple[str, str] | None = None
    """Namespace and name, if it is not about the user who sent the request."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer. `error` is what kept the authorizer from knowing, if anything did."""

    is_allowed: bool
    reason: str = ""
    error: str | None = None


Decide: TypeAlias = Callable[[AccessCheck], Verdict]


@final
@dataclass(frozen=True, slots=True)
class AuthorizerValue(OpaqueValue):
    """What the variable `authorizer` holds."""

    cel_type: ClassVar[Type] = AUTHORIZER
    decide: Decide
    service_account: tuple[str, str] | None = None


@final
@dataclass(frozen=True, slots=True)
class PathCheckValue(OpaqueValue):
    """A question about a path, but for the verb."""

    cel_type: ClassVar[Type] = PATH_CHECK
    decide: Decide
    check: AccessCheck


@final
@dataclass(frozen=True, slots=True)
class GroupCheckValue(OpaqueValue):
    """A question about an API group, but for the resource."""

    cel_type: ClassVar[Type] = GROUP_CHECK
    decide: Decide
    check: AccessCheck


@final
@dataclass(frozen=True, slots=True)
class ResourceCheckValue(OpaqueValue):
    """A question about a resource, but for the verb; the variable `authorizer.requestResource` holds one."""

    cel_type: ClassVar[Type] = RESOURCE_CHECK
    decide: Decide
    check: AccessCheck


@final
@dataclass(frozen=True, slots=True)
class DecisionValue(OpaqueValue):
    """A question answered."""

    cel_type: ClassVar[Type] = DECISION
    verdict: Verdict


def _path(authorizer: AuthorizerValue, path: str) -> PathCheckValue:
    if not path.strip():
        raise EvaluationError("path must not be empty")
    return PathCheckValue(authorizer.decide, AccessCheck(path=path, service_account=authorizer.service_account))


def _group(authorizer: AuthorizerValue, group: str) -> GroupCheckValue:
    return GroupCheckValue(authorizer.decide, AccessCheck(group=group, service_account=authorizer.service_account))


def _service_account(authorizer: AuthorizerValue, namespace: str, name: str) -> AuthorizerValue:
    if names.name_is_dns_subdomain(name):
        raise EvaluationError("Invalid service account name")
    if names.name_is_dns_label(namespace):
        raise EvaluationError("Invalid service account namespace")
    return AuthorizerValue(authorizer.decide, (namespace, name))


def _resource(group: GroupCheckValue, resource: str) -> ResourceCheckValue:
    if not resource.strip():
        raise EvaluationError("resource must not be empty")
    return ResourceCheckValue(group.decide, replace(group.check, resource=resource))


def _subresource(check: ResourceCheckValue, subresource: str) -> ResourceCheckValue:
    return ResourceCheckValue(check.decide, replace(check.check, subresource=subresource))


def _namespace(check: ResourceCheckValue, namespace: str) -> ResourceCheckValue:
    return ResourceCheckValue(check.decide, replace(check.check, namespace=namespace))


def _name(check: ResourceCheckValue, name: str) -> ResourceCheckValue:
    return ResourceCheckValue(check.decide, replace(check.check, name=name))


def _field_selector(check: ResourceCheckValue, selector: str) -> ResourceCheckValue:
    return ResourceCheckValue(check.decide, replace(check.check, field_selector=selector))


def _label_selector(check: ResourceCheckValue, selector: str) -> ResourceCheckValue:
    return ResourceCheckValue(check.decide, replace(check.check, label_selector=selector))


def _check(check: PathCheckValue | ResourceCheckValue, verb: str) -> DecisionValue:
    return DecisionValue(check.decide(replace(check.check, verb=verb)))


def _allowed(decision: DecisionValue) -> bool:
    return decision.verdict.is_allowed


def _reason(decision: DecisionValue) -> str:
    return decision.verdict.reason


def _errored(decision: DecisionValue) -> bool:
    return decision.verdict.error is not None


def _error(decision: DecisionValue) -> str:
    return decision.verdict.error or ""


CHECK_COST: Final = 350_000
"""Two checks are all that one expression can afford."""
_CHECK = costs.fixed(CHECK_COST)


def _selector_cost(length: Estimate) -> Estimate:
    """The text is read; at worst each second character begins a requirement, with a list of values."""
    requirements = length.scaled(0.5).scaled(costs.LIST_CREATION + costs.STRUCT_CREATION)
    return exactly(costs.LIST_CREATION).plus(length.scaled(costs.STRING_TRAVERSAL)).plus(requirements)


def _selector_runtime(arguments: Sequence[Value], _result: Value) -> int:
    return _selector_cost(exactly(len(arguments[1]))).most


def _selector_static(operands: Sequence[Operand]) -> CallEstimate:
    return CallEstimate(_selector_cost(operands[1].size))


_SELECTOR = costs.Hooks(runtime_cost=_selector_runtime, static_cost=_selector_static)
_NAMED = (RESOURCE_CHECK, STRING)

LIBRARY = Library(
    "kubernetes.authz",
    functions=(
        function("path", member("authorizer_path", (AUTHORIZER, STRING), PATH_CHECK, _path, **costs.NOMINAL)),
        function("group", member("authorizer_group", (AUTHORIZER, STRING), GROUP_CHECK, _group, **costs.NOMINAL)),
        function(
            "serviceAccount",
            member(
                "authorizer_serviceaccount",
                (AUTHORIZER, STRING, STRING),
                AUTHORIZER,
                _service_account,
                **costs.NOMINAL,
            ),
        ),
        function(
            "resource",
            member("groupcheck_resource", (GROUP_CHECK, STRING), RESOURCE_CHECK, _resource, **costs.NOMINAL),
        ),
        function(
            "subresource",
            member("resourcecheck_subresource", _NAMED, RESOURCE_CHECK, _subresource, **costs.NOMINAL),
        ),
        function("namespace", member("resourcecheck_namespace", _NAMED, RESOURCE_CHECK, _namespace, **costs.NOMINAL)),
        function("name", member("resourcecheck_name", _NAMED, RESOURCE_CHECK, _name, **costs.NOMINAL)),
        function(
            "check",
            member("pathcheck_check", (PATH_CHECK, STRING), DECISION, _check, **_CHECK),
            member("resourcecheck_check", _NAMED, DECISION, _check, **_CHECK),
        ),
        function("allowed", member("decision_allowed", (DECISION,), BOOL, _allowed, **costs.NOMINAL)),
        function("reason", member("decision_reason", (DECISION,), STRING, _reason, **costs.NOMINAL)),
        function("errored", member("decision_errored", (DECISION,), BOOL, _errored, **costs.NOMINAL)),
        function("error", member("decision_error", (DECISION,), STRING, _error, **costs.NOMINAL)),
    ),
)

SELECTORS_LIBRARY = Library(
    "kubernetes.authzSelectors",
    functions=(
        function(
            "fieldSelector",
            member("authorizer_fieldselector", _NAMED, RESOURCE_CHECK, _field_selector, **_SELECTOR),
        ),
        function(
            "labelSelector",
            member("authorizer_labelselector", _NAMED, RESOURCE_CHECK, _label_selector, **_SELECTOR),
        ),
    ),
)
