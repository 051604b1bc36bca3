"""The validatingadmissionpolicy-status controller: says in a policy's status where expressions misread their objects.

Expressions are compiled again with the types that the matched kinds really have, as OpenAPI publishes them; what does
not fit is a warning and no more (KEP-3488, type checking).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

import msgspec

from keelback.admission.expressions import Scope, compile_text, variables_of
from keelback.api.admissionregistration_v1 import (
    ExpressionWarning,
    NamedRuleWithOperations,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicySpec,
)
from keelback.apimachinery import errors
from keelback.cel import schemas
from keelback.cel.types import DYN, Type
from keelback.client import MergePatch
from keelback.reconcile.context import Context
from keelback.reconcile.result import DONE, Result

MOST_TYPES: Final = 10
_COMPILATION: Final = "compilation failed: "

Document = Mapping[str, Any]


class GroupVersionKind(NamedTuple):
    """A kind, in the order in which warnings name several."""

    group: str
    version: str
    kind: str

    def __str__(self) -> str:
        """As Go prints it: `apps/v1, Kind=Deployment`."""
        return f"{self.group}/{self.version}, Kind={self.kind}"


@dataclass(frozen=True, slots=True)
class ValidatingAdmissionPolicyStatusReconciler:
    """Checks every policy once for each of its generations."""

    context: Context
    name: ClassVar = "validatingadmissionpolicy-status-controller"
    role: ClassVar = "validatingadmissionpolicy-status-controller"
    component: ClassVar = "validatingadmissionpolicy-status-controller"
    kind: ClassVar = ValidatingAdmissionPolicy
    owns: ClassVar = ()

    async def reconcile(self, policy: ValidatingAdmissionPolicy) -> Result:
        generation = policy.metadata.generation
        if generation <= policy.status.observed_generation:
            return DONE
        documents = {
            wanted: document
            for wanted in group_versions(policy.spec)
            if (document := await self._document(*wanted)) is not None
        }
        found = [{"fieldRef": one.field_ref, "warning": one.warning} for one in warnings(policy.spec, documents)]
        status = {"observedGeneration": generation, "typeChecking": {"expressionWarnings": found or None}}
        patch = MergePatch({"metadata": {"uid": policy.metadata.uid}, "status": status})
        await self.context.client.patch(ValidatingAdmissionPolicy, policy.metadata.name, "", patch, "status")
        return DONE

    async def _document(self, group: str, version: str) -> Document | None:
        """What OpenAPI says of a group version; None if it is not served."""
        path = f"/openapi/v3/apis/{group}/{version}" if group else f"/openapi/v3/api/{version}"
        try:
            response = await self.context.client.request("GET", path)
        except errors.NotFound:
            return None
        document: Document = msgspec.json.decode(response.content())
        return document


def group_versions(spec: ValidatingAdmissionPolicySpec) -> Sequence[tuple[str, str]]:
    """The group versions whose types a policy may see: those its rules and its parameters name without wildcards."""
    found: dict[tuple[str, str], None] = {}
    for rule in _rules(spec):
        for group in rule.api_groups:
            for version in rule.api_versions:
                found[group, version] = None
    if spec.param_kind is not None:
        group, _, version = spec.param_kind.api_version.rpartition("/")
        found[group, version] = None
    return tuple(found)


def warnings(
    spec: ValidatingAdmissionPolicySpec, documents: Mapping[tuple[str, str], Document]
) -> Sequence[ExpressionWarning]:
    """Where the expressions of a policy do not fit the types of its objects."""
    types: dict[GroupVersionKind, Type] = {}
    for kind in kinds(spec, documents):
        seen = type_of(kind, documents)
        if seen is not None:
            types[kind] = seen
    params: Type | None = None
    if spec.param_kind is not None:
        group, _, version = spec.param_kind.api_version.rpartition("/")
        params = type_of(GroupVersionKind(group, version, spec.param_kind.kind), documents)
    found: list[ExpressionWarning] = []
    for index, validation in enumerate(spec.validations):
        for field, text in (
            ("expression", validation.expression),
            ("messageExpression", validation.message_expression),
        ):
            warning = _warning(text, spec, types, params) if text else ""
            if warning:
                found.append(ExpressionWarning(field_ref=f"spec.validations[{index}].{field}", warning=warning))
    return found


def _warning(
    text: str, spec: ValidatingAdmissionPolicySpec, types: Mapping[GroupVersionKind, Type], params: Type | None
) -> str:
    """All that is wrong with one expression, kind by kind."""
    said = []
    for kind, seen in types.items():
        scope = Scope(has_params=params is not None, objects=seen, params=DYN if params is None else params)
        variables = variables_of(((one.name, one.expression) for one in spec.variables), scope)
        problem = compile_text(text, scope, (), variables.types()).problem
        if problem:
            said.append(f"{kind}: {problem.removeprefix(_COMPILATION)}\n")
    return "\n".join(said)


def kinds(
    spec: ValidatingAdmissionPolicySpec, documents: Mapping[tuple[str, str], Document]
) -> Sequence[GroupVersionKind]:
    """The kinds a policy's rules name, at most `MOST_TYPES` of one rule; wildcards and subresources name none."""
    found: set[GroupVersionKind] = set()
    for rule in _rules(spec):
        matched = [
            kind
            for group in sorted(rule.api_groups)
            for version in sorted(rule.api_versions)
            for resource in sorted(rule.resources)
            if "*" not in resource and "/" not in resource
            for kind in _kind_of(resource, documents.get((group, version)))
        ]
        found.update(matched[:MOST_TYPES])
        if len(matched) >= MOST_TYPES:
            break
    return sorted(found)


def _rules(spec: ValidatingAdmissionPolicySpec) -> Iterator[NamedRuleWithOperations]:
    """The rules that say without wildcards of which group versions they are."""
    for rule in spec.match_constraints.resource_rules if spec.match_constraints is not None else ():
        if not any("*" in one for one in (*rule.api_groups, *rule.api_versions)):
            yield rule


def _kind_of(resource: str, document: Document | None) -> Iterator[GroupVersionKind]:
    """The kind that is created at a resource's path."""
    for path, operations in (document or {}).get("paths", {}).items():
        if path.rpartition("/")[2] != resource or "{name}" in path:
            continue
        for method in ("post", "get"):
            kind = operations.get(method, {}).get("x-kubernetes-group-version-kind")
            if kind:
                yield GroupVersionKind(kind["group"], kind["version"], kind["kind"])
                return


def type_of(kind: GroupVersionKind, documents: Mapping[tuple[str, str], Document]) -> Type | None:
    """What expressions see of a kind; None if it is not published, or contains itself."""
    document = documents.get((kind.group, kind.version))
    if document is None:
        return None
    known: Mapping[str, Any] = document.get("components", {}).get("schemas", {})
    for name, schema in known.items():
        if any(_is_kind(one, kind) for one in schema.get("x-kubernetes-group-version-kind") or ()):
            try:
                resolved = _resolved(schema, known, (name,))
            except RecursionError:
                return None
            declared = schemas.declared(resolved, kind.kind, is_resource=True, takes_keywords=True)
            return None if declared is None else declared.type
    return None


def _is_kind(given: Mapping[str, str], kind: GroupVersionKind) -> bool:
    return (given.get("group"), given.get("version"), given.get("kind")) == kind


def _resolved(schema: Mapping[str, Any], known: Mapping[str, Any], within: tuple[str, ...]) -> dict[str, Any]:
    """The schema with what it refers to in place. Raises RecursionError if it comes to itself."""
    reference = _reference(schema)
    if reference is not None:
        if reference in within:
            raise RecursionError(reference)
        return _resolved(known.get(reference, {}), known, (*within, reference))
    made = dict(schema)
    if made.get("format") == "int-or-string":
        made["x-kubernetes-int-or-string"] = True
    properties = made.get("properties")
    if isinstance(properties, Mapping):
        made["properties"] = {name: _resolved(one, known, within) for name, one in properties.items()}
    for member in ("items", "additionalProperties"):
        inner = made.get(member)
        if isinstance(inner, Mapping):
            made[member] = _resolved(inner, known, within)
    return made


def _reference(schema: Mapping[str, Any]) -> str | None:
    """The name a schema refers to. A reference that has a description of its own stands in an allOf."""
    given = schema.get("$ref")
    if isinstance(given, str):
        return given.rpartition("/")[2]
    return next((name for one in schema.get("allOf") or () if (name := _reference(one)) is not None), None)
