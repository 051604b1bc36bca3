"""What the conformance suite demands of webhooks: admission, and conversion of custom resources."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from keelback.apimachinery import errors
from keelback.testing.cluster import Cluster
from keelback.testing.webhooks import Answer, Tree, WebhookServer, changed

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


def adds(if_there: str, key: str) -> Answer:
    """Add a key to the data where another is there already."""

    def answer(request: Tree) -> Tree:
        data = request["object"].get("data") or {}
        operations = [{"op": "add", "path": f"/data/{key}", "value": "yes"}] if if_there in data else []
        return changed(operations)

    return answer


class World:
    """A server, the webhooks it asks, and what a test has registered."""

    def __init__(self, cluster: Cluster, hooks: WebhookServer) -> None:
        self.cluster, self.hooks = cluster, hooks
        self.made: list[str] = []

    def register(self, kind: str, name: str, *webhooks: Tree, **metadata: Any) -> Tree:
        """Make a configuration, `mutating` or `validating`. It counts when this returns."""
        path = f"{CONFIGURATIONS}/{kind}webhookconfigurations"
        made = self.create(path, {"metadata": {"name": name, **metadata}, "webhooks": list(webhooks)})
        self.settle(path, made)
        return made

    def create(self, path: str, tree: Tree) -> Tree:
        """Create an object, which goes when the test has ended."""
        made = self.cluster.request("POST", path, body=tree)
        self.made.append(f"{path}/{made['metadata']['name']}")
        return made

    def settle(self, path: str, written: Tree) -> None:
        """Return when the server's own caches have what was written."""
        self.cluster.request("GET", path, query=f"resourceVersion={written['metadata']['resourceVersion']}")

    def config_map(self, name: str = "a", **data: str) -> Tree:
        return self.create(CONFIG_MAPS, {"metadata": {"name": name}, "data": data})

    def forget(self) -> None:
        """Webhooks first: they may refuse that the rest goes."""
        for path in sorted(self.made, key=lambda path: "webhookconfigurations" not in path):
            try:
                self.cluster.request("DELETE", path, query="gracePeriodSeconds=0")
            except errors.NotFound:
                continue

    def define(self, *versions: Tree, plural: str = "widgets", **more: Any) -> str:
        """Custom resources of these versions; their group's path, once all versions are served."""
        kind = plural.rstrip("s").capitalize()
        spec = {"group": "example.com", "scope": "Namespaced", "names": {"plural": plural, "kind": kind}}
        tree: Tree = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
        tree |= {"metadata": {"name": f"{plural}.example.com"}, "spec": spec | {"versions": list(versions)} | more}
        self.cluster.apply(tree)
        self.made.append(f"{DEFINITIONS}/{plural}.example.com")
        return "/apis/example.com"


def version(name: str, storage: str = "v1", **fields: Any) -> Tree:
    """A version whose objects have text in these fields, or anything where none are named."""
    schema: Tree = {"type": "object", "properties": fields}
    if not fields:
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {"name": name, "served": True, "storage": name == storage, "schema": {"openAPIV3Schema": schema}}


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    # In real time: who answers a webhook is another process' business, and virtual time would not wait for it.
    with Cluster(controllers=False, real_time=True) as cluster:
        yield cluster


@pytest.fixture
def world(running: Cluster) -> Iterator[World]:
    with WebhookServer() as hooks:
        made = World(running, hooks)
        yield made
        made.forget()


def test_discovery_has_them(running: Cluster) -> None:
    (group,) = [
        one for one in running.request("GET", "/apis")["groups"] if one["name"] == "admissionregistration.k8s.io"
    ]
    assert "v1" in {one["version"] for one in group["versions"]}
    assert running.request("GET", "/apis/admissionregistration.k8s.io")["preferredVersion"]["version"] == "v1"
    resources = {one["name"] for one in running.request("GET", CONFIGURATIONS)["resources"]}
    assert {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"} <= resources


@pytest.mark.parametrize("kind", ["mutating", "validating"])
def test_ten_are_listed_and_go_as_a_collection(world: World, kind: str) -> None:
    for number in range(10):
        name = {"mutating": "mark", "validating": "deny"}[kind]
        world.register(kind, f"w{number}", world.hooks.webhook(name, "/configmaps"), labels={"of": "ten"})
    path = f"{CONFIGURATIONS}/{kind}webhookconfigurations"
    listed = world.cluster.request("GET", path, query="labelSelector=of%3Dten")
    assert [one["metadata"]["name"] for one in listed["items"]] == [f"w{number}" for number in range(10)]
    if kind == "mutating":
        assert world.config_map("before")["metadata"]["labels"] == {"marked": "yes"}
    else:
        with pytest.raises(errors.StatusError, match="denied the request: not here"):
            world.config_map("before")
    world.cluster.request("DELETE", path, query="labelSelector=of%3Dten")
    listed = world.cluster.request("GET", path, query="labelSelector=of%3Dten")
    assert listed["items"] == []
    world.settle(path, listed)
    assert "labels" not in world.config_map("after")["metadata"]


@pytest.mark.parametrize("kind", ["mutating", "validating"])
def test_an_update_and_a_patch_of_its_rules_count(world: World, kind: str) -> None:
    name = {"mutating": "mark", "validating": "deny"}[kind]
    path = f"{CONFIGURATIONS}/{kind}webhookconfigurations"
    webhook = world.hooks.webhook(name, "/configmaps")
    made = world.register(kind, "changes", webhook)
    spared = [webhook["rules"][0] | {"operations": ["UPDATE"]}]
    updated = world.cluster.request("PUT", f"{path}/changes", body=made | {"webhooks": [webhook | {"rules": spared}]})
    world.settle(path, updated)
    assert "labels" not in world.config_map("spared")["metadata"]
    change = {"webhooks": [webhook | {"rules": [webhook["rules"][0] | {"operations": ["CREATE"]}]}]}
    world.settle(path, world.cluster.patch(f"{kind}webhookconfiguration/changes", change))
    if kind == "mutating":
        assert world.config_map("concerned")["metadata"]["labels"] == {"marked": "yes"}
    else:
        with pytest.raises(errors.StatusError, match="denied the request: not here"):
            world.config_map("concerned")


@pytest.mark.parametrize("kind", ["mutating", "validating"])
def test_match_conditions_are_kept_and_change(world: World, kind: str) -> None:
    conditions = [{"name": "first", "expression": "object.metadata.name == 'x'"}]
    made = world.register(kind, "if", world.hooks.webhook("allow", "/configmaps", matchConditions=conditions))
    path = f"{CONFIGURATIONS}/{kind}webhookconfigurations/if"
    (read,) = world.cluster.request("GET", path)["webhooks"]
    assert read["matchConditions"] == conditions
    others = [*conditions, {"name": "second", "expression": "request.operation == 'CREATE'"}]
    webhooks = [world.hooks.webhook("allow", "/configmaps", matchConditions=others)]
    world.cluster.request("PUT", path, body=made | {"webhooks": webhooks})
    (read,) = world.cluster.request("GET", path)["webhooks"]
    assert read["matchConditions"] == others


def test_conditions_spare_one_object(world: World) -> None:
    conditions = [{"name": "not-skip-me", "expression": "object.metadata.name != 'skip-me'"}]
    world.register("mutating", "but", world.hooks.webhook("mark", "/configmaps", matchConditions=conditions))
    assert "labels" not in world.config_map("skip-me")["metadata"]
    assert world.config_map("other")["metadata"]["labels"] == {"marked": "yes"}


def test_two_change_one_config_map_after_another(world: World) -> None:
    world.hooks.answers |= {"one": adds("start", "one"), "two": adds("one", "two")}
    webhooks = [world.hooks.webhook(name, "/configmaps") for name in ("one", "two")]
    world.register("mutating", "both", *webhooks)
    assert world.config_map(start="yes")["data"] == {"start": "yes", "one": "yes", "two": "yes"}


def test_an_init_container_that_is_put_in_gets_its_defaults(world: World) -> None:
    put = {"op": "add", "path": "/spec/initContainers", "value": [{"name": "added", "image": "i"}]}
    world.hooks.answers["add"] = lambda request: changed([put])
    world.register("mutating", "adds", world.hooks.webhook("add", "/pods"))
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    (added,) = world.create(PODS, pod)["spec"]["initContainers"]
    assert (added["name"], added["terminationMessagePolicy"]) == ("added", "File")


def test_pods_and_config_maps_are_refused_when_they_are_made_and_changed(world: World) -> None:
    def judge(request: Tree) -> Tree:
        labels = request["object"]["metadata"].get("labels") or {}
        return {"allowed": "bad" not in labels, "status": {"message": f"bad {request['kind']['kind']}"}}

    let_go = threading.Event()

    def hang(request: Tree) -> Tree:
        let_go.wait()
        return {"allowed": True}

    world.hooks.answers |= {"judge": judge, "hang": hang}
    elsewhere = {"matchExpressions": [{"key": "exempt", "operator": "DoesNotExist"}]}
    judged = world.hooks.webhook("judge", "/configmaps", "/pods", namespaceSelector=elsewhere)
    judged["rules"] = [one | {"operations": ["CREATE", "UPDATE"]} for one in judged["rules"]]
    slow = {"matchLabels": {"slow": "yes"}}
    hanging = world.hooks.webhook("hang", "/pods", timeoutSeconds=1, objectSelector=slow)
    world.register("validating", "judges", judged, hanging)
    bad = {"labels": {"bad": "yes"}}
    containers = {"containers": [{"name": "c", "image": "i"}]}
    for path, spec in ((CONFIG_MAPS, {"data": {}}), (PODS, {"spec": containers})):
        with pytest.raises(errors.StatusError, match=r'admission webhook "judge\.example\.com" denied .*: bad'):
            world.create(path, {"metadata": {"name": "bad", **bad}, **spec})
        made = world.create(path, {"metadata": {"name": "good"}, **spec})
        with pytest.raises(errors.StatusError, match=r"denied .*: bad"):
            world.cluster.request("PUT", f"{path}/good", body=made | {"metadata": made["metadata"] | bad})
        with pytest.raises(errors.StatusError, match=r"denied .*: bad"):
            world.cluster.patch(f"{path.rpartition('/')[2]}/good", {"metadata": bad})
    with pytest.raises(errors.StatusError, match="context deadline exceeded"):
        world.create(PODS, {"metadata": {"name": "slow", **slow | {"labels": {"slow": "yes"}}}, "spec": containers})
    let_go.set()
    world.create("/api/v1/namespaces", {"metadata": {"name": "exempt", "labels": {"exempt": "yes"}}})
    exempt = "/api/v1/namespaces/exempt/configmaps"
    assert world.create(exempt, {"metadata": {"name": "bad", **bad}})["metadata"]["name"] == "bad"


def test_a_time_limit_counts_and_a_failure_may_be_ignored(world: World) -> None:
    let_go = threading.Event()

    def wait(request: Tree) -> Tree:
        let_go.wait()
        return {"allowed": True}

    world.hooks.answers["wait"] = wait
    world.register("validating", "short", world.hooks.webhook("wait", "/configmaps", timeoutSeconds=1))
    with pytest.raises(errors.StatusError, match=r"timeout=1s.*context deadline exceeded"):
        world.config_map("short")
    path = f"{CONFIGURATIONS}/validatingwebhookconfigurations"
    ignoring = world.hooks.webhook("wait", "/configmaps", timeoutSeconds=1, failurePolicy="Ignore")
    world.settle(path, world.cluster.patch("validatingwebhookconfiguration/short", {"webhooks": [ignoring]}))
    assert world.config_map("ignored")["metadata"]["name"] == "ignored"
    # One that answers after more than a second is waited for where it has ten; ten is also what nobody says.
    for limit in ({"timeoutSeconds": 10}, {}):
        patient = world.hooks.webhook("wait", "/configmaps", **limit)
        changed = world.cluster.patch("validatingwebhookconfiguration/short", {"webhooks": [patient]})
        assert changed["webhooks"][0]["timeoutSeconds"] == 10
        world.settle(path, changed)
        let_go.clear()
        answering = threading.Timer(1.1, let_go.set)
        answering.start()
        asked = len(world.hooks.asked)
        world.config_map(f"patient-{len(limit)}")
        assert len(world.hooks.asked) == asked + 1
        answering.join()


def test_attaching_is_refused(world: World) -> None:
    webhook = world.hooks.webhook("deny", "/pods/attach")
    webhook["rules"][0]["resources"] = ["pods/attach"]
    webhook["rules"][0] |= {"apiGroups": [""], "operations": ["CONNECT"]}
    world.register("validating", "closed", webhook)
    world.create(PODS, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    with pytest.raises(errors.StatusError, match="denied the request: not here"):
        world.cluster.request("POST", f"{PODS}/p/attach", query="container=c&stdin=true")


def test_definitions_of_custom_resources_are_refused(world: World) -> None:
    world.register("validating", "none", world.hooks.webhook("deny", "apiextensions.k8s.io/customresourcedefinitions"))
    with pytest.raises(errors.StatusError, match="denied the request: not here"):
        world.define(version("v1"))
    with pytest.raises(errors.NotFound):
        world.cluster.get("crd/widgets.example.com")
    world.made = [one for one in world.made if not one.startswith(DEFINITIONS)]


def test_custom_resources_are_refused_when_they_are_made_changed_and_deleted(world: World) -> None:
    path = f"{world.define(version('v1'))}/v1/namespaces/default/widgets"

    def judge(request: Tree) -> Tree:
        seen = request["oldObject"] if request["operation"] == "DELETE" else request["object"]
        return {"allowed": seen.get("mood") != "bad", "status": {"message": f"{request['operation']} of a bad one"}}

    world.hooks.answers["judge"] = judge
    named = {"apiVersion": "example.com/v1", "kind": "Widget"}
    world.create(path, named | {"metadata": {"name": "was-bad"}, "mood": "bad"})
    world.create(path, named | {"metadata": {"name": "good"}, "mood": "good"})
    world.register("validating", "judges", world.hooks.webhook("judge", "example.com/widgets"))
    with pytest.raises(errors.StatusError, match="CREATE of a bad one"):
        world.create(path, named | {"metadata": {"name": "bad"}, "mood": "bad"})
    with pytest.raises(errors.StatusError, match="UPDATE of a bad one"):
        world.cluster.patch("widget/good", {"mood": "bad"})
    with pytest.raises(errors.StatusError, match="DELETE of a bad one"):
        world.cluster.request("DELETE", f"{path}/was-bad")
    world.cluster.patch("widget/was-bad", {"mood": "good"})
    world.cluster.request("DELETE", f"{path}/was-bad")


def test_custom_resources_are_changed(world: World) -> None:
    path = f"{world.define(version('v1'))}/v1/namespaces/default/widgets"
    world.hooks.answers |= {"one": adds("start", "one"), "two": adds("one", "two")}
    world.register("mutating", "m", *[world.hooks.webhook(name, "example.com/widgets") for name in ("one", "two")])
    tree = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "data": {"start": "yes"}}
    assert world.create(path, tree)["data"] == {"start": "yes", "one": "yes", "two": "yes"}


def test_what_the_schema_does_not_have_is_pruned_after_it_was_put_in(world: World) -> None:
    properties = {"start": {"type": "string"}, "one": {"type": "string"}}
    path = f"{world.define(version('v1', data={'type': 'object', 'properties': properties}))}/v1"
    world.hooks.answers |= {"one": adds("start", "one"), "two": adds("one", "two")}
    world.register("mutating", "m", *[world.hooks.webhook(name, "example.com/widgets") for name in ("one", "two")])
    tree = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "data": {"start": "yes"}}
    made = world.create(f"{path}/namespaces/default/widgets", tree)
    assert made["data"] == {"start": "yes", "one": "yes"}
    assert [name for name, _ in world.hooks.asked] == ["one", "two"]


def test_custom_resources_are_changed_when_another_version_is_stored(world: World) -> None:
    group = world.define(version("v1"), version("v2"))
    world.register("mutating", "marks", world.hooks.webhook("mark", "example.com/widgets"))
    tree = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "data": {"start": "yes"}}
    assert world.create(f"{group}/v1/namespaces/default/widgets", tree)["metadata"]["labels"] == {"marked": "yes"}
    versions = [version("v1", storage="v2"), version("v2", storage="v2")]
    changed = world.cluster.patch("crd/widgets.example.com", {"spec": {"versions": versions}})
    world.settle(DEFINITIONS, changed)
    patched = world.cluster.patch("widget/w", {"data": {"added": "yes"}, "metadata": {"labels": None}})
    assert patched["data"] == {"start": "yes", "added": "yes"}
    assert patched["metadata"]["labels"] == {"marked": "yes"}
    assert world.cluster.request("GET", f"{group}/v2/namespaces/default/widgets/w")["data"] == patched["data"]


def test_webhooks_do_not_concern_webhooks(world: World) -> None:
    everything = ("admissionregistration.k8s.io/*",)
    world.register("mutating", "marks", world.hooks.webhook("mark", *everything))
    world.register("validating", "denies", world.hooks.webhook("deny", *everything))
    for kind in ("mutating", "validating"):
        made = world.register(kind, "free", world.hooks.webhook("allow", "/nothing"))
        assert "labels" not in made["metadata"]
        world.cluster.request("DELETE", f"{CONFIGURATIONS}/{kind}webhookconfigurations/free")
    assert world.hooks.asked == []


@pytest.mark.parametrize("kind", ["mutating", "validating"])
def test_a_condition_that_does_not_compile_is_refused(world: World, kind: str) -> None:
    conditions = [{"name": "c", "expression": "... [] bad expression"}]
    with pytest.raises(errors.Invalid, match="compilation failed"):
        world.register(kind, "w", world.hooks.webhook("allow", "/configmaps", matchConditions=conditions))


def test_one_that_cannot_be_called_and_fails_closed_refuses_everything(world: World) -> None:
    webhook = world.hooks.webhook("allow", "/configmaps", failurePolicy="Fail")
    del webhook["clientConfig"]["caBundle"]
    world.register("validating", "closed", webhook)
    with pytest.raises(errors.InternalError, match="certificate signed by unknown authority"):
        world.config_map()
    assert world.hooks.asked == []


def converted(request: Tree) -> Tree:
    """Between v1, which has `hostPort`, and v2, which has `host` and `port`."""

    def one(tree: Tree) -> Tree:
        made = tree | {"apiVersion": request["desiredAPIVersion"]}
        if request["desiredAPIVersion"].endswith("v2") and "hostPort" in made:
            made["host"], _, made["port"] = made.pop("hostPort").partition(":")
        elif request["desiredAPIVersion"].endswith("v1") and "host" in made:
            made["hostPort"] = f"{made.pop('host')}:{made.pop('port')}"
        return made

    return {"convertedObjects": [one(tree) for tree in request["objects"]], "result": {"status": "Success"}}


TEXT = {"type": "string"}


def convertible(world: World, *, selectable: bool = False) -> str:
    """Custom resources of two versions, and a webhook between them."""
    world.hooks.answers["convert"] = converted
    webhook = {"clientConfig": world.hooks.client("convert"), "conversionReviewVersions": ["v1"]}
    first, second = version("v1", hostPort=TEXT), version("v2", host=TEXT, port=TEXT)
    if selectable:
        first["selectableFields"] = [{"jsonPath": ".hostPort"}]
        second["selectableFields"] = [{"jsonPath": ".host"}]
    return world.define(first, second, conversion={"strategy": "Webhook", "webhook": webhook})


def host_port(name: str, value: str) -> Tree:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "hostPort": value}


def test_a_custom_resource_is_converted(world: World) -> None:
    group = convertible(world)
    world.create(f"{group}/v1/namespaces/default/widgets", host_port("w", "here:80"))
    read = world.cluster.request("GET", f"{group}/v2/namespaces/default/widgets/w")
    assert (read["apiVersion"], read["host"], read["port"]) == ("example.com/v2", "here", "80")
    assert "hostPort" not in read


def test_a_list_of_objects_of_several_stored_versions_is_converted(world: World) -> None:
    group = convertible(world)
    world.create(f"{group}/v1/namespaces/default/widgets", host_port("first", "here:80"))
    world.settle(DEFINITIONS, world.cluster.apply(definition_stored_in_v2(world))[0])
    second = {"apiVersion": "example.com/v2", "kind": "Widget", "metadata": {"name": "second"}}
    world.create(f"{group}/v2/namespaces/default/widgets", second | {"host": "there", "port": "81"})
    for wanted, field in (("v2", "host"), ("v1", "hostPort")):
        listed = world.cluster.request("GET", f"{group}/{wanted}/namespaces/default/widgets")
        assert [one["apiVersion"] for one in listed["items"]] == [f"example.com/{wanted}"] * 2
        assert [one[field].partition(":")[0] for one in listed["items"]] == ["here", "there"]


def definition_stored_in_v2(world: World) -> Tree:
    found = world.cluster.get("crd/widgets.example.com")
    for one in found["spec"]["versions"]:
        one["storage"] = one["name"] == "v2"
    return {key: found[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": "widgets.example.com"}}


def test_objects_are_selected_by_a_field_of_the_version_they_are_asked_for_in(world: World) -> None:
    group = convertible(world, selectable=True)
    for name, value in (("a", "here:80"), ("b", "there:80"), ("c", "here:81")):
        made = world.create(f"{group}/v1/namespaces/default/widgets", host_port(name, value))

    def names(wanted: str, selector: str) -> list[str]:
        path = f"{group}/{wanted}/namespaces/default/widgets"
        listed = world.cluster.request("GET", path, query=f"fieldSelector={selector}")
        return [one["metadata"]["name"] for one in listed["items"]]

    assert names("v2", "host%3Dhere") == ["a", "c"]
    assert names("v1", "hostPort%3Dhere:80") == ["a"]
    with pytest.raises(errors.BadRequest):
        names("v2", "port%3D80")
    world.cluster.patch("widget/b", {"hostPort": "here:82"})
    assert names("v2", "host%3Dhere") == ["a", "b", "c"]
    world.cluster.patch("widget/a", {"hostPort": "there:80"})
    world.cluster.request("DELETE", f"{group}/v1/namespaces/default/widgets/c")
    assert names("v2", "host%3Dhere") == ["b"]
    told = world.cluster.changes(
        "widget.v2.example.com", made["metadata"]["resourceVersion"], field_selector="host=here"
    )
    assert [(one["type"], one["object"]["metadata"]["name"]) for one in told] == [
        ("ADDED", "b"),
        ("DELETED", "a"),
        ("DELETED", "c"),
    ]
    assert {one["object"]["apiVersion"] for one in told} == {"example.com/v2"}
