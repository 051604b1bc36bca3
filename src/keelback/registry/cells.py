"""What the columns of several kinds share: how containers, images, selectors and moments are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from keelback.api.core_v1 import PodTemplateSpec
from keelback.apimachinery import labels
from keelback.apimachinery.meta import LabelSelector
from keelback.registry.strategy import Column, human_duration

NONE = "<none>"
UNKNOWN = "<unknown>"


def since(moment: datetime | None, now: datetime) -> str:
    """How long ago something was, as kubectl words it."""
    return UNKNOWN if moment is None else human_duration((now - moment).total_seconds())


def label_set(values: Mapping[str, str]) -> str:
    """A map of labels as `a=b,c=d`."""
    return ",".join(f"{key}={value}" for key, value in sorted(values.items())) or NONE


def selector(wanted: LabelSelector | None) -> str:
    """A label selector in its text form."""
    if wanted is None:
        return NONE
    try:
        return str(labels.from_label_selector(wanted)) or NONE
    except labels.LabelSelectorError:
        return "<error>"


def container_names(template: PodTemplateSpec | None) -> str:
    """The names of a template's containers."""
    return "" if template is None else ",".join(one.name for one in template.spec.containers)


def images(template: PodTemplateSpec | None) -> str:
    """The images of a template's containers."""
    return "" if template is None else ",".join(one.image for one in template.spec.containers)


def moment(value: datetime | None) -> str:
    """A moment as RFC 3339."""
    return NONE if value is None else value.strftime("%Y-%m-%dT%H:%M:%SZ")


def first_and_count(values: Sequence[str], shown: int = 3) -> str:
    """The first few values and how many more there are."""
    if not values:
        return NONE
    text = ",".join(values[:shown])
    return f"{text} + {len(values) - shown} more..." if len(values) > shown else text


def joined(values: Iterable[Any]) -> str:
    """The values with commas between, `<none>` for none."""
    return ",".join(str(one) for one in values) or NONE


def wide(name: str, value: Any, description: str = "") -> Column:
    """A column that only `-o wide` shows."""
    return Column(name, value, priority=1, description=description)


CREATED_AT = Column(
    "Created At",
    lambda obj, _now: moment(obj.metadata.creation_timestamp),
    type="date",
    description="CreationTimestamp is a timestamp representing the server time when this object was created.",
)
"""The only column of a kind for which upstream has no printer."""
