"""What a ControllerRevision holds never changes, in whatever order its fields are written."""

from __future__ import annotations

import msgspec

from keelback.api.apps_v1 import ControllerRevision
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.registry.controllerrevisions import ControllerRevisionStrategy

HELD = ControllerRevision(
    metadata=ObjectMeta(name="r", namespace="default"), data=msgspec.Raw(b'{"a":1,"b":[2]}'), revision=1
)


def complaints(data: bytes) -> list[str]:
    new = replace(HELD, data=msgspec.Raw(data), revision=2)
    return [one.field for one in ControllerRevisionStrategy().validate_update(new, HELD)]


def test_the_order_of_fields_is_no_change_and_a_value_is() -> None:
    assert complaints(b'{"b": [2], "a": 1}') == []
    assert complaints(b'{"b":[2],"a":3}') == ["data"]
    assert complaints(b"{}") == ["data"]
