"""Which stage an object comes to, and when."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.simulation import stage_files, stages
from keelback.simulation.stage_files import StageError
from keelback.simulation.stages import Finalizers

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
POD = {
    "metadata": {
        "name": "web",
        "labels": {"app": "web"},
        "annotations": {"delay": "3s", "at": "2026-05-01T12:00:10Z", "weight": "0x10", "odd": "odd", "none": ""},
    },
    "status": {"phase": "Running", "hostIP": None, "count": 2, "isReady": True},
}


def a_stage(name="x", **spec):
    defaults = {"resourceRef": {"apiGroup": "v1", "kind": "Pod"}, "selector": {}, "next": {"delete": True}}
    return stage_files.read(
        {
            "apiVersion": "kwok.x-k8s.io/v1alpha1",
            "kind": "Stage",
            "metadata": {"name": name},
            "spec": {key: value for key, value in {**defaults, **spec}.items() if value is not None},
        }
    )


def selecting(key, operator, *values):
    return a_stage(selector={"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]})


@pytest.mark.parametrize(
    ("stage", "does"),
    [
        (a_stage(), True),
        (a_stage(selector=None), False),
        (a_stage(selector={"matchLabels": {"app": "web"}}), True),
        (a_stage(selector={"matchLabels": {"app": "db"}}), False),
        (a_stage(selector={"matchAnnotations": {"delay": "3s"}}), True),
        (selecting(".status.phase", "In", "Running", "Pending"), True),
        (selecting(".status.phase", "NotIn", "Running"), False),
        (selecting(".status.nothing", "NotIn", "Running"), True),
        (selecting(".status.count", "In", "2"), True),
        (selecting(".status.isReady", "In", "true"), True),
        (selecting(".status.hostIP", "Exists"), False),
        (selecting(".status.hostIP", "DoesNotExist"), True),
        (selecting(".status.list.[].name", "DoesNotExist"), True),
        (selecting(".metadata.name", "Exists"), True),
    ],
)
def test_a_selector_selects(stage, does):
    assert stage.matches(POD) == does


def test_the_forms_of_newer_versions_are_the_same():
    jq = {"key": ".status.phase", "operator": "In", "values": ["Running"]}
    stage = a_stage(
        selector={"matchExpressions": [{"jq": jq}]},
        next=None,
        steps=[{"event": {"reason": "Killing", "message": "m"}}, {"delete": True}],
        delay={"durationFrom": {"jq": {"expression": ".metadata.annotations.delay"}}},
    )
    assert stage.matches(POD)
    assert stage.seconds(POD, NOW, random.Random(0)) == 3.0
    assert [step.delete for step in stage.steps] == [False, True]


@pytest.mark.parametrize(
    ("expression", "does"),
    [
        ("self.status.phase == 'Running'", True),
        ("self.status.phase in ['Pending', 'Failed']", False),
        ("self.metadata.labels['app'].startsWith('w') && self.status.count > 1", True),
        ("has(self.metadata.deletionTimestamp)", False),
        ("self.metadata.deletionTimestamp != ''", False),
        ("self.status.isReady", True),
        ("self.status.phase", False),
        ("quantity('1Gi').isGreaterThan(quantity('1Mi'))", True),
    ],
)
def test_a_selector_may_be_an_expression(expression, does):
    stage = a_stage(selector={"matchExpressions": [{"cel": {"expression": expression}}]})
    assert stage.matches(POD) == does


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [
        ("self.metadata.annotations.delay", 3.0),
        ("duration('2500ms')", 2.5),
        ("timestamp(self.metadata.annotations.at)", 10.0),
        ("1000 * 1000 * 1000 * self.status.count", 2.0),
        ("self.metadata.annotations.nothing", 1.5),
    ],
)
def test_a_delay_may_be_an_expression(expression, seconds):
    delay = {"durationMilliseconds": 1500, "durationFrom": {"cel": {"expression": expression}}}
    assert a_stage(delay=delay).seconds(POD, NOW, random.Random(0)) == seconds


@pytest.mark.parametrize(
    ("expression", "weight"), [("self.status.count * 3", 6), ("2.9", 2), ("self.status.isReady", 1), ("self.none", 7)]
)
def test_a_weight_may_be_an_expression(expression, weight):
    stage = a_stage("a", weight=7, weightFrom={"cel": {"expression": expression}})
    assert stages.possible([stage, a_stage("b")], POD) == [(stage, weight)]


def test_all_that_is_done_next_has_its_order():
    stage = a_stage(
        next={
            "event": {"type": "Normal", "reason": "R", "message": "m"},
            "finalizers": {"add": [{"value": "a/b"}]},
            "patches": [{"template": "spec: {}", "type": "merge"}],
            "statusTemplate": "phase: Running",
        }
    )
    first, second, third = stage.steps
    assert first.event is not None
    assert first.finalizers == Finalizers(add=("a/b",))
    assert (second.patch.type, second.patch.root, second.patch.subresource) == ("merge", "", "")
    assert (third.patch.type, third.patch.root, third.patch.subresource) == ("strategic", "status", "status")


def test_delays_come_from_the_stage_or_from_the_object():
    def seconds(**delay):
        return a_stage(delay=delay).seconds(POD, NOW, random.Random(0))

    def of(annotation):
        return {"expressionFrom": f".metadata.annotations.{annotation}"}

    assert a_stage().seconds(POD, NOW, random.Random(0)) == 0.0
    assert seconds(durationMilliseconds=1500) == 1.5
    assert seconds(durationMilliseconds=1500, durationFrom=of("delay")) == 3.0
    assert seconds(durationMilliseconds=1500, durationFrom=of("nothing")) == 1.5
    assert seconds(durationMilliseconds=1500, durationFrom=of("odd")) == 1.5
    assert seconds(durationFrom=of("at")) == 10.0
    # The smaller bound alone counts when it is not the first.
    assert seconds(durationMilliseconds=20000, jitterDurationFrom=of("at")) == 10.0
    assert seconds(durationMilliseconds=1500, jitterDurationFrom=of("none")) == 1.5


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers())
def test_a_delay_is_between_its_bounds(least, most, seed):
    stage = a_stage(delay={"durationMilliseconds": least, "jitterDurationMilliseconds": most})
    found = stage.seconds(POD, NOW, random.Random(seed))
    assert min(least, most) / 1000 <= found <= most / 1000
    assert found == stage.seconds(POD, NOW, random.Random(seed))


@given(st.lists(st.integers(0, 5), min_size=2, max_size=6), st.integers())
def test_a_stage_comes_by_its_weight(weights, seed):
    some = [a_stage(f"s{number}", weight=weight) for number, weight in enumerate(weights)]
    possible = stages.possible(some, POD)
    stage = stages.chosen(possible, random.Random(seed))
    assert stage in some
    if any(weights):
        assert weights[some.index(stage)] > 0
    else:
        assert len(possible) == len(some)


def test_a_weight_may_be_the_objects():
    heavy = a_stage("heavy", weight=1, weightFrom={"expressionFrom": ".metadata.annotations.weight"})
    odd = a_stage("odd", weight=1, weightFrom={"expressionFrom": ".metadata.annotations.odd"})
    assert stages.possible([heavy, odd], POD) == [(heavy, 16)]
    assert stages.possible([odd, odd], POD) == [(odd, 1), (odd, 1)]
    assert stages.possible([odd], POD) == [(odd, 1)]
    assert stages.chosen([], random.Random(0)) is None


def test_finalizers_are_added_removed_and_emptied():
    assert Finalizers(add=("c",), remove=("a",)).changed(("a", "b")) == ("b", "c")
    assert Finalizers(add=("b",)).changed(("a", "b")) == ("a", "b")
    assert Finalizers(add=("c",), empty=True).changed(("a", "b")) == ("c",)


def test_a_stage_of_a_known_name_replaces_it():
    old, new, other = a_stage("x"), a_stage("x", weight=2), a_stage("y")
    assert stages.merged([old, other], [new]) == (new, other)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"resourceRef": {"apiGroup": "apps/v1", "kind": "Deployment"}}, "apps/v1 Deployment has no stages here"),
        ({"selector": {"matchExpressions": [{"cel": {"expression": "self."}}]}}, "cel 'self.': "),
        ({"selector": {"matchExpressions": [{"cel": {"expression": "1"}}]}}, "cel '1': "),
        ({"selector": {"matchExpressions": [{"cel": {"expression": "true"}, "key": ".a"}]}}, "either cel, or a key"),
        ({"selector": {"matchExpressions": [{"key": ".a", "operator": "In"}]}}, "In and NotIn have values"),
        ({"selector": {"matchExpressions": [{"key": ".a |", "operator": "Exists"}]}}, "is not understood"),
        ({"selector": {"matchExpressions": [{"key": ".a", "operator": "Above"}]}}, "Invalid enum value 'Above'"),
        ({"weight": -1}, "less than 0"),
        ({"delay": {"durationMilliseconds": -1}}, "less than 0"),
        ({"delay": {"seconds": 1}}, "unknown field `seconds`"),
        ({"next": None}, "needs either next or steps"),
        ({"next": {"statusTemplate": "{{ env }}"}}, "no function 'env'"),
        ({"next": {"statusTemplate": "{{ if }}"}}, "is not understood"),
        ({"next": {"statusPatchAs": {"username": "me"}}}, "statusPatchAs"),
        ({"next": {"statusSubresource": "scale"}}, "statusSubresource"),
        ({"weightFrom": {"cel": {"expression": "other.weight"}}}, "undeclared reference to 'other'"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(spec, why):
    with pytest.raises(StageError, match=why) as refused:
        a_stage("odd", **spec)
    assert str(refused.value).startswith("Stage odd: ")


def test_a_stage_is_known_by_its_group_and_kind():
    assert stage_files.is_stage({"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage"})
    assert not stage_files.is_stage({"apiVersion": "example.com/v1", "kind": "Stage"})
