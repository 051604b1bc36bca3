"""What a server of another Kubernetes version does with fields, kinds and versions that differ from the default one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from keelback.apimachinery.kubernetes_versions import DEFAULT, SUPPORTED, KubernetesVersion
from keelback.apiserver.assembly import RunningAPIServer
from keelback.bootstrap.components import APIServerOptions, SchedulerOptions
from keelback.component import feature_gates
from keelback.component.flags import FlagError
from keelback.component.http import Request
from keelback.registry import feature_fields, published_schemas
from keelback.testing.api import ADMINISTRATOR, api_server

Tree = dict[str, Any]
FLOW = "/apis/flowcontrol.apiserver.k8s.io"
PODS = "/api/v1/namespaces/default/pods"


class Server:
    """Asks, and notes the warnings of the last answer."""

    def __init__(self, api: RunningAPIServer) -> None:
        self._api = api
        self.warnings = ""

    async def __call__(
        self, method: str, path: str, body: Any = None, query: str = "", media_type: str = "application/json"
    ) -> tuple[int, Tree]:
        data = b"" if body is None else json.dumps(body).encode()
        request = Request(method, path, query, headers={"content-type": media_type}, body=data, identity=ADMINISTRATOR)
        answer: Any = await self._api.handle(request)
        self.warnings = str(answer.headers.get("warning", ""))
        content = answer.content()
        return answer.status, json.loads(content) if content[:1] == b"{" else {}


def on(
    minor: int,
    work: Callable[[Server], Awaitable[None]],
    gates: Mapping[str, bool] | None = None,
    optional: tuple[tuple[str, str], ...] = (),
) -> None:
    async def main() -> None:
        version = KubernetesVersion(minor)
        async with (
            asyncio.timeout(30),
            api_server(kubernetes_version=version, feature_gates=gates, optional_versions=optional) as api,
        ):
            await work(Server(api))

    asyncio.run(main())


def pod(name: str = "one", **spec: Any) -> Tree:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "image"}], **spec}}


def test_an_unknown_field_is_refused_warned_of_or_dropped() -> None:
    async def work(ask: Server) -> None:
        body = pod(hostnameOverride="other")
        status, answer = await ask("POST", PODS, body, "fieldValidation=Strict")
        assert status == 400
        assert answer["message"].endswith('strict decoding error: unknown field "spec.hostnameOverride"')
        status, answer = await ask("POST", PODS, body, "fieldValidation=Warn")
        assert (status, "hostnameOverride" in answer["spec"]) == (201, False)
        assert 'unknown field \\"spec.hostnameOverride\\"' in ask.warnings
        status, answer = await ask("POST", PODS, {**body, "metadata": {"name": "two"}}, "fieldValidation=Ignore")
        assert (status, "hostnameOverride" in answer["spec"], ask.warnings) == (201, False, "")

    on(33, work)


def test_the_field_of_a_gate_that_is_off_is_known_and_dropped_without_a_word() -> None:
    async def work(ask: Server) -> None:
        status, answer = await ask("POST", PODS, pod(hostnameOverride="other"), "fieldValidation=Strict")
        assert (status, "hostnameOverride" in answer["spec"], ask.warnings) == (201, False, "")
        owned = answer["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]
        assert "f:hostnameOverride" not in owned

    on(34, work)


def test_the_group_of_pods_is_kept_and_judged_where_its_gate_is_on() -> None:
    group = {"podGroupName": "train"}

    async def work(ask: Server) -> None:
        status, answer = await ask("POST", PODS, pod(schedulingGroup=group), "fieldValidation=Strict")
        assert (status, answer["spec"]["schedulingGroup"]) == (201, group)
        status, answer = await ask("PUT", f"{PODS}/one", answer | pod(schedulingGroup={"podGroupName": "other"}))
        assert (status, "pod updates may not change fields" in answer["message"]) == (422, True)
        for wrong, said in (("", "Required value"), ("A", "Invalid value")):
            status, answer = await ask("POST", PODS, pod("wrong", schedulingGroup={"podGroupName": wrong}))
            assert (status, f"spec.schedulingGroup.podGroupName: {said}" in answer["message"]) == (422, True)
        template = {"template": {"metadata": {"labels": {"a": "b"}}, "spec": pod(schedulingGroup=group)["spec"]}}
        body = {"metadata": {"name": "one"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, **template}}
        status, answer = await ask("POST", "/apis/apps/v1/namespaces/default/deployments", body)
        assert (status, answer["spec"]["template"]["spec"]["schedulingGroup"]) == (201, group)

    async def dropped(ask: Server) -> None:
        status, answer = await ask("POST", PODS, pod(schedulingGroup=group), "fieldValidation=Strict")
        assert (status, "schedulingGroup" in answer["spec"]) == (201, False)

    on(36, work, {"GenericWorkload": True})
    on(36, dropped)


def test_a_gate_that_is_turned_on_keeps_its_field_and_one_turned_off_drops_it() -> None:
    async def kept(ask: Server) -> None:
        status, answer = await ask("POST", PODS, pod(hostnameOverride="other"))
        assert (status, answer["spec"]["hostnameOverride"]) == (201, "other")

    async def dropped(ask: Server) -> None:
        status, answer = await ask("POST", PODS, pod(hostnameOverride="other"), "fieldValidation=Strict")
        assert (status, "hostnameOverride" in answer["spec"]) == (201, False)

    on(34, kept, {"HostnameOverride": True})
    on(35, kept)
    on(DEFAULT.minor, dropped, {"HostnameOverride": False})


def test_what_devices_may_say_comes_with_the_gates_of_their_features() -> None:
    path = "/apis/resource.k8s.io/v1/resourceslices"
    taint = {"key": "broken", "effect": "NoSchedule"}
    offered = {
        "driver": "gpu.example.com",
        "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
        "nodeName": "n",
        "devices": [{"name": "gpu-0", "taints": [taint], "allowMultipleAllocations": True}],
    }

    def gives(*kept: str) -> Callable[[Server], Awaitable[None]]:
        async def work(ask: Server) -> None:
            status, answer = await ask("POST", path, {"metadata": {"name": "one"}, "spec": offered})
            assert (status, sorted(answer["spec"]["devices"][0])) == (201, [*kept])

        return work

    on(35, gives("name"))
    on(DEFAULT.minor, gives("allowMultipleAllocations", "name", "taints"))
    on(DEFAULT.minor, gives("allowMultipleAllocations", "name"), {"DRADeviceTaints": False})


@pytest.mark.parametrize("gate", sorted(feature_fields.SWITCHABLE))
def test_each_gate_that_can_be_switched_is_known_and_stands_for_fields_that_there_are(gate: str) -> None:
    assert any(gate in feature_gates.known(version) for version in SUPPORTED)
    published = published_schemas.of_version(DEFAULT)
    for part, field in feature_fields.FIELDS[gate]:
        found = [one for name, one in published.definitions.items() if name.rpartition(".")[2] == part]
        assert any(field in one.properties for one in found), (part, field)


def test_a_component_takes_the_gates_it_acts_on_and_no_others() -> None:
    given = APIServerOptions(kubernetes_version="1.34", feature_gates={"HostnameOverride": "true"})
    assert given.gates() == {"HostnameOverride": True}
    with pytest.raises(FlagError, match='for "--feature-gates" flag: cannot turn feature gate HostnameOverride on'):
        SchedulerOptions(kubernetes_version="1.34", feature_gates={"HostnameOverride": "true"})
    with pytest.raises(FlagError, match=r'for "--kubernetes-version" flag: Kubernetes 1\.2: there is 1\.28'):
        SchedulerOptions(kubernetes_version="1.2")
    with pytest.raises(FlagError, match=r"group version networking\.k8s\.io/v1alpha1 that has not been registered"):
        APIServerOptions(runtime_config={"networking.k8s.io/v1alpha1": "true"})
    asked = {"networking.k8s.io/v1alpha1": "true"}
    older = APIServerOptions(kubernetes_version="1.30", runtime_config=asked)
    assert older.optional_versions() == (("networking.k8s.io", "v1alpha1"),)


def test_an_admission_plugin_whose_gate_is_off_does_nothing() -> None:
    async def labels_of_pod(ask: Server) -> set[str]:
        zone = {"topology.kubernetes.io/zone": "a"}
        node = {"metadata": {"name": "node", "labels": zone}}
        assert (await ask("POST", "/api/v1/nodes", node))[0] == 201
        await ask("POST", PODS, pod())
        target = {"kind": "Binding", "apiVersion": "v1", "metadata": {"name": "one"}, "target": {"name": "node"}}
        assert (await ask("POST", f"{PODS}/one/binding", target))[0] == 201
        _, answer = await ask("GET", f"{PODS}/one")
        return set(answer["metadata"].get("labels", {}))

    async def has(ask: Server) -> None:
        assert await labels_of_pod(ask) == {"topology.kubernetes.io/zone"}

    async def has_not(ask: Server) -> None:
        assert await labels_of_pod(ask) == set()

    on(34, has_not)
    on(34, has, {"PodTopologyLabelsAdmission": True})
    on(35, has)


def test_patches_and_applied_configurations_have_the_fields_of_the_version_too() -> None:
    async def work(ask: Server) -> None:
        await ask("POST", PODS, pod())
        patch = {"metadata": {"labels": {"a": "b"}}, "spec": {"hostnameOverride": "other"}}
        for media_type in ("application/merge-patch+json", "application/strategic-merge-patch+json"):
            status, answer = await ask("PATCH", f"{PODS}/one", patch, "fieldValidation=Ignore", media_type)
            assert (status, "hostnameOverride" in answer["spec"]) == (200, False)
            status, answer = await ask("PATCH", f"{PODS}/one", patch, "fieldValidation=Strict", media_type)
            assert (status, answer["reason"]) in ((422, "Invalid"), (400, "BadRequest"))
        applied = {"apiVersion": "v1", "kind": "Pod", **pod("applied", hostnameOverride="other")}
        media_type, query = "application/apply-patch+yaml", "fieldManager=test"
        status, answer = await ask("PATCH", f"{PODS}/applied", applied, query, media_type)
        assert status == 500
        assert ".spec.hostnameOverride: field not declared in schema" in answer["message"]
        del applied["spec"]["hostnameOverride"]
        status, _ = await ask("PATCH", f"{PODS}/applied", applied, query, media_type)
        assert status == 201

    on(28, work)


def test_what_the_server_writes_of_itself_has_the_fields_of_the_version() -> None:
    async def work(ask: Server) -> None:
        await ask("POST", PODS, pod())
        status = {"status": {"observedGeneration": 1, "phase": "Pending", "resize": "Deferred"}}
        _, answer = await ask("PATCH", f"{PODS}/one/status", status, "", "application/merge-patch+json")
        assert "observedGeneration" not in answer["status"]
        assert "resizePolicy" not in answer["spec"]["containers"][0]
        balancer = {"ingress": [{"ip": "192.0.2.7"}]}
        service = {"metadata": {"name": "web"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}
        services = "/api/v1/namespaces/default/services"
        await ask("POST", services, service)
        body = {"status": {"loadBalancer": balancer}}
        _, answer = await ask("PATCH", f"{services}/web/status", body, "", "application/merge-patch+json")
        assert answer["status"]["loadBalancer"] == balancer

    on(28, work)


def test_flow_control_is_one_object_in_the_versions_before_the_first() -> None:
    async def work(ask: Server) -> None:
        _, level = await ask("GET", f"{FLOW}/v1beta3/prioritylevelconfigurations/workload-low")
        assert level["spec"]["limited"]["nominalConcurrencyShares"] == 100
        _, older = await ask("GET", f"{FLOW}/v1beta2/prioritylevelconfigurations/workload-low")
        assert older["spec"]["limited"]["assuredConcurrencyShares"] == 100
        assert "nominalConcurrencyShares" not in older["spec"]["limited"]
        assert "is deprecated in v1.26+, unavailable in v1.29+" in ask.warnings
        older["spec"]["limited"]["assuredConcurrencyShares"] = 90
        path = f"{FLOW}/v1beta2/prioritylevelconfigurations/workload-low"
        assert (await ask("PUT", path, older))[0] == 200
        _, level = await ask("GET", f"{FLOW}/v1beta3/prioritylevelconfigurations/workload-low")
        assert level["spec"]["limited"]["nominalConcurrencyShares"] == 90
        assert ask.warnings == ""
        assert (await ask("GET", f"{FLOW}/v1/flowschemas"))[0] == 404
        _, schemas = await ask("GET", f"{FLOW}/v1beta3/flowschemas")
        assert len(schemas["items"]) > 10
        _, services = await ask("GET", "/apis/apiregistration.k8s.io/v1/apiservices")
        names = {one["metadata"]["name"] for one in services["items"]}
        assert "v1beta3.flowcontrol.apiserver.k8s.io" in names
        assert "v1.flowcontrol.apiserver.k8s.io" not in names

    on(28, work)


@pytest.mark.parametrize(
    ("minor", "path", "is_there"),
    [
        (29, "admissionregistration.k8s.io/v1/validatingadmissionpolicies", False),
        (30, "admissionregistration.k8s.io/v1/validatingadmissionpolicies", True),
        (32, "networking.k8s.io/v1/servicecidrs", False),
        (33, "networking.k8s.io/v1/servicecidrs", True),
        (33, "resource.k8s.io/v1/deviceclasses", False),
        (34, "resource.k8s.io/v1/deviceclasses", True),
        (36, "certificates.k8s.io/v1/clustertrustbundles", False),
        (37, "certificates.k8s.io/v1/clustertrustbundles", True),
    ],
)
def test_a_kind_is_there_since_it_was_published(minor: int, path: str, *, is_there: bool) -> None:
    async def work(ask: Server) -> None:
        assert (await ask("GET", f"/apis/{path}"))[0] == (200 if is_there else 404)

    on(minor, work)


def test_policies_of_an_earlier_version_are_views_of_the_stored_ones() -> None:
    async def work(ask: Server) -> None:
        policies = "/apis/admissionregistration.k8s.io/v1beta1/validatingadmissionpolicies"
        policy = {
            "metadata": {"name": "no-b"},
            "spec": {
                "matchConstraints": {
                    "resourceRules": [
                        {
                            "apiGroups": [""],
                            "apiVersions": ["v1"],
                            "operations": ["CREATE"],
                            "resources": ["configmaps"],
                        }
                    ]
                },
                "validations": [{"expression": "object.metadata.name != 'b'"}],
            },
        }
        status, answer = await ask("POST", policies, policy)
        assert (status, answer["apiVersion"]) == (201, "admissionregistration.k8s.io/v1beta1")
        _, answer = await ask("GET", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/no-b")
        assert answer["spec"]["validations"] == policy["spec"]["validations"]  # type: ignore[index]

    on(32, work, optional=(("admissionregistration.k8s.io", "v1beta1"),))


def test_addresses_of_services_are_there_in_the_version_that_is_turned_on() -> None:
    async def work(ask: Server) -> None:
        service = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
        _, made = await ask("POST", "/api/v1/namespaces/default/services", service)
        address = made["spec"]["clusterIP"]
        status, answer = await ask("GET", f"/apis/networking.k8s.io/v1beta1/ipaddresses/{address}")
        assert (status, answer["spec"]["parentRef"]["name"]) == (200, "web")
        assert answer["apiVersion"] == "networking.k8s.io/v1beta1"
        assert (await ask("GET", "/apis/networking.k8s.io/v1/ipaddresses"))[0] == 404

    on(32, work, optional=(("networking.k8s.io", "v1beta1"),))


def test_who_one_is_may_be_asked_in_earlier_versions() -> None:
    async def work(ask: Server) -> None:
        for version in ("v1alpha1", "v1beta1", "v1"):
            path = f"/apis/authentication.k8s.io/{version}/selfsubjectreviews"
            status, answer = await ask("POST", path, {})
            assert (status, answer["apiVersion"]) == (201, f"authentication.k8s.io/{version}")
            assert answer["status"]["userInfo"]["username"] == ADMINISTRATOR.name

    on(28, work, optional=(("authentication.k8s.io", "v1beta1"), ("authentication.k8s.io", "v1alpha1")))


def test_warnings_and_columns_are_those_of_the_version() -> None:
    async def endpoints_warn(ask: Server) -> bool:
        await ask("GET", "/api/v1/namespaces/default/endpoints")
        return "deprecated in v1.33+" in ask.warnings

    async def before(ask: Server) -> None:
        assert not await endpoints_warn(ask)

    async def after(ask: Server) -> None:
        assert await endpoints_warn(ask)

    on(32, before)
    on(33, after)


def test_a_pod_is_resized_by_a_subresource_since_it_has_one() -> None:
    async def work(ask: Server) -> None:
        await ask("POST", PODS, pod())
        status, _ = await ask("PATCH", f"{PODS}/one/resize", {}, "", "application/merge-patch+json")
        assert status == 404

    on(32, work)
