"""Examples of what single kinds default, show and refuse, in the words of upstream."""

from datetime import UTC, datetime, timedelta

import pytest

from keelback.apimachinery.meta import replace, with_metadata
from keelback.registry.builtin import strategies

NOW = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
BY_KIND = {(one.kind.__kind__.api_version, one.kind.__kind__.kind): one for one in strategies()}


def strategy(kind, api_version="v1"):
    return BY_KIND[api_version, kind]


def made(of, tree):
    obj = of.from_tree({"metadata": {"name": "x", "namespace": "d"}, **tree})
    return of.prepare_for_create(of.default(obj))


def problems(of, obj):
    return [f"{one.field}: {one.body}" for one in of.validate(obj)]


def row(of, obj):
    return {column.name: column.value(obj, NOW) for column in of.columns}


RBAC = "rbac.authorization.k8s.io/v1"


def test_a_namespace_is_held_until_its_content_is_gone():
    of = strategy("Namespace")
    one = made(of, {})
    assert one.spec.finalizers == ("kubernetes",)
    assert one.metadata.labels == {"kubernetes.io/metadata.name": "x"}
    assert one.status.phase == "Active"
    assert of.is_held(one)
    assert of.prepare_for_deletion(one).status.phase == "Terminating"
    assert of.prepare_for_deletion(one).metadata.deletion_grace_period_seconds is None
    assert not of.is_held(replace(one, spec=replace(one.spec, finalizers=())))


def test_an_update_leaves_the_finalizers_of_a_namespace():
    of = strategy("Namespace")
    old = made(of, {})
    emptied = replace(old, spec=replace(old.spec, finalizers=()))
    assert of.prepare_for_update(emptied, old).spec.finalizers == ("kubernetes",)


def test_string_data_becomes_data():
    of = strategy("Secret")
    one = made(of, {"stringData": {"a": "b"}, "data": {"a": "AA==", "c": "AA=="}})
    assert dict(one.data) == {"a": b"b", "c": b"\x00"}
    assert not one.string_data
    assert one.type == "Opaque"


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"type": "kubernetes.io/tls"}, ["data[tls.crt]: Required value", "data[tls.key]: Required value"]),
        (
            {"type": "kubernetes.io/service-account-token"},
            ["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
        ({"type": "kubernetes.io/dockerconfigjson"}, ["data[.dockerconfigjson]: Required value"]),
    ],
)
def test_what_a_secret_must_hold(tree, expected):
    assert problems(strategy("Secret"), made(strategy("Secret"), tree)) == expected


def test_the_keys_of_a_config_map():
    of = strategy("ConfigMap")
    assert problems(of, made(of, {"data": {"a b": "1"}})) == [
        "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or "
        "'.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
    ]
    assert row(of, made(of, {"data": {"a": "1"}, "binaryData": {"b": "AA=="}}))["Data"] == 2


def test_what_is_immutable_stays():
    of = strategy("ConfigMap")
    old = made(of, {"data": {"a": "1"}, "immutable": True})
    new = made(of, {"data": {"a": "2"}})
    assert [(one.field, one.detail) for one in of.validate_update(new, old)] == [
        ("immutable", "field is immutable when `immutable` is set"),
        ("data", "field is immutable when `immutable` is set"),
    ]


def test_the_row_of_a_node():
    of = strategy("Node")
    tree = {
        "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.2"}],
            "nodeInfo": {"kubeletVersion": "v1.36.0", "osImage": "Debian", "kernelVersion": "6.1"},
        },
    }
    node = with_metadata(of.from_tree(tree), creation_timestamp=NOW - timedelta(days=3))
    assert row(of, node) == {
        "Status": "Ready,SchedulingDisabled",
        "Roles": "control-plane",
        "Age": "3d",
        "Version": "v1.36.0",
        "Internal-IP": "10.0.0.2",
        "External-IP": "<none>",
        "OS-Image": "Debian",
        "Kernel-Version": "6.1",
        "Container-Runtime": "<unknown>",
    }


def test_a_kubelet_registers_with_its_status():
    of = strategy("Node")
    assert made(of, {"status": {"phase": "Running"}}).status.phase == "Running"


def test_the_row_of_an_event():
    of = strategy("Event")
    event = made(
        of,
        {
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "d"},
            "reason": "Started",
            "message": "it runs\n",
            "type": "Normal",
            "count": 3,
            "firstTimestamp": "2026-11-23T09:00:00Z",
            "lastTimestamp": "2026-11-23T09:59:00Z",
            "source": {"component": "kubelet", "host": "n"},
        },
    )
    shown = row(of, event)
    assert (shown["Last Seen"], shown["Object"], shown["Message"]) == ("60s", "pod/p", "it runs")
    assert (shown["Source"], shown["First Seen"], shown["Count"]) == ("kubelet, n", "60m", 3)
    assert problems(of, event) == []


def test_subjects_get_the_group_of_their_kind_and_a_role_stays():
    of = strategy("RoleBinding", RBAC)
    ref = {"kind": "Role", "name": "r"}
    one = made(of, {"roleRef": ref, "subjects": [{"kind": "User", "name": "u"}]})
    assert one.subjects[0].api_group == "rbac.authorization.k8s.io"
    assert problems(of, one) == []
    other = made(of, {"roleRef": {"kind": "Role", "name": "other"}})
    assert [(error.field, error.detail) for error in of.validate_update(other, one)] == [
        ("roleRef", "cannot change roleRef")
    ]


def test_the_rules_of_a_role():
    of = strategy("Role", RBAC)
    assert problems(of, made(of, {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}, {}]})) == [
        'rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs',
        "rules[1].verbs: Required value: verbs must contain at least one value",
        "rules[1].apiGroups: Required value: resource rules must supply at least one api group",
        "rules[1].resources: Required value: resource rules must supply at least one resource",
    ]


@pytest.mark.parametrize(
    ("kind", "api_version"),
    [("Lease", "coordination.k8s.io/v1"), *((kind, RBAC) for kind in ("Role", "ClusterRole", "RoleBinding"))],
)
def test_some_kinds_are_created_by_an_update(kind, api_version):
    assert strategy(kind, api_version).is_created_by_update


def test_only_some_kinds_insist_on_a_version():
    insisting = {kind for (_, kind), one in BY_KIND.items() if one.needs_resource_version_to_update}
    assert insisting == {
        "APIService",
        "CSIDriver",
        "CSINode",
        "CSIStorageCapacity",
        "CustomResourceDefinition",
        "Lease",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "PodDisruptionBudget",
        "RuntimeClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
        "VolumeAttachment",
    }


def test_a_network_policy_is_of_the_types_it_has_rules_for():
    of = strategy("NetworkPolicy", "networking.k8s.io/v1")
    assert made(of, {"spec": {}}).spec.policy_types == ("Ingress",)
    assert made(of, {"spec": {"egress": [{}]}}).spec.policy_types == ("Ingress", "Egress")


def test_an_ingress_needs_a_backend_or_rules():
    of = strategy("Ingress", "networking.k8s.io/v1")
    assert problems(of, made(of, {"spec": {}})) == [
        "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"
    ]
    paths = [{"path": "x", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]
    assert problems(of, made(of, {"spec": {"rules": [{"http": {"paths": paths}}]}})) == [
        'spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path'
    ]


def test_a_claim_changes_only_to_ask_for_more():
    of = strategy("PersistentVolumeClaim")

    def claim(size, phase="Bound", **spec):
        wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
        one = made(of, {"spec": wanted})
        return replace(one, status=replace(one.status, phase=phase, capacity={"storage": "1Gi"}))

    assert problems(of, claim("1Gi")) == []
    assert list(of.validate_update(claim("2Gi"), claim("1Gi"))) == []
    assert [one.field for one in of.validate_update(claim("500Mi"), claim("1Gi"))] == [
        "spec.resources.requests.storage"
    ]
    assert [one.field for one in of.validate_update(claim("1Gi", volumeMode="Block"), claim("1Gi"))] == [
        "spec",
        "volumeMode",
    ]
    assert [one.field for one in of.validate_update(claim("2Gi", "Pending"), claim("1Gi", "Pending"))] == ["spec"]


def test_the_maximum_of_a_limit_range_is_its_default():
    of = strategy("LimitRange")
    (item,) = made(of, {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}}]}}).spec.limits
    assert (item.default, item.default_request) == ({"cpu": "2"}, {"cpu": "2"})


def test_a_budget_says_one_of_two_things():
    of = strategy("PodDisruptionBudget", "policy/v1")
    both = made(of, {"spec": {"minAvailable": 1, "maxUnavailable": "200%"}})
    assert [one.split(": ")[0] for one in problems(of, both)] == ["spec", "spec.maxUnavailable"]
    assert row(of, made(of, {"spec": {"minAvailable": "50%"}}))["Min Available"] == "50%"


def test_priorities_of_users_are_bounded():
    of = strategy("PriorityClass", "scheduling.k8s.io/v1")
    assert problems(of, made(of, {"value": 1_000_000_001})) == [
        "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"
    ]


def test_a_definition_gets_the_names_that_follow_from_others():
    of = strategy("CustomResourceDefinition", "apiextensions.k8s.io/v1")
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    tree = {
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [version],
        },
    }
    one = made(of, tree)
    assert (one.spec.names.singular, one.spec.names.list_kind) == ("widget", "WidgetList")
    assert one.status.stored_versions == ("v1",)
    assert problems(of, one) == []
    misnamed = with_metadata(one, name="other")
    assert problems(of, misnamed) == ['metadata.name: Invalid value: "other": must be spec.names.plural+"."+spec.group']


def test_kinds_without_generations():
    without = {kind for (_, kind), one in BY_KIND.items() if not one.counts_generations}
    assert {
        "ConfigMap",
        "Secret",
        "Event",
        "Lease",
        "ServiceAccount",
        "Endpoints",
        "Role",
        "Namespace",
        "Node",
    } <= without
    assert not without & {"Pod", "Deployment", "EndpointSlice", "PodDisruptionBudget", "CustomResourceDefinition"}
