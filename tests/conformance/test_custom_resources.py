"""What the conformance suite demands of definitions of custom resources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keelback.apimachinery import errors
from keelback.testing.cluster import Cluster

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(controllers=False) as running:
        yield running


def version(name: str = "v1", *, served: bool = True, storage: bool = True, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties}
    return {"name": name, "served": served, "storage": storage, "schema": {"openAPIV3Schema": schema}}


def definition(plural: str, *versions: dict[str, Any], group: str = "example.com", **metadata: Any) -> dict[str, Any]:
    spec = {
        "group": group,
        "scope": "Namespaced",
        "names": {"plural": plural, "kind": plural.rstrip("s").capitalize()},
        "versions": list(versions) or [version()],
    }
    named = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    return {**named, "metadata": {"name": f"{plural}.{group}", **metadata}, "spec": spec}


def test_a_definition_is_made_and_deleted(cluster: Cluster) -> None:
    cluster.apply(definition("brief"))
    assert cluster.request("GET", "/apis/example.com/v1/brief")["items"] == []
    cluster.delete("crd/brief.example.com")
    cluster.wait("crd/brief.example.com", "deleted")
    with pytest.raises(errors.NotFound):
        cluster.request("GET", "/apis/example.com/v1/brief")


def test_ten_are_listed_and_go_as_a_collection(cluster: Cluster) -> None:
    cluster.apply(definition("stays"))
    names = [f"ten{number}" for number in range(10)]
    for name in names:
        cluster.apply(definition(name, labels={"of": "ten"}))
    listed = cluster.list("crd", label_selector="of=ten")
    assert [one["metadata"]["name"] for one in listed] == [f"{name}.example.com" for name in names]
    cluster.request("DELETE", DEFINITIONS, query="labelSelector=of%3Dten")
    for name in names:
        cluster.wait(f"crd/{name}.example.com", "deleted")
    assert "stays.example.com" in {one["metadata"]["name"] for one in cluster.list("crd")}


def test_the_status_of_a_definition_is_read_updated_and_patched(cluster: Cluster) -> None:
    cluster.apply(definition("told"))
    path = f"{DEFINITIONS}/told.example.com/status"
    tree = cluster.request("GET", path)
    assert {"Established", "NamesAccepted"} <= {one["type"] for one in tree["status"]["conditions"]}
    condition = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set by a test"}
    tree["status"]["conditions"].append(condition)
    updated = cluster.request("PUT", path, body=tree)
    assert updated["status"]["conditions"][-1] | condition == updated["status"]["conditions"][-1]
    others = [one for one in updated["status"]["conditions"] if one["type"] != "StatusUpdate"]
    patch = {"status": {"conditions": [*others, condition | {"type": "StatusPatch"}]}}
    cluster.patch("crd/told.example.com", patch, subresource="status")
    found = cluster.get("crd/told.example.com")["status"]["conditions"]
    assert found[-1]["type"] == "StatusPatch"
    assert "StatusUpdate" not in {one["type"] for one in found}


def test_a_watch_sees_what_becomes_of_custom_resources(cluster: Cluster) -> None:
    cluster.apply(definition("seen", version(text={"type": "string"})))
    since = cluster.request("GET", "/apis/example.com/v1/seen")["metadata"]["resourceVersion"]
    for name in ("a", "b"):
        cluster.apply({"apiVersion": "example.com/v1", "kind": "Seen", "metadata": {"name": name}, "text": "0"})
        cluster.patch(f"seen/{name}", {"text": "1"})
    for name in ("a", "b"):
        cluster.delete(f"seen/{name}")
    told = [(one["type"], one["object"]["metadata"]["name"]) for one in cluster.changes("seen", since)]
    assert told == [
        ("ADDED", "a"),
        ("MODIFIED", "a"),
        ("ADDED", "b"),
        ("MODIFIED", "b"),
        ("DELETED", "a"),
        ("DELETED", "b"),
    ]


def test_a_watch_sees_what_becomes_of_definitions(cluster: Cluster) -> None:
    since = cluster.request("GET", DEFINITIONS)["metadata"]["resourceVersion"]
    cluster.apply(definition("watched"))
    cluster.patch("crd/watched.example.com", {"metadata": {"labels": {"changed": "yes"}}})
    cluster.delete("crd/watched.example.com")
    cluster.wait("crd/watched.example.com", "deleted")
    told = [one["type"] for one in cluster.changes("crd", since)]
    assert (told[0], set(told[1:-1]), told[-1]) == ("ADDED", {"MODIFIED"}, "DELETED")


def test_defaults_come_with_requests_and_with_what_is_stored(cluster: Cluster) -> None:
    def change(**properties: Any) -> None:
        changed = cluster.patch("crd/defaulted.example.com", {"spec": {"versions": [version(**properties)]}})
        cluster.request("GET", DEFINITIONS, query=f"resourceVersion={changed['metadata']['resourceVersion']}")
        cluster.advance(1)

    def values(name: str) -> tuple[str | None, str | None]:
        found = cluster.get(f"defaulted/{name}")
        return found.get("a"), found.get("b")

    text = {"type": "string"}
    cluster.apply(definition("defaulted", version(a=text, b=text)))
    named = {"apiVersion": "example.com/v1", "kind": "Defaulted"}
    cluster.apply(named | {"metadata": {"name": "before"}})
    assert values("before") == (None, None)
    change(a=text | {"default": "A"}, b=text)
    assert values("before") == ("A", None)
    cluster.apply(named | {"metadata": {"name": "meanwhile"}})
    change(a=text, b=text | {"default": "B"})
    # What was written while `a` had a default has it for good; the other only saw it.
    assert values("meanwhile") == ("A", "B")
    assert values("before") == (None, "B")


def published(cluster: Cluster) -> set[str]:
    """The custom kinds that both forms of OpenAPI describe."""
    older = {name for name in cluster.request("GET", "/openapi/v2")["definitions"] if name.startswith("com.example")}
    newer: set[str] = set()
    for path in cluster.request("GET", "/openapi/v3")["paths"]:
        if "example.com" in path and path.count("/") == 2:
            document = cluster.request("GET", f"/openapi/v3/{path}")
            newer |= {name for name in document["components"]["schemas"] if name.startswith("com.example")}
    assert {one for one in older if not one.endswith("List")} == {one for one in newer if not one.endswith("List")}
    return {one for one in older if not one.endswith("List")}


@pytest.mark.parametrize(
    ("made", "kinds"),
    [
        (
            [definition("foos", group="a.example.com"), definition("bars", version("v2"), group="b.example.com")],
            {"com.example.a.v1.Foo", "com.example.b.v2.Bar"},
        ),
        (
            [definition("foos", group="c.example.com"), definition("bars", group="c.example.com")],
            {"com.example.c.v1.Foo", "com.example.c.v1.Bar"},
        ),
        (
            [definition("foos", version("v3"), version("v4", storage=False), group="d.example.com")],
            {"com.example.d.v3.Foo", "com.example.d.v4.Foo"},
        ),
    ],
    ids=["groups", "kinds", "versions"],
)
def test_openapi_describes_all_of_them(cluster: Cluster, made: list[dict[str, Any]], kinds: set[str]) -> None:
    before = published(cluster)
    for one in made:
        cluster.apply(one)
    assert published(cluster) == before | kinds
    for one in made:
        cluster.delete(f"crd/{one['metadata']['name']}")
        cluster.wait(f"crd/{one['metadata']['name']}", "deleted")
    assert published(cluster) == before


def test_openapi_follows_the_name_of_a_version(cluster: Cluster) -> None:
    cluster.apply(definition("foos", version("v2"), version("v3", storage=False), group="r.example.com"))
    kinds = {f"com.example.r.{name}.Foo" for name in ("v2", "v3")}
    before = published(cluster) - kinds
    assert kinds <= published(cluster)
    renamed = [version("v2"), version("v4", storage=False)]
    cluster.patch("crd/foos.r.example.com", {"spec": {"versions": renamed}})
    cluster.advance(1)
    assert published(cluster) == before | {"com.example.r.v2.Foo", "com.example.r.v4.Foo"}
    path = "/apis/r.example.com/v4/namespaces/{namespace}/foos"
    assert path in cluster.request("GET", "/openapi/v2")["paths"]


def test_openapi_forgets_a_version_that_is_served_no_more(cluster: Cluster) -> None:
    versions = [version("v5"), version("v6", storage=False)]
    cluster.apply(definition("foos", *versions, group="s.example.com"))
    both = published(cluster)
    assert {"com.example.s.v5.Foo", "com.example.s.v6.Foo"} <= both
    change = {"spec": {"versions": [versions[0], version("v6", served=False, storage=False)]}}
    cluster.patch("crd/foos.s.example.com", change)
    cluster.advance(1)
    assert published(cluster) == both - {"com.example.s.v6.Foo"}
