"""Extenders: real servers on loopback, asked by a scheduler about nodes, scores, victims and bindings."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from keelback.component.http import Request, Response
from keelback.component.serving import Server, server_context
from keelback.scheduler import configuration
from keelback.scheduler.config import SchedulerConfig
from keelback.testing.access_servers import authority
from keelback.testing.cluster import Cluster

Make = Callable[..., Any]
Tree = dict[str, Any]
HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nextenders:\n"


class ExtenderServer:
    """Answers by verb; `asked` has the verbs and what came with them, `calls` those of a verb."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[Tree], Any]] = {}
        self.asked: list[tuple[str, Tree]] = []
        self.heard = asyncio.Condition()
        self.held = asyncio.Event()
        self.held.set()
        self.certificates: list[bool] = []

    def calls(self, verb: str) -> list[Tree]:
        return [body for asked, body in self.asked if asked == verb]

    async def handle(self, request: Request) -> Response:
        verb, body = request.path.rpartition("/")[2], json.loads(request.body)
        assert request.path.startswith("/scheduler/")
        assert request.headers["content-type"] == "application/json"
        async with self.heard:
            self.asked.append((verb, body))
            self.heard.notify_all()
        self.certificates.append(request.peer_certificate is not None)
        await self.held.wait()
        answer = self.answers.get(verb)
        if answer is None:
            return Response(404, {}, b"")
        return Response(200, {"content-type": "application/json"}, json.dumps(answer(body)).encode())

    async def hears(self, number: int) -> None:
        """Return when that many questions have come."""
        async with asyncio.timeout(10), self.heard:
            await self.heard.wait_for(lambda: len(self.asked) >= number)

    @asynccontextmanager
    async def serving(self, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        server = Server(self.handle, context)
        await server.start()
        try:
            yield f"{'https' if context else 'http'}://127.0.0.1:{server.bound_port}/scheduler"
        finally:
            await server.shutdown()


def extending(url: str, **more: Any) -> dict[str, Any]:
    """What a world's scheduler is told."""
    config = configuration.parse(f"{HEAD}- {json.dumps({'urlPrefix': url, **more})}", SchedulerConfig())
    return {"extenders": config.extenders, "profiles": config.profiles}


async def three_nodes(world: Any) -> None:
    for number in range(3):
        await world.add_node(f"n{number}", cpu="2")


def test_filters_have_the_last_word_on_nodes_and_their_reasons_are_told(make_world: Make) -> None:
    async def scenario() -> None:
        extender = ExtenderServer()
        extender.answers["filter"] = lambda asked: {
            "Nodes": {"items": [one for one in asked["Nodes"]["items"] if one["metadata"]["name"] == "n1"]},
            "FailedNodes": {"n0": "too warm"},
            "FailedAndUnresolvableNodes": {"n2": "too loud"},
        }
        async with extender.serving() as url:
            world = make_world(**extending(url, filterVerb="filter"))
            await three_nodes(world)
            async with world.running():
                for number in range(3):
                    await world.add_pod(f"p{number}")
                await world.until(lambda: world.messages("p2", "FailedScheduling"))
            assert [world.node_of(f"p{number}") for number in range(3)] == ["n1", "n1", ""]
            assert world.messages("p2", "FailedScheduling") == [
                "0/3 nodes are available: 1 Insufficient cpu, 1 too loud, 1 too warm. "
                "no new claims to deallocate, "
                "preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, "
                "2 No preemption victims found for incoming pod."
            ]
            asked = extender.calls("filter")[0]
            assert asked["Pod"]["metadata"]["name"] == "p0"
            assert [one["status"]["allocatable"]["cpu"] for one in asked["Nodes"]["items"]] == ["2"] * 3
            assert asked["NodeNames"] is None

    asyncio.run(scenario())


def test_one_that_keeps_nodes_itself_gets_names_and_may_answer_in_small_letters(make_world: Make) -> None:
    async def scenario() -> None:
        extender = ExtenderServer()
        extender.answers["filter"] = lambda asked: {"nodenames": ["n2"], "failednodes": {}}
        async with extender.serving() as url:
            world = make_world(**extending(url, filterVerb="filter", nodeCacheCapable=True))
            await three_nodes(world)
            async with world.running():
                await world.add_pod("p")
                await world.until(lambda: world.node_of("p"))
            assert world.node_of("p") == "n2"
            (asked,) = extender.calls("filter")
            assert (asked["NodeNames"], asked["Nodes"]) == (["n0", "n1", "n2"], None)

    asyncio.run(scenario())


def test_priorities_are_weighed_against_the_plugins_scores(make_world: Make) -> None:
    async def scenario() -> None:
        extender = ExtenderServer()
        extender.answers["prioritize"] = lambda asked: [
            {"Host": name, "Score": 5 if name == "n0" else 0} for name in asked["NodeNames"]
        ]
        async with extender.serving() as url:
            for weight, wanted in ((1, "n1"), (3, "n0")):
                given = extending(url, prioritizeVerb="prioritize", weight=weight, nodeCacheCapable=True)
                world = make_world(**given)
                await world.add_node("n0", cpu="2")
                await world.add_node("n1", cpu="200")
                async with world.running():
                    # NodeResourcesFit and BalancedAllocation give the large node between 50 and 150 points more.
                    await world.add_pod("p", cpu="2")
                    await world.until(lambda world=world: world.node_of("p"))
                assert world.node_of("p") == wanted, weight

    asyncio.run(scenario())


@pytest.mark.parametrize("ignorable", [True, False])
def test_one_that_fails_stops_its_pods_unless_it_may_be_ignored(make_world: Make, ignorable: bool) -> None:
    async def scenario() -> None:
        extender = ExtenderServer()
        async with extender.serving() as url:
            world = make_world(**extending(url, filterVerb="sieve", ignorable=ignorable))
            await three_nodes(world)
            async with world.running():
                await world.add_pod("p")
                await world.until(lambda: world.node_of("p") or world.messages("p", "FailedScheduling"))
                if ignorable:
                    assert world.node_of("p")
                    return
                said = f"failed sieve with extender at URL {url}/sieve, code 404"
                assert world.messages("p", "FailedScheduling") == [said]
                assert world.condition("p")["reason"] == "SchedulerError"
                extender.answers["sieve"] = lambda asked: {"Nodes": asked["Nodes"]}
                world.clock.advance(2)
                await world.until(lambda: world.node_of("p"))

    asyncio.run(scenario())


def test_one_that_is_silent_is_waited_for_no_longer_than_its_time(make_world: Make) -> None:
    async def scenario() -> None:
        extender = ExtenderServer()
        extender.held.clear()
        async with extender.serving() as url:
            world = make_world(**extending(url, filterVerb="filter", httpTimeout="200ms"))
            await three_nodes(world)
            async with world.running():
                await world.add_pod("p")
                await world.until(lambda: world.messages("p", "FailedScheduling"))
            said = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            assert world.messages("p", "FailedScheduling") == [f'Post "{url}/filter": {said}']
            extender.held.set()

    asyncio.run(scenario())


def test_a_pod_that_goes_and_a_node_that_fills_while_it_thinks_are_noticed(make_world: Make) -> None:
    async def scenario() -> None:
        extender = ExtenderServer()
        extender.answers["filter"] = lambda asked: {"NodeNames": asked["NodeNames"][:1]}
        extender.held.clear()
        async with extender.serving() as url:
            world = make_world(**extending(url, filterVerb="filter", nodeCacheCapable=True))
            for name in ("n0", "n1"):
                await world.add_node(name, cpu="1")
            async with world.running():
                await world.add_pod("slow")
                await extender.hears(1)
                # Somebody else, who asks no extender, takes the node that it will name.
                await world.add_pod("other", nodeName="n0", schedulerName="another")
                await world.settle()
                extender.held.set()
                await world.until(lambda: world.node_of("slow"))
                assert world.node_of("slow") == "n1"
                assert len(extender.asked) == 2
                extender.held.clear()
                await world.server.delete("pods/default/slow")
                await world.add_pod("gone")
                await extender.hears(3)
                await world.server.delete("pods/default/gone")
                await world.settle()
                extender.held.set()
                await world.add_pod("last")
                await world.until(lambda: world.node_of("last"))
                assert world.scheduler.observation.nodes.pod_count.sum() == 2

    asyncio.run(scenario())


def test_it_is_asked_about_pods_of_its_resources_alone_which_the_scheduler_may_leave_to_it(make_world: Make) -> None:
    async def scenario() -> None:
        extender = ExtenderServer()
        extender.answers["filter"] = lambda asked: {"NodeNames": ["n2"]}
        async with extender.serving() as url:
            managed = [{"name": "example.com/dongle", "ignoredByScheduler": True}]
            given = extending(url, filterVerb="filter", nodeCacheCapable=True, managedResources=managed)
            world = make_world(**given)
            await three_nodes(world)
            async with world.running():
                await world.add_pod("plain")
                await world.until(lambda: world.node_of("plain"))
                assert not extender.asked
                resources = {"requests": {"cpu": "1", "example.com/dongle": "1"}}
                containers = [{"name": "c", "image": "one", "resources": resources}]
                # No node says that it has any.
                await world.add_pod("special", containers=containers)
                await world.until(lambda: world.node_of("special"))
                assert world.node_of("special") == "n2"

    asyncio.run(scenario())


@pytest.mark.parametrize("keeps_nodes", [True, False])
def test_it_agrees_to_victims_or_chooses_among_them(make_world: Make, keeps_nodes: bool) -> None:
    async def scenario() -> None:
        extender = ExtenderServer()
        key = "NodeNameToMetaVictims" if keeps_nodes else "NodeNameToVictims"

        def uids(asked: Tree, node: str) -> list[Tree]:
            pods = asked[key][node]["Pods"]
            return [{"UID": one["UID"] if keeps_nodes else one["metadata"]["uid"]} for one in pods]

        extender.answers["preempt"] = lambda asked: {
            "NodeNameToMetaVictims": {"n1": {"Pods": uids(asked, "n1"), "NumPDBViolations": 0}}
        }
        async with extender.serving() as url:
            world = make_world(**extending(url, preemptVerb="preempt", nodeCacheCapable=keeps_nodes))
            await three_nodes(world)
            async with world.running():
                for number in range(3):
                    await world.add_pod(f"low-{number}", cpu="2", priority=number)
                    await world.until(lambda number=number: world.node_of(f"low-{number}"))
                await world.add_pod("high", cpu="2", priority=100)
                await world.until(lambda: world.pod("high")["status"].get("nominatedNodeName"))
                assert world.pod("high")["status"]["nominatedNodeName"] == "n1"
                await world.settle()
                world.clock.advance(2)
                await world.until(lambda: world.node_of("high") == "n1")
                (asked,) = extender.calls("preempt")
                assert sorted(asked[key]) == ["n0", "n1", "n2"]
                extender.answers["preempt"] = lambda asked: {"NodeNameToMetaVictims": {}}
                await world.add_pod("late", cpu="2", priority=100)
                await world.until(lambda: world.messages("late", "FailedScheduling"))
                said = (
                    "0/3 nodes are available: 3 Insufficient cpu. "
                    "no new claims to deallocate, preemption: no candidate node for preemption"
                )
                assert world.messages("late", "FailedScheduling") == [said]

    asyncio.run(scenario())


def test_it_binds_instead_of_the_scheduler(make_world: Make) -> None:
    async def scenario() -> None:
        extender = ExtenderServer()
        extender.answers["bind"] = lambda asked: {"Error": "out of ink"}
        async with extender.serving() as url:
            world = make_world(**extending(url, bindVerb="bind"))
            await three_nodes(world)
            async with world.running():
                await world.add_pod("p")
                await world.until(lambda: world.messages("p", "FailedScheduling"))
                assert world.messages("p", "FailedScheduling") == ["binding rejected: out of ink"]
                (asked,) = extender.calls("bind")
                assert asked["PodName"] == "p"
                assert asked["PodNamespace"] == "default"
                assert asked["PodUID"] == world.pod("p")["metadata"]["uid"]
                assert asked["Node"] in ("n0", "n1", "n2")
                extender.answers["bind"] = lambda asked: {}
                world.clock.advance(2)
                await world.until(lambda: world.messages("p", "Scheduled"))
            assert not world.node_of("p")  # it only said that it had

    asyncio.run(scenario())


@pytest.mark.parametrize("verified", [True, False])
def test_it_is_spoken_to_over_tls_with_a_certificate(make_world: Make, tmp_path: Path, verified: bool) -> None:
    async def scenario() -> None:
        keys = authority(tmp_path)
        extender = ExtenderServer()
        extender.answers["filter"] = lambda asked: {"Nodes": asked["Nodes"]}
        tls = {
            "certFile": str(keys.apiserver_kubelet_client.certificate_path),
            "keyFile": str(keys.apiserver_kubelet_client.key_path),
        }
        if verified:
            tls["caData"] = base64.b64encode(keys.ca.certificate_pem).decode()
        context = server_context(keys.apiserver.certificate_path, keys.apiserver.key_path, keys.ca.certificate_path)
        async with extender.serving(context) as url:
            world = make_world(**extending(url, filterVerb="filter", enableHTTPS=True, tlsConfig=tls))
            await three_nodes(world)
            async with world.running():
                await world.add_pod("p")
                await world.until(lambda: world.node_of("p"))
            assert extender.certificates == [True]
            # Another authority is not believed.
            other = authority(tmp_path / "other")
            tls["caData"] = base64.b64encode(other.ca.certificate_pem).decode()
            world = make_world(**extending(url, filterVerb="filter", enableHTTPS=True, tlsConfig=tls))
            await three_nodes(world)
            async with world.running():
                await world.add_pod("q")
                await world.until(lambda: world.messages("q", "FailedScheduling"))
                assert "certificate verify failed" in world.messages("q", "FailedScheduling")[0]

    asyncio.run(scenario())


def test_a_cluster_asks_an_extender_that_runs_beside_it() -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            names = [one["metadata"]["name"] for one in asked["Nodes"]["items"]]
            kept = [one for one in asked["Nodes"]["items"] if one["metadata"]["name"] == "node-1"]
            why = {name: "no dongle" for name in names if name != "node-1"}
            answer = json.dumps({"Nodes": {"items": kept}, "FailedNodes": why}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        extender = {"urlPrefix": f"http://127.0.0.1:{server.server_address[1]}", "filterVerb": "filter"}
        with Cluster(nodes=3, scheduler_configuration=f"{HEAD}- {json.dumps(extender)}") as running:
            spec = {"containers": [{"name": "c", "image": "one"}]}
            running.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
            assert running.wait("pod/p", "PodScheduled")["spec"]["nodeName"] == "node-1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
