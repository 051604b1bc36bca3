"""The graph of owners and dependents that garbage collection decides on."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keelback.apimachinery.meta import OwnerReference, make_kind
from keelback.controllers import (
    ownership,
)
from keelback.controllers.ownership import Graph, Node, Work

POD = make_kind("v1", "Pod", "pods")


def owned(uid: str, *owner_uids: str, **more: Any) -> Node:
    owners = tuple(
        OwnerReference(uid=one, name=one, kind="Pod", api_version="v1", block_owner_deletion=True) for one in owner_uids
    )
    return Node(uid, POD, "default", uid, owners, **more)


def test_dependents_are_looked_at_when_their_owner_goes() -> None:
    graph = Graph()
    graph.put(owned("owner"))
    assert graph.put(owned("dependent", "owner")) == []
    assert graph.remove("owner") == [(Work.DELETE, "dependent")]


def test_an_owner_in_foreground_deletion_waits_for_what_blocks_it() -> None:
    graph = Graph()
    graph.put(owned("owner"))
    graph.put(owned("dependent", "owner"))
    work = graph.put(owned("owner", is_deleting=True, is_deleting_dependents=True))
    assert work == [(Work.DELETE, "owner"), (Work.DELETE, "dependent")]
    assert [one.uid for one in graph.blocking_dependents("owner")] == ["dependent"]
    assert graph.remove("dependent") == [(Work.DELETE, "owner")]


def test_one_solid_owner_keeps_an_object() -> None:
    node = owned("dependent", "a", "b")
    verdict = ownership.judge(["a"], ["b"], [], node, Graph(), ())
    assert verdict == ownership.Verdict(drop=("b",))
    assert ownership.judge([], ["a", "b"], [], node, Graph(), ()) == ownership.Verdict(delete="Background")


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sets(st.sampled_from("abcd"), max_size=2), st.booleans())))
def test_the_graph_agrees_with_a_list_of_what_is_there(steps: list[tuple[str, set[str], bool]]) -> None:
    graph = Graph()
    there: dict[str, set[str]] = {}
    for uid, owner_uids, is_there in steps:
        if is_there:
            graph.put(owned(uid, *sorted(owner_uids)))
            there[uid] = owner_uids
        else:
            graph.remove(uid)
            there.pop(uid, None)
    for uid in "abcd":
        assert {one.uid for one in graph.dependents(uid)} == {one for one, held in there.items() if uid in held}
