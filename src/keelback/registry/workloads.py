"""What the kinds that make pods from a template share: columns, and the rules for selectors, templates and counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from keelback.api.core_v1 import PodTemplateSpec
from keelback.apimachinery import labels
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_supported, required
from keelback.apimachinery.meta import LabelSelector
from keelback.registry import cells, label_selectors, pod_templates
from keelback.registry.cells import wide
from keelback.registry.strategy import Column

CONTAINERS = wide(
    "Containers", lambda obj, _now: cells.container_names(obj.spec.template), "Names of each container in the template."
)
IMAGES = wide(
    "Images", lambda obj, _now: cells.images(obj.spec.template), "Images referenced by each container in the template."
)
SELECTOR = wide("Selector", lambda obj, _now: cells.selector(obj.spec.selector))


def number(name: str, value: Any) -> Column:
    """A column of whole numbers; `value` takes the object alone."""
    return Column(name, lambda obj, _now: value(obj), type="integer")


def text(name: str, value: Any) -> Column:
    """A column of text; `value` takes the object alone."""
    return Column(name, lambda obj, _now: value(obj))


_NOT_NEGATIVE: Final = "must be greater than or equal to 0"
IMMUTABLE: Final = "field is immutable"


def twice(problems: Iterable[FieldError]) -> Iterator[FieldError]:
    """What is wrong with the new object of an update, where upstream looks at it as such and again as an update."""
    found = list(problems)
    yield from found
    yield from found


def validate_counts(*counts: tuple[str, int | None]) -> Iterator[FieldError]:
    """The complaints about numbers below nothing; each comes with its path."""
    for path, count in counts:
        if count is not None and count < 0:
            yield invalid(path, count, _NOT_NEGATIVE)


def validate_selector(selector: LabelSelector | None, word: str) -> Iterator[FieldError]:
    """Everything wrong with `spec.selector`. `word` is what upstream calls the kind when the selector is empty."""
    if selector is None:
        yield required("spec.selector")
        return
    yield from label_selectors.validate(selector, "spec.selector")
    yield from validate_not_empty(selector, word)


def validate_not_empty(selector: LabelSelector | None, word: str) -> Iterator[FieldError]:
    """The complaint about a selector that picks everything."""
    if label_selectors.is_empty(selector):
        yield invalid("spec.selector", selector, f"empty selector is invalid for {word}")


def validate_template(template: PodTemplateSpec, selector: LabelSelector | None, word: str) -> Iterator[FieldError]:
    """Everything wrong with the template of pods that run for good; `word` names the kind where upstream does."""
    try:
        labels.from_label_selector(selector)
    except labels.LabelSelectorError:
        yield invalid("spec.selector", selector, "invalid label selector")
        return
    yield from validate_selected(template, selector)
    yield from pod_templates.validate(template, "spec.template")
    yield from validate_long_running(template, word)


def validate_long_running(template: PodTemplateSpec, word: str) -> Iterator[FieldError]:
    """The complaints about pods that end of themselves, where others shall always be there."""
    if template.spec.restart_policy != "Always":
        yield not_supported("spec.template.spec.restartPolicy", template.spec.restart_policy, ("Always",))
    if template.spec.active_deadline_seconds is not None:
        yield forbidden("spec.template.spec.activeDeadlineSeconds", f"activeDeadlineSeconds in {word} is not Supported")


def validate_selected(template: PodTemplateSpec, selector: LabelSelector | None) -> Iterator[FieldError]:
    """The complaint about a selector that does not pick the pods of its own template."""
    given: Mapping[str, str] = template.metadata.labels if template.metadata else {}
    # No selector picks nothing, so that upstream says both: it is missing, and it does not match.
    try:
        matches = labels.from_label_selector(selector).matches(given)
    except labels.LabelSelectorError:
        return
    if not matches:
        yield invalid(
            "spec.template.metadata.labels", dict(given) or None, "`selector` does not match template `labels`"
        )


def validate_status_counts(replicas: int, *counts: tuple[str, int | None]) -> Iterator[FieldError]:
    """The complaints about counts in a status that are below nothing or, for kinds of replicas, above them all.

    `observedGeneration`, `collisionCount` and the counts of pods on their way out are not among the replicas.
    """
    yield from validate_counts(("status.replicas", replicas), *((f"status.{field}", count) for field, count in counts))
    for field, count in counts:
        if field not in _NOT_OF_REPLICAS and count is not None and count > replicas:
            yield invalid(f"status.{field}", count, "cannot be greater than status.replicas")


_NOT_OF_REPLICAS: Final = ("collisionCount", "observedGeneration", "terminatingReplicas", "unavailableReplicas")


def validate_collisions(new: int | None, old: int | None) -> Iterator[FieldError]:
    """The complaint about a count of collisions that goes back: a revision would get the name of another."""
    if old is not None and (new is None or new < old):
        yield invalid("status.collisionCount", new or 0, "cannot be decremented")


def validate_same_selector(new: LabelSelector | None, old: LabelSelector | None) -> Iterator[FieldError]:
    """The complaint about another selector: it would leave the pods of the old one behind."""
    if new != old:
        yield invalid("spec.selector", new, IMMUTABLE)
