"""metrics.k8s.io through the real API server, with kubelets that the test plays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from keelback.api.apiregistration_v1 import APIService, ServiceReference
from keelback.api.core_v1 import Container, Namespace, Node, Pod, PodSpec, PodStatus
from keelback.api.metrics_v1beta1 import NodeMetrics, PodMetrics
from keelback.apimachinery import errors, protobuf
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.apiserver.assembly import RunningAPIServer
from keelback.apiserver.extensions import Extension
from keelback.auth import users
from keelback.auth.users import AUTHENTICATED_GROUP, UserInfo
from keelback.client import Client
from keelback.metrics import access, answers
from keelback.metrics.observed import MeasuredNode
from keelback.metrics.server import ResourceMetrics
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.clock import HandClock

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


@dataclass
class Kubelets:
    """Counters that the test sets, in the kubelets' own words."""

    clock: HandClock
    cores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)

    async def fetch(self, node: MeasuredNode) -> bytes:
        name = node.metadata.name
        if name in self.silent:
            raise ConnectionError("no route to host")
        now = self.clock.now().timestamp()
        lines = [f"node_cpu_usage_seconds_total {self.clock.seconds * 0.5}", "node_memory_working_set_bytes 2097152"]
        for pod, containers in self.cores.items():
            for container, cores in containers.items():
                labels = f'{{container="{container}",namespace="shop",pod="{pod}"}}'
                lines.append(f"container_cpu_usage_seconds_total{labels} {self.clock.seconds * cores} {now * 1000:.0f}")
                lines.append(f"container_memory_working_set_bytes{labels} 1049600 {now * 1000:.0f}")
        return "\n".join([*lines, ""]).encode()


class Setting:
    def __init__(self, server: RunningAPIServer, kubelets: Kubelets, clock: HandClock) -> None:
        self.server = server
        self.kubelets = kubelets
        self.clock = clock
        self.client: Client = server.client(ADMINISTRATOR, "test")

    async def pod(self, name: str, *containers: str, **labels: str) -> None:
        made = await self.client.create(
            Pod(
                metadata=ObjectMeta(name=name, namespace="shop", labels=labels),
                spec=PodSpec(
                    node_name="node-0", containers=tuple(Container(name=one, image="example") for one in containers)
                ),
            )
        )
        await self.client.update(replace(made, status=PodStatus(phase="Running")), "status")

    async def get(self, path: str, query: str = "", accept: str = "application/json") -> Any:
        answer = await self.client.request("GET", f"/apis/metrics.k8s.io/v1beta1{path}", query, b"", {"accept": accept})
        return json.loads(answer.content())


@asynccontextmanager
async def _setting() -> AsyncIterator[Setting]:
    clock = HandClock()
    kubelets = Kubelets(clock)
    metrics = ResourceMetrics(clock)
    extension = Extension(answers.GROUP, answers.VERSION, metrics.handle)
    async with api_server(clock, others=(extension,)) as server:
        setting = Setting(server, kubelets, clock)
        client = setting.client
        await client.create(Namespace(metadata=ObjectMeta(name="shop")))
        await client.create(Node(metadata=ObjectMeta(name="node-0", labels={"zone": "a"})))
        await access.ensure(client)
        # The roles count once the server has heard of them.
        await clock.pass_time(1)
        groups = (*users.service_account_groups("kube-system"), AUTHENTICATED_GROUP)
        account = UserInfo(users.service_account_user_name("kube-system", access.ACCOUNT), groups=groups)
        running = asyncio.create_task(metrics.run(server.client(account, "metrics-server"), kubelets.fetch))
        try:
            yield setting
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def _in_a_cluster(test: Callable[[Setting], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        async def main() -> None:
            async with _setting() as setting:
                await test(setting)

        asyncio.run(main())

    return run


@_in_a_cluster
async def test_figures_come_with_the_second_reading(setting: Setting) -> None:
    await setting.pod("web-0", "app", "side", app="web")
    setting.kubelets.cores = {"web-0": {"app": 0.25, "side": 0.001}}
    with pytest.raises(errors.NotFound, match=r'nodemetrics.metrics.k8s.io "node-0" not found'):
        await setting.client.get(NodeMetrics, "node-0")
    await setting.clock.pass_time(16)
    with pytest.raises(errors.NotFound, match=r'podmetrics.metrics.k8s.io "shop/web-0" not found'):
        await setting.client.get(PodMetrics, "web-0", "shop")
    assert (await setting.get("/pods"))["items"] == []
    await setting.clock.pass_time(15)
    pod = await setting.client.get(PodMetrics, "web-0", "shop")
    assert {one.name: dict(one.usage) for one in pod.containers} == {
        "app": {"cpu": "250m", "memory": "1025Ki"},
        "side": {"cpu": "1m", "memory": "1025Ki"},
    }
    assert pod.window == "15s"
    assert pod.metadata.labels == {"app": "web"}
    node = await setting.client.get(NodeMetrics, "node-0")
    assert (dict(node.usage), node.metadata.labels["zone"]) == ({"cpu": "500m", "memory": "2Mi"}, "a")


@_in_a_cluster
async def test_lists_select_by_labels_and_fields(setting: Setting) -> None:
    for name in ("web-0", "web-1", "db-0"):
        await setting.pod(name, "app", app=name[:-2])
    setting.kubelets.cores = {name: {"app": 0.1} for name in ("web-0", "web-1", "db-0")}
    await setting.clock.pass_time(31)
    whole = await setting.get("/pods")
    assert (whole["kind"], whole["apiVersion"]) == ("PodMetricsList", "metrics.k8s.io/v1beta1")
    assert [one["metadata"]["name"] for one in whole["items"]] == ["db-0", "web-0", "web-1"]
    web = await setting.get("/namespaces/shop/pods", "labelSelector=app%3Dweb")
    assert [one["metadata"]["name"] for one in web["items"]] == ["web-0", "web-1"]
    one = await setting.get("/namespaces/shop/pods", "fieldSelector=metadata.name%3Dweb-1")
    assert [one["metadata"]["name"] for one in one["items"]] == ["web-1"]
    assert (await setting.get("/nodes", "labelSelector=zone%3Db"))["items"] == []
    with pytest.raises(errors.BadRequest, match=r"field label not supported: spec\.x"):
        await setting.get("/pods", "fieldSelector=spec.x%3D1")
    with pytest.raises(errors.BadRequest):
        await setting.get("/pods", "labelSelector=%3D%3D")


@_in_a_cluster
async def test_a_table_sums_the_containers(setting: Setting) -> None:
    await setting.pod("web-0", "app", "side")
    setting.kubelets.cores = {"web-0": {"app": 0.25, "side": 0.25}}
    await setting.clock.pass_time(31)
    table = await setting.get("/namespaces/shop/pods", accept=TABLE)
    assert [one["name"] for one in table["columnDefinitions"]] == ["Name", "cpu", "memory", "Window"]
    assert [row["cells"] for row in table["rows"]] == [["web-0", "500m", "2050Ki", "15s"]]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


@_in_a_cluster
async def test_a_node_that_does_not_answer_has_no_pods_with_figures(setting: Setting) -> None:
    await setting.pod("web-0", "app")
    setting.kubelets.cores = {"web-0": {"app": 0.25}}
    await setting.clock.pass_time(31)
    assert len((await setting.get("/pods"))["items"]) == 1
    setting.kubelets.silent.add("node-0")
    await setting.clock.pass_time(15)
    assert (await setting.get("/pods"))["items"] == []
    setting.kubelets.silent.clear()
    await setting.clock.pass_time(30)
    assert len((await setting.get("/pods"))["items"]) == 1


@_in_a_cluster
async def test_it_is_discovered_described_and_registered(setting: Setting) -> None:
    client = setting.client
    groups = json.loads((await client.request("GET", "/apis")).content())["groups"]
    assert groups[-1]["name"] == "metrics.k8s.io"
    found = json.loads((await client.request("GET", "/apis/metrics.k8s.io/v1beta1")).content())
    assert [(one["name"], one["kind"], one["verbs"]) for one in found["resources"]] == [
        ("nodes", "NodeMetrics", ["get", "list"]),
        ("pods", "PodMetrics", ["get", "list"]),
    ]
    service = await client.get(APIService, "v1beta1.metrics.k8s.io")
    assert [(one.type, one.status) for one in service.status.conditions] == [("Available", "True")]
    document = json.loads((await client.request("GET", "/openapi/v3/apis/metrics.k8s.io/v1beta1")).content())
    assert "/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods/{name}" in document["paths"]
    schemas = document["components"]["schemas"]
    assert "containers" in schemas["io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics"]["properties"]
    v2 = json.loads((await client.request("GET", "/openapi/v2")).content())
    assert "io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics" in v2["definitions"]


@_in_a_cluster
async def test_it_is_for_those_who_may_and_only_for_reading(setting: Setting) -> None:
    jane = setting.server.client(UserInfo("jane", groups=(AUTHENTICATED_GROUP,)), "test")
    with pytest.raises(errors.Forbidden, match=r'cannot list resource "pods" in API group "metrics\.k8s\.io"'):
        await jane.list(PodMetrics, "shop")
    with pytest.raises(errors.MethodNotSupported):
        await setting.client.delete(PodMetrics, "web-0", "shop")
    with pytest.raises(errors.MethodNotSupported):
        await setting.get("/pods", "watch=true")
    with pytest.raises(errors.NotAcceptable):
        await setting.get("/pods", accept="application/cbor")
    with pytest.raises(errors.NotFound):
        await setting.get("/pods/web-0")


@_in_a_cluster
async def test_figures_are_told_in_protobuf_too(setting: Setting) -> None:
    await setting.pod("web-0", "app")
    setting.kubelets.cores = {"web-0": {"app": 0.25}}
    await setting.clock.pass_time(31)

    async def read(path: str) -> Any:
        headers = {"accept": "application/vnd.kubernetes.protobuf,application/json"}
        answer = await setting.client.request("GET", f"/apis/metrics.k8s.io/v1beta1{path}", "", b"", headers)
        assert answer.headers["content-type"] == "application/vnd.kubernetes.protobuf"
        return json.loads(protobuf.to_json(answer.content()))

    def plain(tree: Any) -> Any:
        kept = {key: tree[key] for key in ("timestamp", "window", "usage", "containers") if key in tree}
        return {**kept, "name": tree["metadata"]["name"]}

    for path in ("/nodes/node-0", "/namespaces/shop/pods/web-0"):
        told, said = await read(path), await setting.get(path)
        assert told["window"] == {"duration": 15 * 10**9}
        assert plain({**told, "window": "15s"}) == plain(said)
        listed = await read(path.rpartition("/")[0])
        assert [plain(one) for one in listed["items"]] == [plain(told)]
        assert listed["kind"] == f"{said['kind']}List"
    assert (await read(""))["resources"][0]["kind"] == "NodeMetrics"


@_in_a_cluster
async def test_a_metrics_server_that_is_installed_takes_its_place_and_gives_it_back(setting: Setting) -> None:
    name = "v1beta1.metrics.k8s.io"
    made = await setting.client.get(APIService, name)
    service = ServiceReference(name="metrics-server", namespace="kube-system")
    elsewhere = replace(made.spec, service=service, insecure_skip_tls_verify=True)
    await setting.client.update(replace(made, spec=elsewhere))
    await setting.clock.pass_time(1)
    with pytest.raises(errors.ServiceUnavailable):
        await setting.get("/nodes")
    await setting.client.delete(APIService, name)
    await setting.clock.pass_time(1)
    assert (await setting.get("/nodes"))["items"] == []


def test_windows_are_written_as_go_does() -> None:
    assert [answers.window_text(one) for one in (15.0, 15.0426, 62.5, 0.25, 120)] == [
        "15s",
        "15.043s",
        "1m2.5s",
        "0.25s",
        "2m0s",
    ]
