"""Stage objects of kwok.x-k8s.io/v1alpha1 as they are written, read into `stages.Stage`.

Read strictly: what is not supported is an error of the object, and nothing is left out in silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal

import msgspec
import yaml

from keelback.simulation import go_templates, stage_expressions, stage_queries
from keelback.simulation.go_templates import Template, TemplateError
from keelback.simulation.stage_queries import Query, QueryError
from keelback.simulation.stages import (
    Amount,
    Event,
    Finalizers,
    Operator,
    Patch,
    PatchType,
    Requirement,
    Stage,
    Step,
    Tree,
)
from keelback.simulation.template_functions import PLAIN

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
GROUP: Final = "kwok.x-k8s.io"
KINDS: Final = ("Pod", "Node")
FUNCTIONS: Final = (
    *PLAIN,
    *("Now", "StartTime", "Version", "NodeConditions", "NodeIP", "NodeName", "NodePort", "PodIP"),
    *("NodeIPWith", "PodIPWith"),
)
"""What templates may call; those of an object's surroundings are given by who renders them."""


class StageError(ValueError):
    """A Stage that cannot be carried out; the text says which, where, and why."""


def is_stage(tree: Tree) -> bool:
    """Whether an object is a Stage, by what it says of itself."""
    return tree.get("kind") == "Stage" and str(tree.get("apiVersion", "")).partition("/")[0] == GROUP


def read(tree: Tree) -> Stage:
    """The Stage that an object is. Raises StageError."""
    name = tree.get("metadata", {}).get("name", "") if isinstance(tree.get("metadata"), Mapping) else ""
    try:
        wire = msgspec.convert(tree, _Stage)
        return _stage(wire.metadata.name, wire.spec)
    except (msgspec.ValidationError, QueryError, TemplateError, StageError) as error:
        raise StageError(f"Stage {name or 'without a name'}: {error}") from None


class _Wire(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    pass


class _Expression(_Wire):
    expression: str


class _From(_Wire):
    expression_from: str = ""
    jq: _Expression | None = None
    cel: _Expression | None = None


class _JQRequirement(_Wire):
    key: str
    operator: Operator
    values: tuple[str, ...] = ()


class _Requirement(_Wire):
    key: str = ""
    operator: Operator | None = None
    values: tuple[str, ...] = ()
    jq: _JQRequirement | None = None
    cel: _Expression | None = None


class _Selector(_Wire):
    match_labels: Mapping[str, str] | None = None
    match_annotations: Mapping[str, str] | None = None
    match_expressions: tuple[_Requirement, ...] | None = None


class _Delay(_Wire):
    duration_milliseconds: int | None = None
    duration_from: _From | None = None
    jitter_duration_milliseconds: int | None = None
    jitter_duration_from: _From | None = None


class _Event(_Wire):
    type: Literal["Normal", "Warning"] = "Normal"
    reason: str = ""
    message: str = ""


class _Finalizer(_Wire):
    value: str = ""


class _Finalizers(_Wire):
    add: tuple[_Finalizer, ...] | None = None
    remove: tuple[_Finalizer, ...] | None = None
    empty: bool = False


class _Impersonation(_Wire):
    username: str = ""


class _Patch(_Wire):
    subresource: str = ""
    root: str = ""
    template: str = ""
    type: PatchType | None = None
    impersonation: _Impersonation | None = None


class _Next(_Wire):
    event: _Event | None = None
    finalizers: _Finalizers | None = None
    delete: bool = False
    patches: tuple[_Patch, ...] | None = None
    status_template: str = ""
    status_subresource: str | None = None
    status_patch_as: _Impersonation | None = None


class _Step(_Wire):
    event: _Event | None = None
    finalizers: _Finalizers | None = None
    delete: bool = False
    patch: _Patch | None = None


class _ResourceRef(_Wire):
    kind: str
    api_group: str = "v1"


class _Spec(_Wire):
    resource_ref: _ResourceRef
    selector: _Selector | None = None
    weight: int = 0
    weight_from: _From | None = None
    delay: _Delay | None = None
    next: _Next | None = None
    steps: tuple[_Step, ...] | None = None
    immediate_next_stage: bool | None = None


class _Metadata(msgspec.Struct, frozen=True):
    name: str


class _Stage(msgspec.Struct, frozen=True):
    metadata: _Metadata
    spec: _Spec


def read_all(text: str) -> tuple[Stage, ...]:
    """The Stages of a text of YAML documents. Raises StageError, also for an object that is none."""
    try:
        trees = [tree for tree in yaml.load_all(text, Loader=_LOADER) if tree is not None]
    except yaml.YAMLError as error:
        raise StageError(f"not YAML: {error}") from None
    for tree in trees:
        if not isinstance(tree, Mapping) or not is_stage(tree):
            kind = tree.get("kind", "") if isinstance(tree, Mapping) else tree
            raise StageError(f"not a Stage of {GROUP}: {kind!r}")
    return tuple(map(read, trees))


def _stage(name: str, spec: _Spec) -> Stage:
    if spec.resource_ref.kind not in KINDS or spec.resource_ref.api_group != "v1":
        wanted = f"{spec.resource_ref.api_group} {spec.resource_ref.kind}"
        raise StageError(f"spec.resourceRef: {wanted} has no stages here: v1 Pod and Node have")
    if spec.weight < 0:
        raise StageError(f"spec.weight: {spec.weight} is less than 0")
    selector, delay = spec.selector, spec.delay or _Delay()
    if min(delay.duration_milliseconds or 0, delay.jitter_duration_milliseconds or 0) < 0:
        raise StageError("spec.delay: a duration is less than 0")
    if (spec.next is None) == (spec.steps is None):
        raise StageError("spec: needs either next or steps")
    return Stage(
        name=name,
        kind=spec.resource_ref.kind,
        requirements=None if selector is None else tuple(map(_requirement, selector.match_expressions or ())),
        labels=(selector and selector.match_labels) or {},
        annotations=(selector and selector.match_annotations) or {},
        weight=Amount(spec.weight, _query(spec.weight_from, "number")),
        delay=None if spec.delay is None else _amount(delay.duration_milliseconds or 0, delay.duration_from),
        jitter=_amount(delay.jitter_duration_milliseconds, delay.jitter_duration_from),
        steps=tuple(_steps_of_next(spec.next)) if spec.next is not None else tuple(map(_step, spec.steps or ())),
        is_immediate=bool(spec.immediate_next_stage),
    )


def _requirement(wire: _Requirement) -> Requirement:
    if wire.cel is not None:
        if wire.key or wire.operator or wire.jq:
            raise StageError("spec.selector.matchExpressions: either cel, or a key and an operator")
        return Requirement(stage_expressions.parse(wire.cel.expression, "condition"), "In", frozenset(("true",)))
    key, operator, values = wire.key, wire.operator, wire.values
    if wire.jq is not None:
        key, operator, values = wire.jq.key, wire.jq.operator, wire.jq.values
    if not key or operator is None:
        raise StageError("spec.selector.matchExpressions: needs a key and an operator")
    if bool(values) != (operator in ("In", "NotIn")):
        raise StageError(f"spec.selector.matchExpressions: {operator} of {key}: In and NotIn have values, others none")
    return Requirement(stage_queries.parse(key), operator, frozenset(values))


def _query(wire: _From | None, purpose: Literal["number", "delay"] = "delay") -> Query | None:
    if wire is None:
        return None
    if wire.cel is not None:
        return stage_expressions.parse(wire.cel.expression, purpose)
    return stage_queries.parse(wire.expression_from if wire.jq is None else wire.jq.expression)


def _amount(plain: int | None, wire: _From | None) -> Amount | None:
    return None if plain is None and wire is None else Amount(plain, _query(wire))


def _steps_of_next(wire: _Next) -> Iterator[Step]:
    if wire.status_patch_as is not None:
        raise StageError("spec.next.statusPatchAs: pods and nodes are patched as their node")
    if wire.status_subresource not in (None, "status"):
        raise StageError(f"spec.next.statusSubresource: {wire.status_subresource!r}: of pods and nodes it is status")
    yield Step(_event(wire.event), _finalizers(wire.finalizers), wire.delete)
    for patch in wire.patches or ():
        yield Step(patch=_patch(patch))
    if wire.status_template:
        yield Step(patch=Patch(_template(wire.status_template), root="status", subresource="status"))


def _step(wire: _Step) -> Step:
    patch = None if wire.patch is None else _patch(wire.patch)
    return Step(_event(wire.event), _finalizers(wire.finalizers), wire.delete, patch)


def _event(wire: _Event | None) -> Event | None:
    return None if wire is None else Event(wire.type, wire.reason, _template(wire.message))


def _finalizers(wire: _Finalizers | None) -> Finalizers | None:
    if wire is None:
        return None
    add, remove = (tuple(one.value for one in some or ()) for some in (wire.add, wire.remove))
    return Finalizers(add, remove, wire.empty)


def _patch(wire: _Patch) -> Patch:
    if wire.impersonation is not None:
        raise StageError("impersonation: pods and nodes are patched as their node")
    return Patch(_template(wire.template), wire.type or "strategic", wire.root, wire.subresource)


def _template(text: str) -> Template:
    return go_templates.parse(text.strip(), FUNCTIONS)
