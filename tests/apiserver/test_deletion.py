from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.api.core_v1 import ConfigMap, Container, Pod, PodSpec
from keelback.apimachinery.errors import Conflict
from keelback.apimachinery.meta import ObjectMeta, with_metadata
from keelback.apiserver.deletion import Deletion, is_finished, marked
from keelback.registry.configmaps import ConfigMapStrategy
from keelback.registry.pods import PodStrategy

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
POD = Pod(
    metadata=ObjectMeta(name="p", namespace="default", uid="1", resource_version="7"),
    spec=PodSpec(node_name="n", containers=(Container(name="c", image="i"),), termination_grace_period_seconds=30),
)
CONFIG_MAP = ConfigMap(metadata=ObjectMeta(name="c", namespace="default"))
graces = st.none() | st.integers(0, 100)


@given(first=graces, second=graces, later=st.integers(0, 60))
def test_a_second_deletion_only_brings_the_end_nearer(first: int | None, second: int | None, later: int) -> None:
    once = marked(POD, Deletion(grace_period_seconds=first), PodStrategy(), NOW)
    if once is None:
        assert first == 0
        return
    twice = marked(once, Deletion(grace_period_seconds=second), PodStrategy(), NOW + timedelta(seconds=later))
    assert twice is not None
    before, after = once.metadata, twice.metadata
    assert before.deletion_timestamp is not None
    assert after.deletion_timestamp is not None
    assert after.deletion_timestamp <= before.deletion_timestamp
    started = before.deletion_timestamp - timedelta(seconds=before.deletion_grace_period_seconds or 0)
    assert after.deletion_timestamp == started + timedelta(seconds=after.deletion_grace_period_seconds or 0)
    assert is_finished(twice, PodStrategy()) == (not after.deletion_grace_period_seconds)


@given(
    before=st.lists(st.sampled_from(["example.com/a", "orphan", "foregroundDeletion"]), unique=True, max_size=3),
    policy=st.sampled_from([None, "Orphan", "Foreground", "Background"]),
    orphan=st.sampled_from([None, True, False]),
    by_default=st.booleans(),
)
def test_a_policy_decides_on_the_collectors_finalizers_and_on_no_other(
    before: list[str], policy: str | None, orphan: bool | None, by_default: bool
) -> None:
    options = Deletion(propagation_policy=policy, orphan_dependents=orphan)
    found = options.finalizers(tuple(before), orphans_by_default=by_default)
    assert ("example.com/a" in found) == ("example.com/a" in before)
    asked = policy or {True: "Orphan", False: "Background", None: None}[orphan]
    own = [one for one in found if one != "example.com/a"]
    if asked is not None:
        assert own == {"Orphan": ["orphan"], "Foreground": ["foregroundDeletion"], "Background": []}[asked]
    elif set(before) & {"orphan", "foregroundDeletion"}:
        assert found == tuple(before)
    else:
        assert own == (["orphan"] if by_default else [])


def test_what_nothing_holds_is_gone_at_once_and_what_a_finalizer_holds_is_marked() -> None:
    assert marked(CONFIG_MAP, Deletion(grace_period_seconds=30), ConfigMapStrategy(), NOW) is None
    held = with_metadata(CONFIG_MAP, finalizers=("example.com/a",), generation=4)
    waiting = marked(held, Deletion(), ConfigMapStrategy(), NOW)
    assert waiting is not None
    assert (waiting.metadata.deletion_timestamp, waiting.metadata.deletion_grace_period_seconds) == (NOW, 0)
    assert waiting.metadata.generation == 5
    assert not is_finished(waiting, ConfigMapStrategy())
    assert is_finished(with_metadata(waiting, finalizers=()), ConfigMapStrategy())


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (Deletion(uid="2"), "the UID in the precondition (2) does not match the UID in record (1)"),
        (Deletion(resource_version="8"), "the ResourceVersion in the precondition (8) does not match"),
    ],
)
def test_another_object_than_the_one_meant_is_left_alone(options: Deletion, problem: str) -> None:
    with pytest.raises(Conflict) as caught:
        options.check_preconditions(Pod.__kind__, POD.metadata)
    assert caught.value.message.startswith(f'Operation cannot be fulfilled on Pod "p": {problem}')
    Deletion(uid="1", resource_version="7").check_preconditions(Pod.__kind__, POD.metadata)
