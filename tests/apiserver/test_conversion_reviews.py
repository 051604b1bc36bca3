"""What is asked of a conversion webhook, and what it may answer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keelback.apiserver import conversion_reviews
from keelback.apiserver.conversion_reviews import ConversionFailed

ORIGINAL = {
    "apiVersion": "example.com/v1",
    "kind": "Widget",
    "metadata": {"name": "a", "namespace": "n", "uid": "u", "labels": {"x": "1"}, "finalizers": ["f.example.com/a"]},
}


def review(objects: Any, version: str = "v1", uid: str = "id", **result: Any) -> bytes:
    response = {"uid": uid, "convertedObjects": objects, "result": result or {"status": "Success"}}
    return msgspec.json.encode(
        {"kind": "ConversionReview", "apiVersion": f"apiextensions.k8s.io/{version}", "response": response}
    )


def changed(**metadata: Any) -> dict[str, Any]:
    return {**ORIGINAL, "apiVersion": "example.com/v2", "metadata": {**ORIGINAL["metadata"], **metadata}}  # type: ignore[dict-item]


def converted(answer: bytes, *originals: Any, versions: Any = ("v1",)) -> list[dict[str, Any]]:
    return conversion_reviews.converted(answer, versions, "id", "example.com/v2", originals or (ORIGINAL,))


def test_the_first_known_version_of_the_review_is_sent() -> None:
    sent = msgspec.json.decode(conversion_reviews.request(["v7", "v1beta1", "v1"], "id", "example.com/v2", [ORIGINAL]))
    assert sent["apiVersion"] == "apiextensions.k8s.io/v1beta1"
    assert sent["request"] == {"uid": "id", "desiredAPIVersion": "example.com/v2", "objects": [ORIGINAL]}
    with pytest.raises(ConversionFailed, match="no supported conversion review versions"):
        conversion_reviews.request(["v7"], "id", "example.com/v2", [ORIGINAL])


def test_labels_and_annotations_may_change_other_metadata_not() -> None:
    answer = review([changed(labels=None, annotations={"k": "v"}, finalizers=[], generation=9)])
    (made,) = converted(answer)
    assert made["metadata"] == {
        "name": "a",
        "namespace": "n",
        "uid": "u",
        "finalizers": ["f.example.com/a"],
        "annotations": {"k": "v"},
    }


OF = "conversion webhook for example.com/v1, Kind=Widget"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (review([changed()], uid="other"), f'{OF} failed: expected response.uid="id", got "other"'),
        (review([], status="Failed", message="no way"), f"{OF} failed: no way"),
        (review([], status="Failed"), f"{OF} failed: response.result.status was 'Failed', not 'Success'"),
        (review([]), f"{OF} returned 0 objects, expected 1"),
        (
            b"{}",
            f"{OF} failed: expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got /, Kind=",
        ),
        (
            review([ORIGINAL]),
            f"{OF} returned invalid converted object at index 0: invalid groupVersion (expected example.com/v2, "
            "received example.com/v1)",
        ),
        (review([changed(name="b")]), f"{OF} returned invalid object: must have the same name: a != b"),
        (review([changed(uid="v")]), f"{OF} returned invalid object: must have the same UID: u != v"),
        (
            review([{**changed(), "metadata": {**changed()["metadata"], "labels": {"x": 1}}}]),
            f"{OF} returned invalid metadata: metadata.labels[x] must be a string, but is float64 in converted object",
        ),
    ],
)
def test_what_an_answer_must_not_be(answer: bytes, message: str) -> None:
    with pytest.raises(ConversionFailed) as raised:
        converted(answer)
    assert raised.value.message == message
    assert raised.value.code == 500


def test_the_older_review_need_not_name_its_question() -> None:
    assert converted(review([changed()], "v9", "other"), versions=("v1beta1",)) == [changed()]
