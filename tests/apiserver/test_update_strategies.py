"""What an update may leave out, what it resets, and when it counts as a new generation: by each kind's strategy."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from keelback.component.http import Request, Response
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.requests import Ask, with_server

MERGE = "application/merge-patch+json"
STORAGE = "/apis/storage.k8s.io/v1"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
POLICY = {"matchConstraints": {"resourceRules": [RULE]}, "validations": [{"expression": "true"}]}
MUTATION = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}}
TOPOLOGY = {"nodeTopology": {}, "storageClassName": "s", "capacity": "1Gi"}
NAMES = {"plural": "as", "kind": "A"}
SCHEMA = {"openAPIV3Schema": {"type": "object"}}
VERSION = {"name": "v1", "served": True, "storage": True, "schema": SCHEMA}
CONDITIONAL: dict[str, dict[str, Any]] = {
    f"{STORAGE}/csidrivers": {"spec": {}},
    f"{STORAGE}/csinodes": {"spec": {"drivers": []}},
    f"{STORAGE}/volumeattachments": {
        "spec": {"attacher": "a.b", "nodeName": "n", "source": {"persistentVolumeName": "v"}}
    },
    f"{STORAGE}/namespaces/default/csistoragecapacities": TOPOLOGY,
    "/apis/node.k8s.io/v1/runtimeclasses": {"handler": "h"},
    f"{ADMISSION}/mutatingwebhookconfigurations": {},
    f"{ADMISSION}/validatingwebhookconfigurations": {},
    f"{ADMISSION}/validatingadmissionpolicies": {"spec": POLICY},
    f"{ADMISSION}/validatingadmissionpolicybindings": {"spec": {"policyName": "a", "validationActions": ["Deny"]}},
    f"{ADMISSION}/mutatingadmissionpolicies": {
        "spec": {**POLICY, "validations": None, "mutations": [MUTATION], "reinvocationPolicy": "Never"}
    },
    f"{ADMISSION}/mutatingadmissionpolicybindings": {"spec": {"policyName": "a"}},
    "/apis/apiregistration.k8s.io/v1/apiservices": {
        "spec": {"group": "g.b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}
    },
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": {
        "spec": {"group": "g.b", "scope": "Cluster", "names": NAMES, "versions": [VERSION]}
    },
}
NAMED = {"apiservices": "v1.g.b", "customresourcedefinitions": "as.g.b"}


@pytest.mark.parametrize("path", CONDITIONAL)
def test_some_kinds_are_replaced_only_by_who_knows_their_version(path: str) -> None:
    @with_server
    async def test(ask: Ask) -> None:
        plural = path.rpartition("/")[2]
        name = NAMED.get(plural, "a")
        body = {"metadata": {"name": name}, **CONDITIONAL[path]}
        status, made = await ask("POST", path, body)
        assert status == 201, made
        status, refused = await ask("PUT", f"{path}/{name}", body)
        told = "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        assert (status, refused["message"].partition(": ")[2]) == (422, told)
        assert refused["details"]["kind"] == plural
        _, made = await ask("GET", f"{path}/{name}")
        assert (await ask("PUT", f"{path}/{name}", made))[0] == 200

    test()


@with_server
async def test_runtime_classes_are_made_by_replacing_what_is_not_there(ask: Ask) -> None:
    path = "/apis/node.k8s.io/v1/runtimeclasses/a"
    assert (await ask("PUT", path, {"metadata": {"name": "a"}, "handler": "h"}))[0] == 201


async def generation_after(ask: Ask, path: str, patch: dict[str, Any]) -> int:
    status, changed = await ask("PATCH", path, patch, kind=MERGE)
    assert status == 200, changed
    generation: int = changed["metadata"].get("generation", 0)
    return generation


@with_server
async def test_what_counts_as_a_new_generation_differs(ask: Ask) -> None:
    labels, annotations = {"metadata": {"labels": {"a": "b"}}}, {"metadata": {"annotations": {"a": "b"}}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    workload = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    deployments = "/apis/apps/v1/namespaces/default/deployments"
    await ask("POST", deployments, {"metadata": {"name": "a"}, "spec": workload})
    assert await generation_after(ask, f"{deployments}/a", labels) == 1
    assert await generation_after(ask, f"{deployments}/a", annotations) == 2

    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    await ask("POST", slices, {"metadata": {"name": "a"}, "addressType": "IPv4", "endpoints": []})
    assert await generation_after(ask, f"{slices}/a", annotations) == 1
    assert await generation_after(ask, f"{slices}/a", labels) == 2

    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    await ask("POST", classes, {"metadata": {"name": "a"}, "value": 1})
    assert await generation_after(ask, f"{classes}/a", {"description": "x"}) == 1

    drivers = f"{STORAGE}/csidrivers"
    await ask("POST", drivers, {"metadata": {"name": "a"}, "spec": {}})
    assert await generation_after(ask, f"{drivers}/a", labels) == 0
    assert await generation_after(ask, f"{drivers}/a", {"spec": {"requiresRepublish": True}}) == 1


@with_server
async def test_a_status_says_nothing_of_the_labels_of_some_kinds(ask: Ask) -> None:
    path = f"{ADMISSION}/validatingadmissionpolicies"
    await ask("POST", path, {"metadata": {"name": "a"}, "spec": POLICY})
    patch = {"metadata": {"labels": {"a": "b"}, "annotations": {"a": "b"}}, "status": {"observedGeneration": 1}}
    status, changed = await ask("PATCH", f"{path}/a/status", patch, kind=MERGE)
    assert (status, changed["status"]["observedGeneration"]) == (200, 1)
    assert not {"labels", "annotations"} & set(changed["metadata"])


@pytest.mark.parametrize(
    ("path", "body", "warning"),
    [
        (
            "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
            {
                "metadata": {"name": "a", "annotations": {"kubernetes.io/ingress.class": "x"}},
                "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}},
            },
            "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead",
        ),
        (
            "/apis/node.k8s.io/v1/runtimeclasses",
            {
                "metadata": {"name": "a"},
                "handler": "h",
                "scheduling": {"nodeSelector": {"node-role.kubernetes.io/master": ""}},
            },
            'scheduling.nodeSelector: use "node-role.kubernetes.io/control-plane" instead',
        ),
        (
            f"{STORAGE}/storageclasses",
            {
                "metadata": {"name": "a"},
                "provisioner": "p",
                "allowedTopologies": [
                    {"matchLabelExpressions": [{"key": "failure-domain.beta.kubernetes.io/zone", "values": ["a"]}]}
                ],
            },
            "allowedTopologies[0].matchLabelExpressions[0].key: deprecated since v1.17; "
            'use "topology.kubernetes.io/zone" instead',
        ),
        (
            f"{STORAGE}/namespaces/default/csistoragecapacities",
            {
                "metadata": {"name": "a"},
                "storageClassName": "s",
                "nodeTopology": {"matchLabels": {"beta.kubernetes.io/os": "linux"}},
            },
            'nodeTopology.matchLabels.beta.kubernetes.io/os: deprecated since v1.14; use "kubernetes.io/os" instead',
        ),
    ],
)
def test_what_is_deprecated_is_warned_of(path: str, body: dict[str, Any], warning: str) -> None:
    async def main() -> None:
        async with api_server() as api:
            headers = {"content-type": "application/json"}
            request = Request("POST", path, "", headers, json.dumps(body).encode(), identity=ADMINISTRATOR)
            answer = await api.handle(request)
            assert isinstance(answer, Response)
            assert answer.status == 201, answer.content()
            quoted = warning.replace('"', '\\"')
            assert answer.headers["warning"] == f'299 - "{quoted}"'

    asyncio.run(main())
