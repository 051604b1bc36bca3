"""What a review of access may ask: one thing, of somebody, and nothing in its metadata."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from keelback.api.authorization_v1 import (
    FieldSelectorAttributes,
    LabelSelectorAttributes,
    LocalSubjectAccessReview,
    NonResourceAttributes,
    ResourceAttributes,
    SelfSubjectAccessReview,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
)
from keelback.apimachinery import errors, names
from keelback.apimachinery.errors import FieldError
from keelback.apimachinery.meta import (
    FieldSelectorRequirement,
    LabelSelectorRequirement,
    ObjectMeta,
    StatusCause,
    StatusDetails,
    replace,
)

_GROUP = "authorization.k8s.io"
_NOTHING = ObjectMeta()


def check_access(review: SubjectAccessReview) -> None:
    """Raises Invalid for a review that asks nothing, or too much at once."""
    _raise([*_spec(review.spec), *_metadata(review.metadata, review.metadata, "must be empty")])


def check_local_access(namespace: str, review: LocalSubjectAccessReview) -> None:
    """The same for a namespace's own. Raises BadRequest outside of any."""
    spec, metadata = review.spec, review.metadata
    problems = list(_spec(spec))
    problems += _metadata(metadata, replace(metadata, namespace=""), "must be empty except for namespace")
    resource = spec.resource_attributes
    if resource is not None and resource.namespace != (metadata.namespace or namespace):
        problems.append(
            errors.invalid("spec.resourceAttributes.namespace", resource.namespace, "must match metadata.namespace")
        )
    if spec.non_resource_attributes is not None:
        shown = _printable(spec.non_resource_attributes)
        problems.append(errors.invalid("spec.nonResourceAttributes", shown, "disallowed on this kind of request"))
    _raise(problems)
    if not namespace:
        raise errors.BadRequest("namespace is required on this type: ")


def check_own_access(review: SelfSubjectAccessReview) -> None:
    """The same for the caller's own: who asks is known."""
    spec = review.spec
    problems = [*_question(spec.resource_attributes, spec.non_resource_attributes)]
    problems += _resource(spec.resource_attributes)
    problems += _metadata(review.metadata, review.metadata, "must be empty")
    _raise(problems)


def _spec(spec: SubjectAccessReviewSpec) -> Iterator[FieldError]:
    yield from _question(spec.resource_attributes, spec.non_resource_attributes)
    if not spec.user and not spec.groups:
        yield errors.invalid("spec.user", spec.user, "at least one of user or group must be specified")
    yield from _resource(spec.resource_attributes)


def _question(resource: ResourceAttributes | None, path: NonResourceAttributes | None) -> Iterator[FieldError]:
    if resource is not None and path is not None:
        why = "cannot be specified in combination with resourceAttributes"
        yield errors.invalid("spec.nonResourceAttributes", _printable(path), why)
    elif resource is None and path is None:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        yield errors.invalid("spec.resourceAttributes", None, why)


def _metadata(metadata: ObjectMeta, checked: ObjectMeta, why: str) -> Iterator[FieldError]:
    """The server's own notes on who wrote it do not count."""
    if replace(checked, managed_fields=()) != _NOTHING:
        yield errors.invalid("metadata", metadata, why)


def _resource(resource: ResourceAttributes | None) -> Iterator[FieldError]:
    if resource is None:
        return
    for field, selector in (("fieldSelector", resource.field_selector), ("labelSelector", resource.label_selector)):
        if selector is not None:
            yield from _selector(selector, f"spec.resourceAttributes.{field}")


def _selector(selector: FieldSelectorAttributes | LabelSelectorAttributes, path: str) -> Iterator[FieldError]:
    if selector.raw_selector and selector.requirements:
        why = "may not specified at the same time as requirements"
        yield errors.invalid(f"{path}.rawSelector", selector.raw_selector, why)
    if not selector.raw_selector and not selector.requirements:
        why = f"when {path} is specified, requirements or rawSelector is required"
        yield errors.required(f"{path}.requirements", why)
    requirements: Sequence[FieldSelectorRequirement | LabelSelectorRequirement] = selector.requirements
    for index, requirement in enumerate(requirements):
        yield from _requirement(requirement, f"{path}.requirements[{index}]")


def _requirement(requirement: FieldSelectorRequirement | LabelSelectorRequirement, path: str) -> Iterator[FieldError]:
    """Operators that this server does not know are let through: a newer client may know them."""
    is_of_labels = isinstance(requirement, LabelSelectorRequirement)
    if not is_of_labels and not requirement.key:
        yield errors.required(f"{path}.key", "must be specified")
    if requirement.operator in ("In", "NotIn") and not requirement.values:
        yield errors.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    if requirement.operator in ("Exists", "DoesNotExist") and requirement.values:
        why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        yield errors.forbidden(f"{path}.values", why)
    if is_of_labels:
        for complaint in names.qualified_name(requirement.key):
            yield errors.invalid(f"{path}.key", requirement.key, complaint)
        for index, value in enumerate(requirement.values):
            for complaint in names.label_value(value):
                yield errors.invalid(f"{path}.values[{index}]", value, complaint)


def _printable(attributes: NonResourceAttributes) -> dict[str, str]:
    """As upstream prints the value: by its internal field names."""
    return {"Path": attributes.path, "Verb": attributes.verb}


def _raise(problems: Sequence[FieldError]) -> None:
    """Upstream words these errors without a kind."""
    if not problems:
        return
    listed = [f"{one.field}: {one.body}" for one in problems]
    text = listed[0] if len(listed) == 1 else f"[{', '.join(listed)}]"
    causes = tuple(StatusCause(reason=one.type, message=one.body, field=one.field) for one in problems)
    raise errors.Invalid(f'.{_GROUP} "" is invalid: {text}', details=StatusDetails(group=_GROUP, causes=causes))
