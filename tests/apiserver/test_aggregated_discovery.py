"""Other servers' discovery documents, in each form they come in."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from keelback.apiserver import aggregated_discovery

RESOURCE = {
    "resource": "flunders",
    "responseKind": {"group": "", "version": "", "kind": "Flunder"},
    "scope": "Namespaced",
    "singularResource": "flunder",
    "verbs": ["get"],
    "subresources": [
        {"subresource": "status", "responseKind": {"group": "", "version": "", "kind": "Flunder"}, "verbs": ["update"]}
    ],
}


def groups(**more: Any) -> bytes:
    version = {"version": "v1", "resources": [{**RESOURCE, **more}], "freshness": "Current"}
    item = {"metadata": {"name": "wardle"}, "versions": [version]}
    return json.dumps({"kind": "APIGroupDiscoveryList", "items": [item]}).encode()


def test_the_version_is_found_in_the_aggregated_form() -> None:
    assert aggregated_discovery.of_groups(groups(), "wardle", "v1") == (RESOURCE,)
    assert aggregated_discovery.of_groups(groups(), "wardle", "v2") == ()
    assert aggregated_discovery.of_groups(b'{"kind":"APIGroupList","groups":[]}', "wardle", "v1") is None


def test_what_is_not_known_is_left_out_and_what_is_wrong_is_refused() -> None:
    assert aggregated_discovery.of_groups(groups(novelty=1), "wardle", "v1") == (RESOURCE,)
    with pytest.raises(msgspec.ValidationError):
        aggregated_discovery.of_groups(groups(verbs="get"), "wardle", "v1")


def test_a_list_of_resources_says_the_same() -> None:
    listed = [
        {"name": "flunders/status", "kind": "Flunder", "namespaced": True, "verbs": ["update"]},
        {"name": "flunders", "singularName": "flunder", "kind": "Flunder", "namespaced": True, "verbs": ["get"]},
        {"name": "services/rate", "kind": "MetricValueList", "namespaced": True, "verbs": ["get"]},
    ]
    found = aggregated_discovery.of_resources(json.dumps({"kind": "APIResourceList", "resources": listed}).encode())
    assert found[0] == RESOURCE
    assert found[1]["resource"] == "services"
    assert [one["subresource"] for one in found[1]["subresources"]] == ["rate"]
    with pytest.raises(ValueError, match="an APIResourceList was expected"):
        aggregated_discovery.of_resources(b'{"kind":"Status"}')
