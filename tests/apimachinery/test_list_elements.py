from __future__ import annotations

import pytest

from keelback.api.core_v1 import Pod
from keelback.apimachinery.list_elements import PathElementError, path_element
from keelback.apimachinery.schema import schema_of

CONTAINERS = schema_of(Pod).fields["spec"].schema.fields["containers"].schema
FINALIZERS = schema_of(Pod).fields["metadata"].schema.fields["finalizers"].schema


def test_an_element_is_known_by_its_keys_or_its_value() -> None:
    assert path_element({"name": 'q"é'}, CONTAINERS) == 'k:{"name":"q\\"é"}'
    assert path_element("x/y", FINALIZERS) == 'v:"x/y"'


def test_an_absent_key_counts_as_its_default() -> None:
    ports = CONTAINERS.element
    assert ports is not None
    assert path_element({"containerPort": 80}, ports.fields["ports"].schema) == (
        'k:{"containerPort":80,"protocol":"TCP"}'
    )


def test_what_cannot_be_told_apart_is_refused() -> None:
    for value in ({}, [], None):
        with pytest.raises(PathElementError):
            path_element(value, FINALIZERS)
    for value in ("a", None):
        with pytest.raises(PathElementError):
            path_element(value, CONTAINERS)
