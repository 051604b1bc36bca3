"""Admission plugins at work in a real server, those that ask another server among them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from keelback.admission.admission_configuration import AdmissionSettings
from keelback.admission.image_policy_webhook import ImagePolicySettings
from keelback.admission.webhook_credentials import WebhookCredentials
from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.audit.options import AuditOptions
from keelback.bootstrap.pki import ClusterPKI
from keelback.component.http import Request, Response
from keelback.component.serving import Server, server_context
from keelback.testing.access_servers import ReviewServer, authority, serving, webhook_kubeconfig
from keelback.testing.api import api_server
from keelback.testing.clock import HandClock
from keelback.testing.requests import Ask, asking

STRATEGIC = "application/strategic-merge-patch+json"
PODS = "/api/v1/namespaces/default/pods"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1"
POD_GROUPS = "/apis/scheduling.k8s.io/v1alpha2/namespaces/default"


def run(check: Callable[[Ask], Awaitable[None]], *plugins: str, **how: Any) -> None:
    """Ask a server that has these plugins too."""

    async def main() -> None:
        async with api_server(decided={"enable_admission_plugins": plugins}, **how) as api, asyncio.timeout(30):
            await check(asking(api.handle))

    asyncio.run(main())


def pod(name: str, image: str = "good", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": image}], **spec}}


def node(name: str, *features: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    status = {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}, "declaredFeatures": list(features)}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"} if labels is None else labels},
        "status": status,
    }


class Images:
    """A server that knows which images may run."""

    def __init__(self, folder: Path) -> None:
        self.pki = authority(folder)
        self.server = ReviewServer(self._answer)
        self.file = folder / "images.conf"

    def _answer(self, review: dict[str, Any]) -> dict[str, Any]:
        bad = [one["image"] for one in review["spec"]["containers"] if one["image"].startswith("bad")]
        silent = any(one["image"] == "bad-in-silence" for one in review["spec"]["containers"])
        return {
            "allowed": not bad,
            "reason": "" if silent else " ".join(bad),
            "auditAnnotations": {"judged": str(len(review["spec"]["containers"]))},
        }

    @property
    def reviewed(self) -> list[dict[str, Any]]:
        return [one["spec"] for one in self.server.asked]


def test_another_server_judges_images(tmp_path: Path) -> None:
    log, policy = tmp_path / "audit.log", tmp_path / "policy.yaml"
    policy.write_text(
        "{apiVersion: audit.k8s.io/v1, kind: Policy, omitStages: [RequestReceived], rules: [{level: Metadata}]}"
    )

    async def main() -> None:
        images, clock = Images(tmp_path), HandClock()
        async with asyncio.timeout(30), serving(images.server, images.pki):
            webhook_kubeconfig(images.file, images.server.url + "/images", images.pki)
            settings = AdmissionSettings(image_policy=ImagePolicySettings(images.file, deny_seconds=10.0))
            decided = {"enable_admission_plugins": ("ImagePolicyWebhook",), "admission": settings}
            audit = AuditOptions(audit_policy_file=str(policy), audit_log_path=str(log))
            async with api_server(clock, decided=decided, audit=audit) as api:
                ask = asking(api.handle)
                whole = pod("a", initContainers=[{"name": "i", "image": "first"}])
                whole["metadata"]["annotations"] = {"x.image-policy.k8s.io/ticket": "7", "other": "y"}
                assert (await ask("POST", PODS, whole))[0] == 201
                assert images.server.asked[0]["apiVersion"] == "imagepolicy.k8s.io/v1alpha1"
                assert images.reviewed == [
                    {
                        "containers": [{"image": "good"}, {"image": "first"}],
                        "annotations": {"x.image-policy.k8s.io/ticket": "7"},
                        "namespace": "default",
                    }
                ]
                status, refusal = await ask("POST", PODS, pod("b", "bad"))
                assert (status, refusal["message"]) == (
                    403,
                    'pods "b" is forbidden: image policy webhook backend denied one or more images: bad',
                )
                _, refusal = await ask("POST", PODS, pod("b", "bad-in-silence"))
                assert refusal["message"] == 'pods "b" is forbidden: one or more images rejected by webhook backend'
                # What is kept is not asked again, until its time is over.
                assert (await ask("POST", PODS, pod("b", "bad")))[0] == 403
                assert len(images.reviewed) == 3
                clock.advance(11.0)
                assert (await ask("POST", PODS, pod("b", "bad")))[0] == 403
                assert len(images.reviewed) == 4
                looked_at = {"spec": {"ephemeralContainers": [{"name": "e", "image": "bad-tool"}]}}
                status, _ = await ask("PATCH", f"{PODS}/a/ephemeralcontainers", looked_at, kind=STRATEGIC)
                assert (status, images.reviewed[-1]["containers"]) == (403, [{"image": "bad-tool"}])
        assert '"imagepolicywebhook.image-policy.k8s.io/judged":"2"' in log.read_text()

    asyncio.run(main())


@pytest.mark.parametrize("default_allow", [False, True])
def test_a_server_that_is_away_is_an_answer_too(tmp_path: Path, default_allow: bool) -> None:
    async def main() -> None:
        images = Images(tmp_path)
        async with serving(images.server, images.pki):
            webhook_kubeconfig(images.file, images.server.url, images.pki)
        settings = AdmissionSettings(image_policy=ImagePolicySettings(images.file, default_allow=default_allow))
        decided = {"enable_admission_plugins": ("ImagePolicyWebhook",), "admission": settings}
        async with asyncio.timeout(30), api_server(decided=decided) as api:
            status, answer = await asking(api.handle)("POST", PODS, pod("a"))
        assert status == (201 if default_allow else 403)
        if not default_allow:
            assert "connection refused" in answer["message"]

    asyncio.run(main())


def test_webhooks_know_who_calls_them(tmp_path: Path) -> None:
    seen: dict[str, tuple[str, bool]] = {}

    async def answer(request: Request) -> Response:
        review = json.loads(request.body)
        seen[request.path] = request.headers.get("authorization", ""), request.peer_certificate is not None
        made = {**review, "response": {"uid": review["request"]["uid"], "allowed": True}}
        return Response(200, {"content-type": "application/json"}, json.dumps(made).encode())

    async def main() -> None:
        pki = authority(tmp_path)
        context = server_context(pki.apiserver.certificate_path, pki.apiserver.key_path, pki.ca.certificate_path)
        async with asyncio.timeout(30), Server(answer, context) as server:
            there = f"127.0.0.1:{server.bound_port}"
            certificate = {
                "client-certificate": str(pki.admin.certificate_path),
                "client-key": str(pki.admin.key_path),
            }
            for name, users in (
                ("mutating", {"*": {"token": "no"}, there: certificate}),
                ("validating", {"*.0.0.1": {"token": "no"}, f"*.0.0.1:{server.bound_port}": {"token": "yes"}}),
            ):
                tree = {"users": [{"name": host, "user": user} for host, user in users.items()]}
                (tmp_path / name).write_text(json.dumps(tree))
            settings = AdmissionSettings(
                mutating_webhooks=tmp_path / "mutating", validating_webhooks=tmp_path / "validating"
            )
            async with api_server(decided={"admission": settings}) as api:
                ask = asking(api.handle)
                for kind in ("mutating", "validating"):
                    called = {"url": f"https://{there}/{kind}", "caBundle": bundle(pki)}
                    assert (await ask("POST", f"{WEBHOOKS}/{kind}webhookconfigurations", hook(called)))[0] == 201
                assert (await ask("POST", PODS, pod("a")))[0] == 201

    asyncio.run(main())
    assert seen == {"/mutating": ("", True), "/validating": ("Bearer yes", False)}


def bundle(pki: ClusterPKI) -> str:
    """The authority, as objects have it."""
    return base64.b64encode(pki.ca.certificate_pem).decode()


def hook(called: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a webhook that is asked about pods."""
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    webhook = {
        "name": "a.example.com",
        "clientConfig": called,
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    return {"metadata": {"name": "a"}, "webhooks": [webhook]}


@pytest.mark.parametrize("user", [{"exec": {"command": "x"}}, {"as": "x"}, {"client-certificate": "/not-there"}])
def test_users_that_would_be_passed_over_are_refused(tmp_path: Path, user: dict[str, Any]) -> None:
    (tmp_path / "hooks").write_text(json.dumps({"users": [{"name": "*", "user": user}]}))
    with pytest.raises(ConfigurationError, match=str(tmp_path / "hooks")):
        WebhookCredentials(tmp_path / "hooks", HandClock())


def test_a_namespace_that_is_missing_is_made() -> None:
    async def check(ask: Ask) -> None:
        made = {"metadata": {"name": "m"}}
        assert (await ask("POST", "/api/v1/namespaces/new/configmaps?dryRun=All", made))[0] == 404
        assert (await ask("POST", "/api/v1/namespaces/new/configmaps", made))[0] == 201
        assert (await ask("GET", "/api/v1/namespaces/new"))[1]["status"]["phase"] == "Active"
        # Only whoever may write there gets that far, and only for what could be stored.
        assert (await ask("POST", "/api/v1/namespaces/other/configmaps", made, token="user-token"))[0] == 403
        assert (await ask("GET", "/api/v1/namespaces/other"))[0] == 404
        many = [ask("POST", "/api/v1/namespaces/at-once/configmaps", {"metadata": {"name": f"m{i}"}}) for i in range(9)]
        assert {status for status, _ in await asyncio.gather(*many)} == {201}

    run(check, "NamespaceAutoProvision")


def test_what_a_node_can_never_give_is_refused() -> None:
    async def check(ask: Ask) -> None:
        for one in (node("n"), node("w", labels={"kubernetes.io/os": "windows"})):
            assert (await ask("POST", "/api/v1/nodes", one))[0] == 201
        for name, where in (("a", "n"), ("b", "w"), ("c", "gone")):
            made = pod(name, nodeName=where)
            made["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1", "memory": "1Gi"}}
            assert (await ask("POST", PODS, made))[0] == 201

        async def resized(name: str, **requests: str) -> tuple[int, Any]:
            containers = [{"name": "c", "resources": {"requests": requests}}]
            return await ask("PATCH", f"{PODS}/{name}/resize", {"spec": {"containers": containers}}, kind=STRATEGIC)

        assert (await resized("a", cpu="3"))[0] == 200
        status, refusal = await resized("a", cpu="4100m", memory="9Gi")
        assert (status, refusal["message"]) == (
            403,
            'pods "a" is forbidden: Node didn\'t have enough allocatable resources: '
            "cpu, requested: 4100, allocatable: 4000; memory, requested: 9663676416, allocatable: 8589934592",
        )
        assert refusal["details"]["causes"] == [{"reason": "NodeCapacity"}]
        _, refusal = await resized("b", cpu="2")
        assert refusal["message"].endswith('pod resize is only supported on linux nodes, node "w" is "windows"')
        assert refusal["details"]["causes"] == [{"reason": "UnsupportedPlatform"}]
        assert (await resized("c", cpu="2"))[1]["message"] == 'pods "c" is forbidden: node "gone" not found'

    run(check)


def test_a_pod_changes_as_its_node_says_it_can() -> None:
    async def check(ask: Ask) -> None:
        for one in (node("old"), node("new", "GuaranteedQoSPodCPUResize")):
            assert (await ask("POST", "/api/v1/nodes", one))[0] == 201
        amounts = {"cpu": "1", "memory": "1Gi"}
        for where in ("old", "new"):
            made = pod(f"on-{where}", nodeName=where)
            made["spec"]["containers"][0]["resources"] = {"requests": amounts, "limits": amounts}
            assert (await ask("POST", PODS, made))[0] == 201
        more = {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}}
        change = {"spec": {"containers": [{"name": "c", "resources": more}]}}
        status, refusal = await ask("PATCH", f"{PODS}/on-old/resize", change, kind=STRATEGIC)
        assert (status, refusal["message"]) == (
            403,
            'pods "on-old" is forbidden: pod update requires features GuaranteedQoSPodCPUResize which are not available'
            ' on node "old"',
        )
        assert (await ask("PATCH", f"{PODS}/on-new/resize", change, kind=STRATEGIC))[0] == 200
        assert (await ask("PATCH", f"{PODS}/on-old", {"metadata": {"labels": {"a": "b"}}}, kind=STRATEGIC))[0] == 200

    run(check)


def test_a_pod_group_is_of_a_template_that_is_there_and_protected_from_its_start() -> None:
    async def check(ask: Ask) -> None:
        template = {"name": "t", "schedulingPolicy": {"basic": {}}}
        workload = {"metadata": {"name": "w"}, "spec": {"podGroupTemplates": [template]}}

        def group(name: str, workload: str, template: str) -> dict[str, Any]:
            reference = {"workload": {"workloadName": workload, "podGroupTemplateName": template}}
            spec = {"podGroupTemplateRef": reference, "schedulingPolicy": {"basic": {}}}
            return {"metadata": {"name": name}, "spec": spec}

        assert (await ask("POST", f"{POD_GROUPS}/workloads", workload))[0] == 201
        status, made = await ask("POST", f"{POD_GROUPS}/podgroups", group("g", "w", "t"))
        assert (status, made["metadata"]["finalizers"]) == (201, ["scheduling.k8s.io/podgroup-protection"])
        for named, told in (
            (("v", "t"), 'Workload "v" not found'),
            (("w", "u"), 'PodGroupTemplate "u" not found in Workload "w"'),
        ):
            status, refusal = await ask("POST", f"{POD_GROUPS}/podgroups", group("h", *named))
            assert status == 403
            assert refusal["message"] == f'podgroups.scheduling.k8s.io "h" is forbidden: PodGroup rejected: {told}'

    run(check, feature_gates={"GenericWorkload": True}, optional_versions=(("scheduling.k8s.io", "v1alpha2"),))
