"""Pieces joined are the item, whatever is in it; of pods of one template one piece is one and the same object."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keelback.apiserver import shared_parts
from keelback.apiserver.shared_parts import SharedParts

MARKS = st.sampled_from([b'"fieldsV1":{', b'{"manager":', b"}]", b"x" * 300, b"," * 10, b'"'])


def pod(name: str, fields: int = 20, *others: dict[str, Any]) -> bytes:
    owned = {f"f:field-{number}": {} for number in range(fields)}
    owners = [{"manager": "m", "time": name, "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": owned}}, *others]
    tree = {"metadata": {"name": name, "managedFields": owners}, "spec": {"nodeName": name}}
    return json.dumps(tree, separators=(",", ":")).encode()


@given(st.lists(MARKS | st.binary(max_size=8), max_size=12).map(b"".join))
def test_the_pieces_joined_are_the_item(item: bytes) -> None:
    parts = SharedParts()
    assert b"".join(parts.split(item)) == item
    assert b"".join(parts.split(item)) == item


def test_pods_of_one_template_share_what_owns_their_fields() -> None:
    parts = SharedParts()
    kubelet = {"manager": "kubelet", "fieldsV1": {"f:status": {"f:podIP": {}}}, "subresource": "status"}
    pieces = [parts.split(pod(name, 20, *others)) for name in "ab" for others in ((), (kubelet,))]
    shared = {id(part) for _, part, _ in pieces}
    assert [len(part) > 300 for _, part, _ in pieces] == [True] * 4
    assert len(shared) == 2, "one that stands alone, and one that others follow"
    assert all(b'"nodeName"' in rest and b'"name"' in start for start, _, rest in pieces)


def test_what_is_small_stays_whole() -> None:
    item = pod("a", fields=1)
    assert SharedParts().split(item) == (item, b"", b"")


def test_parts_that_nobody_asked_for_lately_are_forgotten() -> None:
    parts = SharedParts()
    kept, lost = parts.split(pod("a", 20))[1], parts.split(pod("a", 21))[1]
    for fields in range(22, 22 + shared_parts._MOST_PARTS - 1):
        parts.split(pod("a", fields))
        assert parts.split(pod("b", 20))[1] is kept
    again = parts.split(pod("b", 21))[1]
    assert again == lost
    assert again is not lost
