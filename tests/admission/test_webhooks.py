from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from aiohttp import web

from keelback.admission.metrics import AdmissionMetrics
from keelback.admission.plugin import AdmissionChain, AdmissionRequest, Operation, Question, Ruling
from keelback.admission.webhook_client import HTTPSWebhookCaller
from keelback.admission.webhook_reviews import WebhookFailure
from keelback.admission.webhooks import (
    MutatingAdmissionWebhook,
    ValidatingAdmissionWebhook,
    WebhookDependencies,
)
from keelback.api.admissionregistration_v1 import (
    MatchCondition,
    MutatingWebhook,
    MutatingWebhookConfiguration,
    RuleWithOperations,
    ServiceReference,
    ValidatingWebhook,
    ValidatingWebhookConfiguration,
    WebhookClientConfig,
)
from keelback.api.core_v1 import ConfigMap, Namespace
from keelback.apimachinery import errors
from keelback.apimachinery.meta import LabelSelector, Object, ObjectMeta
from keelback.apiserver.served_resources import ServedResources
from keelback.bootstrap.pki import ensure_cluster_pki
from keelback.component.evaluations import Evaluations
from keelback.component.metrics import Registry

T = TypeVar("T", bound=Object)

Answer = Callable[[dict[str, Any]], dict[str, Any]]
RULE = RuleWithOperations(operations=("CREATE",), api_groups=("",), api_versions=("v1",), resources=("configmaps",))


class Joe:
    name = "joe"
    uid = ""
    groups: tuple[str, ...] = ("dev",)
    extra: dict[str, tuple[str, ...]] = {}


class Cluster:
    def __init__(self, *objects: Object) -> None:
        self.held = (Namespace(metadata=ObjectMeta(name="x", labels={"team": "a"})), *objects)

    async def get(self, kind: type[T], name: str, namespace: str = "") -> T:
        for obj in self.held:
            if obj.__kind__ is kind.__kind__ and obj.metadata.name == name:
                return msgspec.convert(msgspec.to_builtins(obj), kind)
        raise errors.NotFound.of(kind.__kind__, name)

    async def list(self, kind: type[T], namespace: str = "") -> Sequence[T]:
        return [obj for obj in self.held if isinstance(obj, kind)]


class Webhooks:
    """Answers in place of the webhook's server, by the first label of its URL's host."""

    def __init__(self, **answers: Answer | WebhookFailure) -> None:
        self._answers = answers
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def call(self, config: WebhookClientConfig, url: str, body: bytes, timeout_seconds: float) -> bytes:
        name = url.removeprefix("https://").partition(".")[0]
        request = msgspec.json.decode(body)["request"]
        self.asked.append((name, request))
        answer = self._answers[name]
        if isinstance(answer, WebhookFailure):
            raise answer
        response = {"uid": request["uid"], "allowed": True, **answer(request)}
        return msgspec.json.encode(
            {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        )


def _client(name: str) -> WebhookClientConfig:
    return WebhookClientConfig(service=ServiceReference(name=name, namespace="hooks"))


def _mutating(*names: str, **more: Any) -> MutatingWebhookConfiguration:
    webhooks = tuple(
        MutatingWebhook(
            **{"name": name, "client_config": _client(name), "rules": (RULE,), "side_effects": "None", **more}
        )
        for name in names
    )
    return MutatingWebhookConfiguration(metadata=ObjectMeta(name="m"), webhooks=webhooks)


def _validating(*names: str, **more: Any) -> ValidatingWebhookConfiguration:
    webhooks = tuple(
        ValidatingWebhook(
            **{"name": name, "client_config": _client(name), "rules": (RULE,), "side_effects": "None", **more}
        )
        for name in names
    )
    return ValidatingWebhookConfiguration(metadata=ObjectMeta(name="v"), webhooks=webhooks)


def _request(*, dry_run: bool = False) -> AdmissionRequest:
    return AdmissionRequest(
        operation=Operation.CREATE,
        kind=ConfigMap.__kind__,
        user=Joe(),
        namespace="x",
        name="a",
        obj=ConfigMap(metadata=ObjectMeta(name="a", namespace="x"), data={"k": "v"}),
        dry_run=dry_run,
    )


async def _rule(question: Question) -> Ruling:
    return Ruling(question.verb == "get", "because")


def _dependencies(cluster: Cluster, callers: Webhooks, metrics: Registry | None = None) -> WebhookDependencies:
    counted = AdmissionMetrics(metrics or Registry())
    return WebhookDependencies(cluster, ServedResources({}), _rule, callers, lambda: "uid-1", Evaluations(), counted)


def _run(callers: Webhooks, request: AdmissionRequest, *objects: Object, metrics: Registry | None = None) -> ConfigMap:
    cluster = Cluster(*objects)

    async def go() -> Any:
        given = _dependencies(cluster, callers, metrics)
        chain = AdmissionChain([MutatingAdmissionWebhook(given), ValidatingAdmissionWebhook(given)])
        admitted = await chain.admit(request)
        await chain.validate(admitted)
        return admitted.obj

    made = asyncio.run(go())
    assert isinstance(made, ConfigMap)
    return made


def _patch(*operations: dict[str, Any]) -> dict[str, Any]:
    encoded = base64.b64encode(msgspec.json.encode(operations)).decode()
    return {"patchType": "JSONPatch", "patch": encoded}


def _refusal(callers: Webhooks, request: AdmissionRequest, *objects: Object) -> errors.StatusError:
    with pytest.raises(errors.StatusError) as refused:
        _run(callers, request, *objects)
    return refused.value


def test_a_webhook_changes_the_object_and_sees_all_of_the_request() -> None:
    callers = Webhooks(one=lambda asked: _patch({"op": "add", "path": "/data/more", "value": asked["name"]}))
    made = _run(callers, _request(), _mutating("one"))
    assert made.data == {"k": "v", "more": "a"}
    ((_, asked),) = callers.asked
    assert asked == {
        "uid": "uid-1",
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "requestKind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "requestResource": {"group": "", "version": "v1", "resource": "configmaps"},
        "name": "a",
        "namespace": "x",
        "operation": "CREATE",
        "userInfo": {"username": "joe", "groups": ["dev"]},
        "object": {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {"name": "a", "namespace": "x"},
            "data": {"k": "v"},
        },
        "oldObject": None,
        "dryRun": False,
        "options": None,
    }


def test_one_that_wishes_is_asked_again_when_others_changed_the_object() -> None:
    callers = Webhooks(
        one=lambda asked: _patch({"op": "add", "path": "/data/seen", "value": str(len(asked["object"]["data"]))}),
        two=lambda asked: _patch({"op": "add", "path": "/data/two", "value": "2"}),
    )
    made = _run(callers, _request(), _mutating("one", "two", reinvocation_policy="IfNeeded"))
    # The second round's change by the first concerns the second again.
    assert [name for name, _ in callers.asked] == ["one", "two", "one", "two"]
    assert made.data["seen"] == "3"


def test_a_no_reaches_the_client() -> None:
    callers = Webhooks(one=lambda asked: {"allowed": False, "status": {"message": "not today", "code": 403}})
    refused = _refusal(callers, _request(), _validating("one"))
    assert (refused.code, refused.message) == (403, 'admission webhook "one" denied the request: not today')
    silent = Webhooks(one=lambda asked: {"allowed": False})
    refused = _refusal(silent, _request(), _validating("one"))
    assert (refused.code, refused.message) == (400, 'admission webhook "one" denied the request without explanation')


def test_warnings_and_annotations_are_handed_on() -> None:
    callers = Webhooks(one=lambda asked: {"warnings": ["careful"], "auditAnnotations": {"k": "v"}})
    request = _request()
    _run(callers, request, _validating("one"))
    assert request.warnings == ["careful"]
    assert request.audit_annotations == {"one/k": "v"}


def test_one_that_cannot_be_asked_refuses_unless_it_may_be_ignored() -> None:
    callers = Webhooks(none=WebhookFailure('service "none" not found'))
    refused = _refusal(callers, _request(), _validating("none", timeout_seconds=1))
    assert (refused.code, refused.message) == (
        500,
        'Internal error occurred: failed calling webhook "none": failed to call webhook: Post'
        ' "https://none.hooks.svc:443/?timeout=1s": service "none" not found',
    )
    _run(callers, _request(), _validating("none", failure_policy="Ignore"), _mutating("none", failure_policy="Ignore"))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"uid": "other"}, 'expected response.uid="uid-1", got "other"'),
        ({"patch": base64.b64encode(b"[]").decode()}, "webhook returned response.patch but not response.patchType"),
    ],
)
def test_an_answer_that_makes_no_sense_is_a_failure(answer: dict[str, Any], text: str) -> None:
    assert text in _refusal(Webhooks(one=lambda asked: answer), _request(), _mutating("one")).message


def test_side_effects_exclude_dry_runs() -> None:
    callers = Webhooks(one=lambda asked: {})
    refused = _refusal(callers, _request(dry_run=True), _validating("one", side_effects="Some"))
    assert refused.message == 'admission webhook "one" does not support dry run'
    _run(callers, _request(dry_run=True), _validating("one"))


@pytest.mark.parametrize(
    ("change", "is_asked"),
    [
        ({}, True),
        (
            {
                "rules": (
                    RuleWithOperations(
                        operations=("UPDATE",), api_groups=("*",), api_versions=("*",), resources=("*/*",)
                    ),
                )
            },
            False,
        ),
        (
            {
                "rules": (
                    RuleWithOperations(operations=("*",), api_groups=("*",), api_versions=("*",), resources=("*/*",)),
                )
            },
            True,
        ),
        (
            {
                "rules": (
                    RuleWithOperations(
                        operations=("*",), api_groups=("*",), api_versions=("*",), resources=("*",), scope="Cluster"
                    ),
                )
            },
            False,
        ),
        ({"namespace_selector": LabelSelector(match_labels={"team": "a"})}, True),
        ({"namespace_selector": LabelSelector(match_labels={"team": "b"})}, False),
        ({"object_selector": LabelSelector(match_labels={"team": "a"})}, False),
    ],
)
def test_rules_and_selectors_choose(change: dict[str, Any], is_asked: bool) -> None:
    callers = Webhooks(one=lambda asked: {})
    _run(callers, _request(), _validating("one", **change))
    assert bool(callers.asked) is is_asked


def test_a_webhook_configuration_is_never_sent_to_webhooks() -> None:
    callers = Webhooks()
    configuration = _validating(
        "one", rules=(RuleWithOperations(operations=("*",), api_groups=("*",), api_versions=("*",), resources=("*",)),)
    )
    request = AdmissionRequest(
        operation=Operation.CREATE, kind=configuration.__kind__, user=Joe(), name="v", obj=configuration
    )
    asyncio.run(
        AdmissionChain([ValidatingAdmissionWebhook(_dependencies(Cluster(configuration), callers))]).validate(request)
    )
    assert callers.asked == []


def test_a_service_is_called_by_its_certificates_name(tmp_path: Path) -> None:
    pki = ensure_cluster_pki(tmp_path, datetime.now(UTC), names=["one.hooks.svc"])

    async def answer(asked: web.Request) -> web.Response:
        return web.Response(body=await asked.read())

    async def go(check: Callable[[HTTPSWebhookCaller, int], Awaitable[None]]) -> None:
        application = web.Application()
        application.router.add_post("/", answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki.apiserver.certificate_path, pki.apiserver.key_path)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port: int = runner.addresses[0][1]

        async def resolve(namespace: str, name: str, asked_port: int) -> tuple[str, int]:
            return "127.0.0.1", port

        made: list[socket.socket] = []

        def make_socket() -> socket.socket:
            # Pods may be in another network than the server.
            made.append(socket.socket())
            made[-1].setblocking(False)
            return made[-1]

        caller = HTTPSWebhookCaller(resolve, make_socket)
        try:
            await check(caller, port)
            assert made
        finally:
            await caller.close()
            await runner.cleanup()

    async def check(caller: HTTPSWebhookCaller, port: int) -> None:
        trusted = WebhookClientConfig(
            service=ServiceReference(name="one", namespace="hooks"), ca_bundle=pki.ca.certificate_pem
        )
        url = "https://one.hooks.svc:443/?timeout=5s"
        assert await caller.call(trusted, url, b"hello", 5) == b"hello"
        other = WebhookClientConfig(
            service=ServiceReference(name="two", namespace="hooks"), ca_bundle=pki.ca.certificate_pem
        )
        with pytest.raises(WebhookFailure):
            await caller.call(other, "https://two.hooks.svc:443/", b"", 5)
        with pytest.raises(WebhookFailure, match="unable to load root certificates"):
            await caller.call(WebhookClientConfig(ca_bundle=b"nonsense"), f"https://127.0.0.1:{port}/", b"", 5)

    asyncio.run(go(check))


def _counted(metrics: Registry) -> set[str]:
    """The lines of counters and of the numbers of observations, without those of the phases and plugins."""
    names = ("apiserver_admission_webhook_", "apiserver_admission_match_condition_")
    lines = metrics.exposition().decode().splitlines()
    return {
        line.removeprefix("apiserver_admission_")
        for line in lines
        if line.startswith(names) and "_bucket{" not in line and "_sum{" not in line
    }


def test_each_call_is_counted_by_how_it_ended() -> None:
    callers = Webhooks(
        good=lambda asked: {},
        away=WebhookFailure("connection refused"),
        no=lambda asked: {"allowed": False, "status": {"code": 451, "message": "never"}},
    )
    metrics = Registry()
    mutating = _mutating("good")
    open_ones = _validating("away", failure_policy="Ignore")
    _run(callers, _request(), mutating, open_ones, metrics=metrics)
    assert _counted(metrics) == {
        'webhook_admission_duration_seconds_count{name="good",type="admit",operation="CREATE",rejected="false"} 1',
        'webhook_admission_duration_seconds_count{name="away",type="validating",operation="CREATE",rejected="false"} 1',
        'webhook_fail_open_count{name="away",type="validating"} 1',
        'webhook_request_total{name="good",type="admit",operation="CREATE",code="200",rejected="false"} 1',
        'webhook_request_total{name="away",type="validating",operation="CREATE",code="503",rejected="false"} 1',
    }
    for refusing, problem, code in (("no", "no_error", 451), ("away", "calling_webhook_error", 503)):
        metrics = Registry()
        with pytest.raises(errors.StatusError):
            _run(callers, _request(), _validating(refusing), metrics=metrics)
        labels = f'name="{refusing}",type="validating",operation="CREATE"'
        assert _counted(metrics) == {
            f'webhook_admission_duration_seconds_count{{{labels},rejected="true"}} 1',
            f'webhook_request_total{{{labels},code="{code}",rejected="true"}} 1',
            f'webhook_rejection_count{{{labels},error_type="{problem}",rejection_code="{code}"}} 1',
        }


def test_what_is_this_server_s_own_fault_is_told_apart() -> None:
    metrics = Registry()
    with pytest.raises(errors.BadRequest):
        _run(Webhooks(), _request(dry_run=True), _validating("one", side_effects="Some"), metrics=metrics)
    labels = 'name="one",type="validating",operation="CREATE"'
    told = f'webhook_rejection_count{{{labels},error_type="apiserver_internal_error",rejection_code="0"}} 1'
    assert told in _counted(metrics)


def test_match_conditions_are_counted_by_what_they_said() -> None:
    def conditions(expression: str, policy: str = "Fail") -> ValidatingWebhookConfiguration:
        given = (MatchCondition(name="c", expression=expression),)
        return _validating("good", match_conditions=given, failure_policy=policy)

    callers = Webhooks(good=lambda asked: {})
    labels = '{name="good",kind="webhook",type="validating",operation="CREATE"} 1'
    for expression, told in (("false", "exclusions"), ("object.nope == 1", "evaluation_errors")):
        metrics = Registry()
        try:
            _run(callers, _request(), conditions(expression), metrics=metrics)
        except errors.Forbidden:
            assert told == "evaluation_errors"
        assert _counted(metrics) == {
            f"match_condition_{told}_total{labels}",
            f"match_condition_evaluation_seconds_count{labels}",
        }
