"""Webhooks as users run them: HTTPS servers of their own, asked by the real API server."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from keelback.bootstrap.pki import ClusterPKI, ensure_cluster_pki
from keelback.testing.api import api_server
from keelback.testing.requests import Ask, asking

GROUP = "/apis/admissionregistration.k8s.io/v1"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"
Answer = Callable[[dict[str, Any]], Any]


class Hooks:
    """A webhooks' server: one path for each webhook. `asked` has the reviews, in order."""

    def __init__(self, pki: ClusterPKI, answers: dict[str, Answer]) -> None:
        self.pki = pki
        self.answers = answers
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.queries: list[str] = []
        self.port = 0
        self.ended = asyncio.Event()
        """Those that give no answer wait for this."""

    async def answer(self, sent: web.Request) -> web.StreamResponse:
        """Answer as the webhook at the path does."""
        name = sent.path.strip("/")
        review = msgspec.json.decode(await sent.read())
        self.asked.append((name, review))
        self.queries.append(sent.query_string)
        given = self.answers[name](review["request"])
        if isinstance(given, web.StreamResponse):
            return given
        if given is None:
            await self.ended.wait()
            given = {}
        response = {"uid": review["request"]["uid"], "allowed": True, **given}
        body = {"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}
        return web.json_response(body)

    def webhook(self, name: str, **more: Any) -> dict[str, Any]:
        """The webhook at a path, for ConfigMaps."""
        client = {
            "url": f"https://127.0.0.1:{self.port}/{name}",
            "caBundle": base64.b64encode(self.pki.ca.certificate_pem).decode(),
        }
        rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}
        return {
            "name": f"{name}.example.com",
            "clientConfig": client,
            "rules": [rule],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            **more,
        }


class World:
    """A server, and the webhooks it asks."""

    def __init__(self, ask: Ask, hooks: Hooks) -> None:
        self.ask = ask
        self.hooks = hooks

    async def register(self, kind: str, *webhooks: dict[str, Any], name: str = "w") -> None:
        """Make a configuration, `mutating` or `validating`. It counts when this returns."""
        path = f"{GROUP}/{kind}webhookconfigurations"
        status, made = await self.ask("POST", path, {"metadata": {"name": name}, "webhooks": list(webhooks)})
        assert status == 201, made
        await self.settle(path, made)

    async def settle(self, path: str, written: dict[str, Any]) -> None:
        """Return when the server's own caches have what was written."""
        await self.ask("GET", f"{path}?resourceVersion={written['metadata']['resourceVersion']}")

    async def create(self, name: str = "a", query: str = "", **body: Any) -> tuple[int, Any]:
        """Create a ConfigMap."""
        metadata = {"name": name, **body.pop("metadata", {})}
        return await self.ask("POST", f"{CONFIG_MAPS}{query}", {"metadata": metadata, **body})


@asynccontextmanager
async def running(folder: Path, answers: dict[str, Answer]) -> AsyncIterator[World]:
    """A world while it lasts."""
    pki = ensure_cluster_pki(folder, datetime.now(UTC), names=["127.0.0.1"], addresses=["127.0.0.1"])
    hooks = Hooks(pki, answers)
    application = web.Application()
    application.router.add_post("/{name}", hooks.answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.apiserver.certificate_path, pki.apiserver.key_path)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    hooks.port = runner.addresses[0][1]
    try:
        async with api_server() as api, asyncio.timeout(60):
            yield World(asking(api.handle), hooks)
    finally:
        hooks.ended.set()
        await runner.cleanup()


async def served(ask: Ask, path: str) -> None:
    """Return when a path is served."""
    while True:
        if (await ask("GET", path))[0] == 200:
            return
        await asyncio.sleep(0)


def in_world(folder: Path, test: Callable[[World], Awaitable[None]], **answers: Answer) -> None:
    async def run() -> None:
        async with running(folder, answers) as world:
            await test(world)

    asyncio.run(run())


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"patchType": "JSONPatch", "patch": base64.b64encode(msgspec.json.encode(operations)).decode()}


def test_a_webhook_is_told_everything_about_a_request(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.register("validating", world.hooks.webhook("see"))
        status, made = await world.create(query="?fieldManager=me&fieldValidation=Strict", data={"k": "v"})
        assert status == 201, made
        ((_, review),) = world.hooks.asked
        request = review["request"]
        assert review["apiVersion"] == "admission.k8s.io/v1"
        assert world.hooks.queries == ["timeout=10s"]
        assert request["uid"] != made["metadata"]["uid"]
        assert request["options"] == {
            "kind": "CreateOptions",
            "apiVersion": "meta.k8s.io/v1",
            "fieldManager": "me",
            "fieldValidation": "Strict",
        }
        assert request["userInfo"] == {"username": "admin", "groups": ["system:masters", "system:authenticated"]}
        assert (request["operation"], request["name"], request["namespace"]) == ("CREATE", "a", "default")
        assert request["object"]["data"] == {"k": "v"}
        assert request["object"]["kind"] == "ConfigMap"
        assert request["oldObject"] is None
        assert request["dryRun"] is False
        assert "subResource" not in request
        await world.ask("PATCH", f"{CONFIG_MAPS}/a?dryRun=All", {"data": {"k": "w"}}, kind=MERGE)
        _, review = world.hooks.asked[-1]
        request = review["request"]
        assert (request["operation"], request["dryRun"]) == ("UPDATE", True)
        assert request["options"] == {"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1", "dryRun": ["All"]}
        assert (request["object"]["data"], request["oldObject"]["data"]) == ({"k": "w"}, {"k": "v"})
        await world.ask("DELETE", f"{CONFIG_MAPS}/a", {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})
        request = world.hooks.asked[-1][1]["request"]
        assert (request["operation"], request["object"], request["oldObject"]["data"]) == ("DELETE", None, {"k": "v"})
        assert request["options"] == {
            "kind": "DeleteOptions",
            "apiVersion": "meta.k8s.io/v1",
            "gracePeriodSeconds": 0,
            "propagationPolicy": "Background",
        }

    in_world(tmp_path, test, see=lambda request: {})


def test_objects_are_changed_in_order_and_those_who_wish_are_asked_again(tmp_path: Path) -> None:
    def add(key: str) -> Answer:
        def answer(request: dict[str, Any]) -> dict[str, Any]:
            if key in request["object"].get("data", {}):
                return {}
            seen = ",".join(sorted(request["object"].get("data", {})))
            if "data" in request["object"]:
                return patch({"op": "add", "path": f"/data/{key}", "value": seen})
            return patch({"op": "add", "path": "/data", "value": {key: seen}})

        return answer

    async def test(world: World) -> None:
        hooks = world.hooks
        await world.register("mutating", hooks.webhook("third"), name="z")
        await world.register(
            "mutating", hooks.webhook("first", reinvocationPolicy="IfNeeded"), hooks.webhook("second"), name="b"
        )
        status, made = await world.create()
        assert (status, made["data"]) == (201, {"first": "", "second": "first", "third": "first,second"})
        assert [name for name, _ in hooks.asked] == ["first", "second", "third", "first"]

    in_world(tmp_path, test, first=add("first"), second=add("second"), third=add("third"))


def test_what_a_webhook_puts_in_gets_its_defaults_and_passes_the_other_plugins(tmp_path: Path) -> None:
    sidecar = {"op": "add", "path": "/spec/initContainers", "value": [{"name": "side", "image": "s"}]}

    async def test(world: World) -> None:
        rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
        await world.register("mutating", world.hooks.webhook("sidecar", rules=[rule]))
        limits = {"limits": [{"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "1"}}]}
        ranges = "/api/v1/namespaces/default/limitranges"
        await world.settle(ranges, (await world.ask("POST", ranges, {"metadata": {"name": "l"}, "spec": limits}))[1])
        pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        status, made = await world.ask("POST", "/api/v1/namespaces/default/pods", pod)
        assert status == 201, made
        (added,) = made["spec"]["initContainers"]
        assert added["terminationMessagePolicy"] == "File"
        assert added["resources"]["limits"] == {"cpu": "1"}

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        return {} if request["object"]["spec"].get("initContainers") else patch(sidecar)

    in_world(tmp_path, test, sidecar=answer)


def test_refusals_and_warnings_reach_the_client(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.register("validating", world.hooks.webhook("no"))
        status, answer = await world.create()
        assert (status, answer["message"], answer["reason"]) == (
            409,
            'admission webhook "no.example.com" denied the request: not now',
            "Conflict",
        )

    status = {"message": "not now", "reason": "Conflict", "code": 409}
    in_world(tmp_path, test, no=lambda request: {"allowed": False, "status": status})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda request: web.Response(status=404), "the server could not find the requested resource"),
        (
            lambda request: web.Response(status=500, text="boom\n"),
            'an error on the server ("boom") has prevented the request from succeeding',
        ),
        (lambda request: None, 'Post "https://127.0.0.1:PORT/it?timeout=1s": context deadline exceeded'),
    ],
)
def test_one_that_fails_refuses_unless_it_may_be_ignored(tmp_path: Path, answer: Answer, said: str) -> None:
    async def test(world: World) -> None:
        await world.register("validating", world.hooks.webhook("it", timeoutSeconds=1))
        status, refused = await world.create()
        text = said.replace("PORT", str(world.hooks.port))
        failed = 'Internal error occurred: failed calling webhook "it.example.com": failed to call webhook: '
        assert (status, refused["message"]) == (500, failed + text)
        assert refused["details"] == {"causes": [{"message": refused["message"].partition(": ")[2]}]}
        ignoring = world.hooks.webhook("it", timeoutSeconds=1, failurePolicy="Ignore")
        path = f"{GROUP}/validatingwebhookconfigurations"
        status, changed = await world.ask("PATCH", f"{path}/w", {"webhooks": [ignoring]}, kind=MERGE)
        assert status == 200
        await world.settle(path, changed)
        assert (await world.create())[0] == 201

    in_world(tmp_path, test, it=answer)


def test_a_service_that_leads_nowhere_is_told_as_it_is(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        spec = {"ports": [{"port": 443}], "selector": {"app": "hook"}}
        services = "/api/v1/namespaces/default/services"
        await world.settle(services, (await world.ask("POST", services, {"metadata": {"name": "s"}, "spec": spec}))[1])
        for name, port, why in (
            ("none", 443, 'service "none" not found'),
            ("s", 444, 'no service port 444 found for service "s"'),
            ("s", 443, 'no endpoints available for service "s"'),
        ):
            webhook = world.hooks.webhook("it", timeoutSeconds=1)
            webhook["clientConfig"] = {"service": {"name": name, "namespace": "default", "port": port}}
            await world.register("validating", webhook)
            status, answer = await world.create()
            assert (status, answer["message"]) == (
                500,
                'Internal error occurred: failed calling webhook "it.example.com": failed to call webhook: Post '
                f'"https://{name}.default.svc:{port}/?timeout=1s": {why}',
            )
            path = f"{GROUP}/validatingwebhookconfigurations"
            assert (await world.ask("DELETE", f"{path}/w"))[0] == 200

    in_world(tmp_path, test)


def test_a_certificate_of_nobody_known_is_not_accepted(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        webhook = world.hooks.webhook("see")
        other = ensure_cluster_pki(tmp_path / "other", datetime.now(UTC)).ca.certificate_pem
        webhook["clientConfig"]["caBundle"] = base64.b64encode(other).decode()
        await world.register("validating", webhook)
        status, answer = await world.create()
        assert status == 500
        assert answer["message"].endswith(
            "tls: failed to verify certificate: x509: certificate signed by unknown authority"
        )
        assert world.hooks.asked == []

    in_world(tmp_path, test, see=lambda request: {})


REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


def test_reviews_are_changed_and_refused_like_what_is_kept(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        rule = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["*"]}
        await world.register("mutating", world.hooks.webhook("change", rules=[rule]))
        await world.register("validating", world.hooks.webhook("judge", rules=[rule]))
        spec: dict[str, Any] = {"user": "joe", "resourceAttributes": {"verb": "get", "resource": "pods"}}
        status, answer = await world.ask("POST", REVIEWS, {"spec": spec})
        assert (status, answer["spec"]["groups"]) == (201, ["system:masters"])
        assert answer["status"]["allowed"] is True
        spec["user"] = "jane"
        status, refused = await world.ask("POST", REVIEWS, {"spec": spec})
        assert (status, refused["message"]) == (
            400,
            'admission webhook "judge.example.com" denied the request: not her',
        )
        # What is wrong with a review is said before those who validate are asked.
        asked = len(world.hooks.asked)
        status, refused = await world.ask("POST", REVIEWS, {"spec": {"user": "joe"}})
        assert (status, refused["message"][:38]) == (422, '.authorization.k8s.io "" is invalid: s')
        assert [name for name, _ in world.hooks.asked[asked:]] == ["change"]

    def judge(request: dict[str, Any]) -> dict[str, Any]:
        is_her = request["object"]["spec"]["user"] == "jane"
        return {"allowed": False, "status": {"message": "not her"}} if is_her else {}

    groups = patch({"op": "add", "path": "/spec/groups", "value": ["system:masters"]})
    in_world(tmp_path, test, change=lambda _: groups, judge=judge)


def test_side_effects_exclude_dry_runs(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.register("mutating", world.hooks.webhook("see", sideEffects="NoneOnDryRun"))
        assert (await world.create(query="?dryRun=All"))[0] == 201
        ((_, review),) = world.hooks.asked
        assert review["request"]["dryRun"] is True

    in_world(tmp_path, test, see=lambda request: {})


def test_match_conditions_spare_calls(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        conditions = [
            {"name": "named", "expression": "object.metadata.name != 'skip-me'"},
            {"name": "allowed", "expression": "authorizer.requestResource.check('create').allowed()"},
        ]
        await world.register("validating", world.hooks.webhook("no", matchConditions=conditions))
        assert (await world.create("skip-me"))[0] == 201
        assert world.hooks.asked == []
        assert (await world.create())[0] == 400

    in_world(tmp_path, test, no=lambda request: {"allowed": False})


def test_a_match_condition_that_fails_refuses(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        conditions = [{"name": "c", "expression": "object.nope == 1"}]
        await world.register("validating", world.hooks.webhook("see", matchConditions=conditions))
        status, answer = await world.create()
        assert (status, answer["message"]) == (
            403,
            "configmaps \"a\" is forbidden: expression 'object.nope == 1' resulted in error: no such key: nope",
        )

    in_world(tmp_path, test, see=lambda request: {})


def test_a_match_condition_that_does_not_compile_is_not_accepted(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        webhook = world.hooks.webhook("see", matchConditions=[{"name": "c", "expression": "... [] bad"}])
        for kind in ("mutating", "validating"):
            path = f"{GROUP}/{kind}webhookconfigurations"
            status, answer = await world.ask("POST", path, {"metadata": {"name": "w"}, "webhooks": [webhook]})
            assert status == 422
            assert "webhooks[0].matchConditions[0].expression" in answer["message"]
            assert "compilation failed" in answer["message"]

    in_world(tmp_path, test, see=lambda request: {})


def test_connections_are_asked_about_before_they_are_made(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        rule = {
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "operations": ["CONNECT"],
            "resources": ["pods/attach", "pods/exec"],
        }
        await world.register("validating", world.hooks.webhook("no", rules=[rule]))
        path = "/api/v1/namespaces/default/pods/p"
        status, answer = await world.ask("POST", f"{path}/attach?stdin=true&container=c")
        assert (status, answer["message"]) == (
            403,
            'admission webhook "no.example.com" denied the request: attaching is not allowed',
        )
        request = world.hooks.asked[0][1]["request"]
        assert (request["operation"], request["subResource"], request["name"]) == ("CONNECT", "attach", "p")
        assert request["kind"] == {"group": "", "version": "v1", "kind": "PodAttachOptions"}
        assert request["object"]["container"] == "c"
        assert request["object"]["stdin"] is True
        assert (await world.ask("GET", f"{path}/exec?command=ls&command=-l&stdout=1"))[0] == 403
        request = world.hooks.asked[1][1]["request"]
        assert request["object"]["command"] == ["ls", "-l"]

    status = {"message": "attaching is not allowed", "code": 403, "reason": "Forbidden"}
    in_world(tmp_path, test, no=lambda request: {"allowed": False, "status": status})


DEFINITION = {
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [
            {
                "name": name,
                "served": True,
                "storage": name == "v1",
                "schema": {
                    "openAPIV3Schema": {"type": "object", "properties": {"known": {"type": "string"}}},
                },
            }
            for name in ("v1", "v2")
        ],
    },
}


def test_custom_resources_are_changed_pruned_and_seen_in_the_version_that_is_asked_for(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        assert (await world.ask("POST", path, DEFINITION))[0] == 201
        await served(world.ask, "/apis/example.com/v2/widgets")
        rule = {"apiGroups": ["example.com"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["widgets"]}
        await world.register("mutating", world.hooks.webhook("add", rules=[rule]))
        widget = {"apiVersion": "example.com/v2", "kind": "Widget", "metadata": {"name": "w"}}
        status, made = await world.ask("POST", "/apis/example.com/v2/namespaces/default/widgets", widget)
        assert status == 201, made
        assert (made["apiVersion"], made["known"]) == ("example.com/v2", "yes")
        assert "unknown" not in made
        request = world.hooks.asked[0][1]["request"]
        assert request["object"]["apiVersion"] == "example.com/v1"
        assert request["kind"]["version"] == request["resource"]["version"] == "v1"
        assert request["requestKind"]["version"] == request["requestResource"]["version"] == "v2"

    changes = patch({"op": "add", "path": "/known", "value": "yes"}, {"op": "add", "path": "/unknown", "value": "no"})
    in_world(tmp_path, test, add=lambda request: changes)


def test_where_a_webhook_converts_it_converts_for_admission_too(tmp_path: Path) -> None:
    def convert(request: dict[str, Any]) -> web.Response:
        wanted = request["desiredAPIVersion"]
        converted = [
            {**one, "apiVersion": wanted, "known": f"{one.get('known', '')}>{wanted.rpartition('/')[2]}"}
            for one in request["objects"]
        ]
        response = {"uid": request["uid"], "convertedObjects": converted, "result": {"status": "Success"}}
        body = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response}
        return web.json_response(body)

    async def test(world: World) -> None:
        client = world.hooks.webhook("convert")["clientConfig"]
        webhook = {"conversionReviewVersions": ["v1"], "clientConfig": client}
        conversion = {"strategy": "Webhook", "webhook": webhook}
        body = {**DEFINITION, "spec": {**DEFINITION["spec"], "conversion": conversion}}
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        assert (await world.ask("POST", path, body))[0] == 201
        await served(world.ask, "/apis/example.com/v2/widgets")
        rule = {"apiGroups": ["example.com"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["widgets"]}
        await world.register("validating", world.hooks.webhook("see", rules=[rule]))
        widget = {"apiVersion": "example.com/v2", "kind": "Widget", "metadata": {"name": "w"}, "known": "v2"}
        status, made = await world.ask("POST", "/apis/example.com/v2/namespaces/default/widgets", widget)
        assert status == 201, made
        seen = next(review["request"]["object"] for name, review in world.hooks.asked if name == "see")
        assert (seen["apiVersion"], seen["known"]) == ("example.com/v1", "v2>v1")

    in_world(tmp_path, test, convert=convert, see=lambda request: {})


def test_the_older_review_is_spoken_with_those_who_know_no_other(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.register("mutating", world.hooks.webhook("old", admissionReviewVersions=["v2", "v1beta1"]))
        status, made = await world.create()
        assert (status, made["data"]) == (201, {"old": "1"})
        assert world.hooks.asked[0][1]["apiVersion"] == "admission.k8s.io/v1beta1"

    operation = {"op": "add", "path": "/data", "value": {"old": "1"}}
    in_world(tmp_path, test, old=lambda request: {"uid": "", "patch": patch(operation)["patch"]})
