"""The status of definitions: names and conditions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keelback.api.apiextensions_v1 import (
    CustomResourceDefinition,
    CustomResourceDefinitionNames,
    CustomResourceDefinitionSpec,
)
from keelback.apimachinery.meta import ObjectMeta, replace, with_metadata
from keelback.apiserver import custom_resource_status as status

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def definition(plural: str, kind: str, *short_names: str) -> CustomResourceDefinition:
    names = CustomResourceDefinitionNames(
        plural=plural, kind=kind, singular=kind.lower(), list_kind=f"{kind}List", short_names=short_names
    )
    spec = CustomResourceDefinitionSpec(group="example.com", scope="Namespaced", names=names)
    return CustomResourceDefinition(metadata=ObjectMeta(name=f"{plural}.example.com"), spec=spec)


def accepted(given: CustomResourceDefinition, *others: CustomResourceDefinition) -> CustomResourceDefinition:
    return replace(given, status=status.plan(given, taken_by(*others), NOW))


def taken_by(*others: CustomResourceDefinition) -> status.AcceptedNames:
    names = status.AcceptedNames()
    for one in others:
        names.put(one)
    return names


def test_free_names_are_accepted() -> None:
    made = accepted(definition("widgets", "Widget", "w"))
    assert made.status.accepted_names == made.spec.names
    assert status.is_true(made, status.NAMES_ACCEPTED)
    assert status.is_true(made, status.ESTABLISHED)


def test_the_plan_for_an_accepted_definition_changes_nothing() -> None:
    made = accepted(definition("widgets", "Widget"))
    assert status.plan(made, taken_by(made), NOW + timedelta(hours=1)) == made.status


def test_a_taken_kind_is_refused_and_the_other_names_are_kept() -> None:
    first = accepted(definition("widgets", "Widget"))
    second = accepted(definition("wodgets", "Widget"), first)
    assert not status.is_true(second, status.ESTABLISHED)
    assert (second.status.accepted_names.plural, second.status.accepted_names.kind) == ("wodgets", "")
    told = {one.type: (one.reason, one.message) for one in second.status.conditions or ()}
    assert told[status.NAMES_ACCEPTED] == ("ListKindConflict", '"WidgetList" is already in use')


def test_a_short_name_that_is_taken_later_does_not_end_what_is_served() -> None:
    first = accepted(definition("widgets", "Widget", "w"))
    second = accepted(definition("wodgets", "Wodget"), first)
    renamed = replace(second, spec=definition("wodgets", "Wodget", "w").spec)
    later = accepted(renamed, first)
    assert not status.is_true(later, status.NAMES_ACCEPTED)
    assert status.is_true(later, status.ESTABLISHED)
    assert later.status.accepted_names.short_names == ()


def test_all_short_names_that_are_taken_are_told() -> None:
    first = accepted(definition("widgets", "Widget", "w", "wi"))
    second = accepted(definition("wodgets", "Wodget", "wi", "w", "wo"), first)
    told = {one.type: (one.reason, one.message) for one in second.status.conditions or ()}
    assert told[status.NAMES_ACCEPTED] == (
        "ShortNamesConflict",
        '["wi" is already in use, "w" is already in use]',
    )


def test_names_come_free_with_their_definition() -> None:
    first = accepted(definition("widgets", "Widget"))
    names = taken_by(first)
    names.remove(first.metadata.name)
    assert status.is_true(
        replace(first, status=status.plan(definition("wodgets", "Widget"), names, NOW)), status.NAMES_ACCEPTED
    )


def test_groups_of_the_community_tell_where_they_were_approved() -> None:
    given = definition("widgets", "Widget")
    given = replace(given, spec=replace(given.spec, group="x.k8s.io"))
    given = with_metadata(given, annotations={"api-approved.kubernetes.io": "https://example.com/1"})
    told = {one.type: (one.status, one.reason, one.message) for one in accepted(given).status.conditions or ()}
    assert told[status.API_APPROVED] == ("True", "ApprovedAnnotation", "approved in https://example.com/1")
