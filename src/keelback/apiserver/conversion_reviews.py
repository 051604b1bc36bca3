"""ConversionReviews: what a conversion webhook is asked, and what its answer must hold. Decides, does nothing.

A webhook may change labels and annotations; all other metadata stays what it was. Messages are upstream's
(apiextensions-apiserver, conversion/webhook_converter.go).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from keelback.apimachinery import errors
from keelback.apimachinery.go_text import go_printed, go_quoted, go_type
from keelback.apimachinery.validation import annotation_map, label_map
from keelback.storage.protocol import StorageError

_GROUP = "apiextensions.k8s.io"
_KNOWN_VERSIONS = ("v1", "v1beta1")


class ConversionFailed(errors.StatusError, StorageError):
    """Objects could not be brought from the version they are stored in to the one asked for."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code=500)


def request(versions: Sequence[str], uid: str, desired: str, objects: Sequence[Mapping[str, Any]]) -> bytes:
    """The review to send, in the first of the versions that is known. Raises ConversionFailed."""
    version = next((one for one in versions if one in _KNOWN_VERSIONS), None)
    if version is None:
        raise ConversionFailed("no supported conversion review versions")
    review = {
        "kind": "ConversionReview",
        "apiVersion": f"{_GROUP}/{version}",
        "request": {"uid": uid, "desiredAPIVersion": desired, "objects": objects},
        "response": {"uid": "", "convertedObjects": None, "result": {"metadata": {}}},
    }
    return msgspec.json.encode(review)


def converted(
    answer: bytes, versions: Sequence[str], uid: str, desired: str, originals: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The objects of an answer, with their metadata restored. Raises ConversionFailed."""
    first = originals[0]
    subject = f"conversion webhook for {first.get('apiVersion')}, Kind={first.get('kind')}"
    try:
        objects = _objects(answer, next(one for one in versions if one in _KNOWN_VERSIONS), uid)
    except ValueError as error:
        raise ConversionFailed(f"{subject} failed: {error}") from error
    if len(objects) != len(originals):
        raise ConversionFailed(f"{subject} returned {len(objects)} objects, expected {len(originals)}")
    made = []
    for at, (original, one) in enumerate(zip(originals, objects, strict=True)):
        # A list's objects are named by their place, a single one is not.
        place = f"returned invalid converted object at index {at}" if len(originals) > 1 else "returned invalid object"
        try:
            _check_type(original, one, desired)
        except ValueError as error:
            raise ConversionFailed(f"{subject} returned invalid converted object at index {at}: {error}") from error
        try:
            _check_identity(original, one)
        except ValueError as error:
            raise ConversionFailed(f"{subject} {place}: {error}") from error
        try:
            made.append(_with_metadata_of(original, one))
        except ValueError as error:
            where = f" in object at index {at}" if len(originals) > 1 else ""
            raise ConversionFailed(f"{subject} returned invalid metadata{where}: {error}") from error
    return made


def _objects(answer: bytes, version: str, uid: str) -> list[Any]:
    try:
        review = msgspec.json.decode(answer)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
    if not isinstance(review, dict):
        raise ValueError("no response provided")
    if version == "v1" and (review.get("apiVersion"), review.get("kind")) != (f"{_GROUP}/v1", "ConversionReview"):
        group, _, name = str(review.get("apiVersion") or "").rpartition("/")
        given = f"{group}/{name}, Kind={review.get('kind') or ''}"
        raise ValueError(f"expected webhook response of {_GROUP}/v1, Kind=ConversionReview, got {given}")
    response = review.get("response")
    if not isinstance(response, dict):
        raise ValueError("no response provided")
    if version == "v1" and response.get("uid") != uid:
        raise ValueError(f"expected response.uid={go_quoted(uid)}, got {go_quoted(str(response.get('uid') or ''))}")
    result = response.get("result")
    result = result if isinstance(result, dict) else {}
    if result.get("status") != "Success":
        raise ValueError(
            result.get("message") or f"response.result.status was '{result.get('status') or ''}', not 'Success'"
        )
    objects = response.get("convertedObjects")
    return objects if isinstance(objects, list) else []


def _check_type(original: Mapping[str, Any], one: Any, desired: str) -> None:
    if not isinstance(one, dict):
        raise ValueError(f"invalid type, expected=Unstructured, got={go_type(one)}")
    if one.get("apiVersion") != desired:
        raise ValueError(f"invalid groupVersion (expected {desired}, received {one.get('apiVersion') or ''})")
    if one.get("kind") != original.get("kind"):
        raise ValueError(f"invalid kind (expected {original.get('kind')}, received {one.get('kind') or ''})")


def _check_identity(original: Mapping[str, Any], one: Mapping[str, Any]) -> None:
    before = original.get("metadata") or {}
    after = one.get("metadata")
    after = after if isinstance(after, dict) else {}
    for name, shown in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        if before.get(name, "") != after.get(name, ""):
            raise ValueError(f"must have the same {shown}: {before.get(name, '')} != {after.get(name, '')}")


def _with_metadata_of(original: Mapping[str, Any], one: Mapping[str, Any]) -> dict[str, Any]:
    if "metadata" not in one:
        raise ValueError("missing metadata in converted object")
    given = one["metadata"]
    if not isinstance(given, dict):
        raise ValueError(f"invalid metadata of type {go_type(given)} in converted object")
    metadata = dict(original.get("metadata") or {})
    for name in ("labels", "annotations"):
        values = given.get(name)
        before = metadata.pop(name, None)
        if values is None:
            continue
        if not isinstance(values, dict):
            raise ValueError(f"invalid metadata.{name} of type {go_type(values)} in converted object")
        for key, value in values.items():
            if not isinstance(value, str):
                place = f"metadata.{name}[{key}]"
                raise ValueError(f"{place} must be a string, but is {go_type(value)} in converted object")
        if values != (before or {}):
            _check_values(values, name)
        metadata[name] = values
    return {**one, "metadata": metadata}


def _check_values(values: Mapping[str, str], name: str) -> None:
    found = label_map(values, "metadata.labels") if name == "labels" else annotation_map(values, "metadata.annotation")
    bodies = [f"{one.field}: {one.body}" for one in found]
    if bodies:
        raise ValueError(bodies[0] if len(bodies) == 1 else go_printed(bodies).replace(" metadata.", ", metadata."))
