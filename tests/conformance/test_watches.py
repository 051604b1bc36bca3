"""What the conformance suite demands of watches: what each of them is told, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keelback.testing.cluster import Cluster


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(controllers=False) as running:
        yield running


def put(cluster: Cluster, name: str, label: str, value: str = "0") -> dict[str, Any]:
    metadata = {"name": name, "labels": {"watched": label}}
    (made,) = cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}})
    return made


def told(cluster: Cluster, since: str, selector: str = "") -> list[tuple[str, str, str]]:
    """What a watch from a version on is told: the type of the event, whom it is about, and its data."""
    return [
        (one["type"], one["object"]["metadata"]["name"], one["object"]["data"]["value"])
        for one in cluster.changes("configmaps", since, label_selector=selector)
    ]


def beginning(cluster: Cluster) -> str:
    version: str = put(cluster, "beginning", "no")["metadata"]["resourceVersion"]
    return version


def test_each_watch_is_told_of_what_it_selects(cluster: Cluster) -> None:
    since = beginning(cluster)
    put(cluster, "a", "a")
    put(cluster, "a", "a", "1")
    put(cluster, "b", "b")
    put(cluster, "a", "a", "2")
    cluster.delete("configmap/a")
    cluster.delete("configmap/b")
    of_a = [("ADDED", "a", "0"), ("MODIFIED", "a", "1"), ("MODIFIED", "a", "2"), ("DELETED", "a", "2")]
    of_b = [("ADDED", "b", "0"), ("DELETED", "b", "0")]
    assert told(cluster, since, "watched=a") == of_a
    assert told(cluster, since, "watched=b") == of_b
    assert told(cluster, since, "watched in (a,b)") == [*of_a[:2], of_b[0], *of_a[2:], of_b[1]]
    assert told(cluster, since, "watched=c") == []


def test_a_watch_begins_after_the_version_it_names(cluster: Cluster) -> None:
    since = beginning(cluster)
    put(cluster, "a", "a")
    first = put(cluster, "a", "a", "1")["metadata"]["resourceVersion"]
    put(cluster, "a", "a", "2")
    cluster.delete("configmap/a")
    assert told(cluster, first) == [("MODIFIED", "a", "2"), ("DELETED", "a", "2")]
    assert len(told(cluster, since)) == 4


def test_a_watch_goes_on_where_another_has_ended(cluster: Cluster) -> None:
    since = beginning(cluster)
    put(cluster, "a", "a")
    put(cluster, "a", "a", "1")
    seen = cluster.changes("configmaps", since, label_selector="watched=a")
    put(cluster, "a", "a", "2")
    cluster.delete("configmap/a")
    last = seen[-1]["object"]["metadata"]["resourceVersion"]
    assert told(cluster, last, "watched=a") == [("MODIFIED", "a", "2"), ("DELETED", "a", "2")]


def test_what_is_selected_no_longer_is_deleted_for_the_watch(cluster: Cluster) -> None:
    since = beginning(cluster)
    put(cluster, "a", "a")
    put(cluster, "a", "a", "1")
    put(cluster, "a", "other", "2")
    put(cluster, "a", "other", "3")
    put(cluster, "a", "a", "4")
    put(cluster, "a", "a", "5")
    cluster.delete("configmap/a")
    assert [one[::2] for one in told(cluster, since, "watched=a")] == [
        ("ADDED", "0"),
        ("MODIFIED", "1"),
        ("DELETED", "1"),
        ("ADDED", "4"),
        ("MODIFIED", "5"),
        ("DELETED", "5"),
    ]


def test_all_watches_see_one_order(cluster: Cluster) -> None:
    since = beginning(cluster)
    for number in range(10):
        put(cluster, f"c{number % 3}", "a", str(number))
        if number % 4 == 3:
            cluster.delete(f"configmap/c{number % 3}")
    every = cluster.changes("configmaps", since)
    versions = [one["object"]["metadata"]["resourceVersion"] for one in every]
    assert versions == sorted(versions, key=int)
    for position, version in enumerate(versions):
        later = cluster.changes("configmaps", version)
        assert [one["object"]["metadata"]["resourceVersion"] for one in later] == versions[position + 1 :]
