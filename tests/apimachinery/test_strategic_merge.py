from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.api import core_v1
from keelback.apimachinery import merge_patch, strategic_merge
from keelback.apimachinery.meta import ListMap, ListSet, Object, RetainKeys, Value, kind, written
from keelback.apimachinery.schema import schema_of
from keelback.apimachinery.strategic_merge import BadPatch, StrategicMergeError


class Variable(Value):
    name: str = written("")
    value: str = ""


class Worker(Value):
    name: str = written("")
    image: str = ""
    args: tuple[str, ...] = ()
    env: Annotated[tuple[Variable, ...], ListMap("name", merge_key="name")] = ()


class Strategy(Value):
    type: str = ""
    rolling: Mapping[str, int] = {}


class PlantSpec(Value):
    workers: Annotated[tuple[Worker, ...], ListMap("name", merge_key="name")] = ()
    strategy: Annotated[Strategy, RetainKeys()] = written(Strategy())
    tags: Annotated[tuple[str, ...], ListSet(merge=True)] = ()
    ports: tuple[int, ...] = ()
    options: Mapping[str, str] = {}


@kind("example.com/v1", "plants")
class Plant(Object):
    spec: PlantSpec = written(PlantSpec())


SCHEMA = schema_of(Plant)
LIVE: dict[str, Any] = {
    "spec": {
        "workers": [
            {"name": "a", "image": "i:1", "args": ["x"], "env": [{"name": "A", "value": "1"}, {"name": "B"}]},
            {"name": "b", "image": "j:1"},
        ],
        "strategy": {"type": "Rolling", "rolling": {"surge": 1}},
        "tags": ["t", "u"],
        "ports": [1, 2],
        "options": {"k": "1", "l": "2"},
    }
}


def patched(patch: dict[str, Any]) -> dict[str, Any]:
    before = copy.deepcopy(LIVE)
    sent = copy.deepcopy(patch)
    spec: dict[str, Any] = strategic_merge.merge(LIVE, {"spec": patch}, SCHEMA)["spec"]
    assert before == LIVE
    assert sent == patch
    return spec


def names(items: list[dict[str, Any]]) -> list[str]:
    return [item["name"] for item in items]


def test_elements_merge_by_key_and_new_ones_stand_where_the_patch_has_them() -> None:
    workers = patched({"workers": [{"name": "a", "image": "i:2", "env": [{"name": "C"}]}, {"name": "c"}]})["workers"]
    assert names(workers) == ["a", "c", "b"]
    assert workers[0]["image"] == "i:2"
    assert workers[0]["args"] == ["x"]
    assert names(workers[0]["env"]) == ["C", "A", "B"]


def test_lists_without_a_key_are_replaced_and_sets_are_joined() -> None:
    spec = patched({"ports": [3], "tags": ["v"], "workers": [{"name": "a", "args": ["y"]}]})
    assert spec["ports"] == [3]
    assert spec["tags"] == ["v", "t", "u"]
    assert spec["workers"][0]["args"] == ["y"]


def test_null_removes() -> None:
    spec = patched({"options": {"k": None, "absent": None}, "strategy": None})
    assert spec["options"] == {"l": "2"}
    assert "strategy" not in spec


def test_patch_directives() -> None:
    assert names(patched({"workers": [{"name": "a", "$patch": "delete"}]})["workers"]) == ["b"]
    assert names(patched({"workers": [{"$patch": "replace"}, {"name": "z"}]})["workers"]) == ["z"]
    assert patched({"options": {"$patch": "replace", "n": "1"}})["options"] == {"n": "1"}
    assert patched({"options": {"$patch": "delete"}})["options"] == {}
    assert "$patch" not in str(patched({"workers": [{"name": "n", "env": [{"name": "E", "$patch": "delete"}]}]}))


def test_set_element_order() -> None:
    spec = patched(
        {"$setElementOrder/workers": [{"name": "b"}, {"name": "a"}], "workers": [{"name": "a", "image": "z"}]}
    )
    assert names(spec["workers"]) == ["b", "a"]
    assert spec["workers"][1]["image"] == "z"
    order = [{"name": "A"}, {"name": "N"}, {"name": "B"}]
    spec = patched({"workers": [{"name": "a", "$setElementOrder/env": order, "env": [{"name": "N"}]}]})
    assert names(spec["workers"][0]["env"]) == ["A", "N", "B"]
    assert patched({"$setElementOrder/tags": ["u", "t"]})["tags"] == ["u", "t"]


def test_elements_of_the_server_keep_their_place_in_an_ordered_list() -> None:
    spec = patched({"$setElementOrder/workers": [{"name": "b"}, {"name": "c"}], "workers": [{"name": "c"}]})
    assert names(spec["workers"]) == ["a", "b", "c"]


def test_delete_from_primitive_list() -> None:
    assert patched({"$deleteFromPrimitiveList/tags": ["t", "none"]})["tags"] == ["u"]


def test_retain_keys() -> None:
    assert patched({"strategy": {"$retainKeys": ["type"], "type": "All"}})["strategy"] == {"type": "All"}


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"workers": [{"image": "x"}]}, "map: map[image:x] does not contain declared merge key: name"),
        ({"workers": [{"$patch": "delete"}]}, "map: map[$patch:delete] does not contain declared merge key: name"),
        ({"options": {"$patch": "odd"}}, "unknown patch type: odd in map: map[$patch:odd]"),
        ({"workers": [{"$patch": "merge", "name": "a"}]}, "merging lists cannot yet be specified in the patch"),
        ({"tags": [["x"]]}, "lists of lists are not supported"),
    ],
)
def test_a_patch_that_lacks_something_is_said_to(patch: dict[str, Any], message: str) -> None:
    with pytest.raises(StrategicMergeError) as caught:
        patched(patch)
    assert str(caught.value) == message
    assert not isinstance(caught.value, BadPatch)


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"strategy": {"$retainKeys": ["type"], "rolling": {}}}, "invalid patch format of retainKeys"),
        ({"$setElementOrder": []}, "invalid patch format of setElementOrder list"),
        ({"$deleteFromPrimitiveList": []}, "invalid patch format of primitive list"),
    ],
)
def test_a_malformed_directive_is_a_bad_patch(patch: dict[str, Any], message: str) -> None:
    with pytest.raises(BadPatch, match=message):
        patched(patch)


def test_an_order_that_does_not_name_what_is_patched_is_refused() -> None:
    with pytest.raises(StrategicMergeError, match=r"doesn't match \$setElementOrder list"):
        patched({"$setElementOrder/tags": ["t"], "tags": ["v"]})


def test_a_result_of_another_type_is_explained_as_go_does() -> None:
    assert strategic_merge.conversion_error({"spec": []}, SCHEMA) == "cannot restore struct from: slice"
    assert strategic_merge.conversion_error({"spec": {"workers": "x"}}, SCHEMA) == "cannot restore slice from string"
    assert strategic_merge.conversion_error({"spec": {"options": 1}}, SCHEMA) == "cannot restore map from int64"
    assert strategic_merge.conversion_error(LIVE, SCHEMA) == ""


plain = st.recursive(
    st.one_of(st.integers(0, 3), st.text("xy", max_size=1)),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from("abc"), plain), st.dictionaries(st.sampled_from("abc"), plain))
def test_without_lists_and_directives_it_is_a_merge_patch(target: dict[str, Any], patch: dict[str, Any]) -> None:
    assert strategic_merge.merge(target, patch, SCHEMA) == merge_patch.merge(target, patch)


workers = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from("abcde")}, optional={"image": st.sampled_from("xy")}),
    unique_by=lambda worker: worker["name"],
    max_size=5,
)


@given(st.dictionaries(st.sampled_from("abc"), plain), st.fixed_dictionaries({"workers": workers}))
def test_a_patch_without_directives_and_nulls_may_be_said_to_be_plain(
    live: dict[str, Any], patch: dict[str, Any]
) -> None:
    merged = strategic_merge.merge({"spec": live}, {"spec": patch}, SCHEMA)
    assert strategic_merge.merge({"spec": live}, {"spec": patch}, SCHEMA, is_plain=True) == merged


@given(workers, workers)
def test_every_element_of_both_sides_is_there_once_and_the_patch_keeps_its_order(
    live: list[dict[str, str]], patch: list[dict[str, str]]
) -> None:
    merged = strategic_merge.merge({"spec": {"workers": live}}, {"spec": {"workers": patch}}, SCHEMA)["spec"]["workers"]
    assert sorted(names(merged)) == sorted({*names(live), *names(patch)})
    assert [name for name in names(merged) if name in names(patch)] == names(patch)
    again = strategic_merge.merge({"spec": {"workers": merged}}, {"spec": {"workers": patch}}, SCHEMA)
    assert again["spec"]["workers"] == merged


def test_replacing_a_list_that_is_not_there_leaves_no_trace_of_the_directive() -> None:
    patch = {"status": {"podIPs": [{"$patch": "replace"}, {"ip": "10.0.0.1"}]}}
    assert strategic_merge.merge({"status": {}}, patch, schema_of(core_v1.Pod)) == {
        "status": {"podIPs": [{"ip": "10.0.0.1"}]}
    }
