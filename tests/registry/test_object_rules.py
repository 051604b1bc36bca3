"""The rules of workloads, services, volumes, nodes and limits: one refused manifest each, with the whole message."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.api.core_v1 import ConfigMap
from keelback.apimachinery import codecs
from keelback.registry.builtin import strategies
from keelback.registry.configmaps import ConfigMapStrategy

STRATEGIES = {one.kind.__kind__.resource: one for one in strategies()}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
SELECTED: dict[str, Any] = {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}
JOB_POD: dict[str, Any] = {**TEMPLATE, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
JOB: dict[str, Any] = {"manualSelector": True, "selector": {"matchLabels": {"a": "b"}}, "template": JOB_POD}
INDEXED = {**JOB, "completionMode": "Indexed", "completions": 3, "parallelism": 1}
CRON = {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": JOB_POD}}}
PORTS = {"ports": [{"port": 1}]}
CLAIM: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
VOLUME: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/a"}}
ZERO = "must be greater than or equal to 0"


def problems(resource: str, tree: dict[str, Any]) -> list[str]:
    strategy = STRATEGIES[resource]
    metadata = {"name": "x", "uid": "u", **tree.get("metadata", {})}
    made = strategy.default(codecs.convert(strategy.kind, {**tree, "metadata": metadata}))
    return [f"{one.field}: {one.body}" for one in strategy.validate(strategy.prepare_for_create(made))]


def rolling(**fields: Any) -> dict[str, Any]:
    return {**SELECTED, "updateStrategy": {"rollingUpdate": fields}}


def failing(**rule: Any) -> dict[str, Any]:
    return {**JOB, "podFailurePolicy": {"rules": [rule]}}


def succeeding(**rule: Any) -> dict[str, Any]:
    return {**INDEXED, "successPolicy": {"rules": [rule]}}


def template(**spec: Any) -> dict[str, Any]:
    return {**SELECTED, "template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], **spec}}}


CASES: list[tuple[str, dict[str, Any], list[str]]] = [
    # Workloads
    (
        "deployments.apps",
        template(restartPolicy="Never"),
        ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
    ),
    (
        "deployments.apps",
        template(activeDeadlineSeconds=1),
        [
            "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
        ],
    ),
    (
        "deployments.apps",
        {**SELECTED, "strategy": {"type": "Recreate", "rollingUpdate": {}}},
        ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
    ),
    (
        "deployments.apps",
        {**SELECTED, "minReadySeconds": 600},
        ["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"],
    ),
    (
        "daemonsets.apps",
        {"template": TEMPLATE},
        ['spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`'],
    ),
    (
        "daemonsets.apps",
        rolling(maxSurge=1),
        [
            "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable "
            "is non-zero"
        ],
    ),
    (
        "daemonsets.apps",
        {**SELECTED, "updateStrategy": {"type": "x"}},
        [
            'spec.updateStrategy: Unsupported value: {"Type":"x","RollingUpdate":null}: supported values: '
            '"RollingUpdate", "OnDelete"'
        ],
    ),
    (
        "statefulsets.apps",
        rolling(maxUnavailable=0),
        ["spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0"],
    ),
    (
        "statefulsets.apps",
        rolling(partition=-1),
        [f"spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: {ZERO}"],
    ),
    (
        "statefulsets.apps",
        {**SELECTED, "podManagementPolicy": "x"},
        ["spec.podManagementPolicy: Invalid value: \"x\": must be 'OrderedReady' or 'Parallel'"],
    ),
    (
        "statefulsets.apps",
        {**SELECTED, "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "x"}},
        [
            'spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: "x": supported values: '
            '"Retain", '
            '"Delete"'
        ],
    ),
    (
        "statefulsets.apps",
        {
            **template(containers=[{"name": "c", "image": "i", "volumeMounts": [{"name": "data", "mountPath": "/d"}]}]),
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": CLAIM}],
        },
        [],
    ),
    (
        "deployments.apps",
        {**SELECTED, "selector": {"matchExpressions": [{"key": "a", "operator": "x"}]}},
        [
            'spec.selector.matchExpressions[0].operator: Invalid value: "x": not a valid selector operator',
            'spec.selector: Invalid value: {"matchExpressions":[{"key":"a","operator":"x"}]}: invalid label selector',
        ],
    ),
    ("replicationcontrollers", {}, ["spec.selector: Required value", "spec.template: Required value"]),
    # Jobs
    (
        "jobs.batch",
        {**JOB, "template": TEMPLATE},
        ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'],
    ),
    (
        "jobs.batch",
        {**JOB, "maxFailedIndexes": 1},
        [
            "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
            "spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode",
        ],
    ),
    (
        "jobs.batch",
        {**JOB, "managedBy": "x"},
        ['spec.managedBy: Invalid value: "x": must be a domain-prefixed path (such as "acme.io/foo")'],
    ),
    (
        "jobs.batch",
        {**JOB, "completionMode": "x"},
        ['spec.completionMode: Unsupported value: "x": supported values: "NonIndexed", "Indexed"'],
    ),
    (
        "jobs.batch",
        {**INDEXED, "parallelism": 100001},
        [
            "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode "
            "is Indexed",
        ],
    ),
    (
        "jobs.batch",
        failing(action="Ignore"),
        [
            "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions "
            "is required",
        ],
    ),
    (
        "jobs.batch",
        failing(action="FailIndex", onPodConditions=[{"type": "a"}]),
        [
            'spec.podFailurePolicy.rules[0].action: Invalid value: "FailIndex": requires the '
            "backoffLimitPerIndex to be set"
        ],
    ),
    (
        "jobs.batch",
        failing(onPodConditions=[{"type": "a"}]),
        [
            'spec.podFailurePolicy.rules[0].action: Required value: valid values: ["Count" "FailIndex" "FailJob" '
            '"Ignore"]'
        ],
    ),
    (
        "jobs.batch",
        failing(action="Ignore", onExitCodes={"containerName": "z", "operator": "In", "values": [0, 0]}),
        [
            'spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: "z": must be one of the '
            "container "
            "or initContainer names in the pod template",
            "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator",
            "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
            "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Duplicate value: 0",
        ],
    ),
    (
        "jobs.batch",
        succeeding(succeededIndexes="2-1"),
        [
            'spec.successPolicy.rules[0].succeededIndexes: Invalid value: "2-1": error parsing succeededIndexes: '
            "non-increasing order, previous: 2, current: 1"
        ],
    ),
    (
        "jobs.batch",
        succeeding(succeededIndexes="0-1", succeededCount=3),
        [
            "spec.successPolicy.rules[0].succeededCount: Invalid value: 3: must be less than or equal to 2 (the "
            "number of "
            "indexes in the specified succeededIndexes field)"
        ],
    ),
    ("jobs.batch", succeeding(succeededIndexes="0,2", succeededCount=1), []),
    (
        "cronjobs.batch",
        {**CRON, "timeZone": "Nowhere/None"},
        ['spec.timeZone: Invalid value: "Nowhere/None": unknown time zone Nowhere/None'],
    ),
    (
        "cronjobs.batch",
        {**CRON, "concurrencyPolicy": "x"},
        ['spec.concurrencyPolicy: Unsupported value: "x": supported values: "Allow", "Forbid", "Replace"'],
    ),
    # Services
    (
        "services",
        {**PORTS, "type": "NodePort", "clusterIP": "None"},
        ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
    ),
    ("services", {"type": "ExternalName"}, ["spec.externalName: Required value"]),
    (
        "services",
        {"ports": [{"port": 1}, {"port": 2}]},
        ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"],
    ),
    (
        "services",
        {"ports": [{"port": 1, "nodePort": 2}]},
        ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
    ),
    (
        "services",
        {**PORTS, "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}},
        [
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and "
            "less than "
            "86400"
        ],
    ),
    (
        "services",
        {**PORTS, "clusterIPs": ["10.0.0.1"]},
        ['spec.clusterIPs: Invalid value: ["10.0.0.1"]: must be empty when `clusterIP` is not specified'],
    ),
    (
        "services",
        {**PORTS, "externalIPs": ["127.0.0.1"]},
        ['spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)'],
    ),
    (
        "services",
        {**PORTS, "loadBalancerSourceRanges": ["x"]},
        [
            "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
            'spec.LoadBalancerSourceRanges[0]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or '
            "2001:db8::/64)",
        ],
    ),
    (
        "services",
        {**PORTS, "externalTrafficPolicy": "Local"},
        ['spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services'],
    ),
    (
        "services",
        {**PORTS, "trafficDistribution": "x"},
        [
            'spec.trafficDistribution: Unsupported value: "x": supported values: "PreferClose", "PreferSameZone", '
            '"PreferSameNode"'
        ],
    ),
    ("services", {**PORTS, "externalIPs": ["1.2.3.4"], "externalTrafficPolicy": "Local"}, []),
    # Volumes and claims
    (
        "persistentvolumes",
        {**VOLUME, "accessModes": ["ReadWriteOncePod", "ReadOnlyMany"]},
        ["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"],
    ),
    (
        "persistentvolumes",
        {**VOLUME, "capacity": {"storage": "0"}},
        ['spec.capacity[storage]: Invalid value: "0": must be greater than zero'],
    ),
    (
        "persistentvolumes",
        {**VOLUME, "hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle"},
        ["spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"],
    ),
    (
        "persistentvolumes",
        {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "csi": {"driver": "d"}},
        ["spec.csi.volumeHandle: Required value"],
    ),
    (
        "persistentvolumes",
        {**VOLUME, "volumeAttributesClassName": "a"},
        ["spec.csi: Required value: has to be specified when using volumeAttributesClassName"],
    ),
    (
        "persistentvolumeclaims",
        {**CLAIM, "resources": {"requests": {"storage": "-1"}}},
        ['spec.resources[storage]: Invalid value: "-1": must be greater than zero'],
    ),
    (
        "persistentvolumeclaims",
        {**CLAIM, "dataSourceRef": {"kind": "Other", "name": "x"}},
        [
            "spec.dataSourceRef: Invalid value: \"Other\": must be 'PersistentVolumeClaim' when referencing the "
            "default "
            "apiGroup"
        ],
    ),
    # Nodes, limits and quotas
    (
        "nodes",
        {"taints": [{"key": "a", "effect": "x"}]},
        [
            'metadata.taints[0].effect: Unsupported value: "x": supported values: "NoSchedule", "PreferNoSchedule", '
            '"NoExecute"'
        ],
    ),
    (
        "nodes",
        {"taints": [{"key": "a", "effect": "NoExecute"}] * 2},
        [
            'metadata.taints[1]: Duplicate value: {"Key":"a","Value":"","Effect":"NoExecute","TimeAdded":null}: taints '
            "must be unique by key and effect pair"
        ],
    ),
    (
        "nodes",
        {"podCIDRs": ["10.0.0.0/24", "10.0.1.0/24"]},
        [
            'spec.podCIDRs: Invalid value: ["10.0.0.0/24","10.0.1.0/24"]: may specify no more than one CIDR for '
            "each IP family"
        ],
    ),
    (
        "limitranges",
        {"limits": [{"type": "x"}]},
        ['spec.limits[0].type: Invalid value: "x": must be a standard limit type or fully qualified'],
    ),
    (
        "limitranges",
        {"limits": [{"type": "PersistentVolumeClaim"}]},
        [
            "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but "
            "neither was "
            "provided"
        ],
    ),
    (
        "limitranges",
        {"limits": [{"type": "Pod", "min": {"cpu": 2}, "max": {"cpu": 1}}]},
        ['spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1'],
    ),
    (
        "limitranges",
        {"limits": [{"type": "Pod", "min": {"cpu": 1}, "max": {"cpu": 2}, "maxLimitRequestRatio": {"cpu": 3}}]},
        ['spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "3": ratio 3 is greater than max/min = 2.000000'],
    ),
    (
        "resourcequotas",
        {"hard": {"foo": 1}},
        [
            'spec.hard[foo]: Invalid value: "foo": must be a standard resource type or fully qualified',
            'spec.hard[foo]: Invalid value: "foo": must be a standard resource for quota',
        ],
    ),
    (
        "resourcequotas",
        {"hard": {"cpu": 1}, "scopes": ["BestEffort"]},
        ['spec.scopes: Invalid value: ["BestEffort"]: unsupported scope applied to resource'],
    ),
    (
        "resourcequotas",
        {"scopes": ["BestEffort", "NotBestEffort"]},
        ['spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes'],
    ),
    (
        "resourcequotas",
        {"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}},
        [
            "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is "
            "'In' or 'NotIn' for scope selector"
        ],
    ),
]


@pytest.mark.parametrize(("resource", "spec", "expected"), CASES)
def test_each_rule_is_said_whole(resource: str, spec: dict[str, Any], expected: list[str]) -> None:
    assert problems(resource, {"spec": spec}) == expected


def test_a_generated_selector_must_not_be_spoilt_by_hand() -> None:
    spec = {"template": {"metadata": {"labels": {"job-name": "other"}}, "spec": JOB_POD["spec"]}}
    where = "spec.template.metadata.labels[job-name]"
    shown = '{"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"x","controller-uid":"u",'
    assert problems("jobs.batch", {"spec": spec}) == [
        f'{where}: Invalid value: {shown}"job-name":"other"}}: must be \'x\'',
    ]


def test_an_indexed_job_leaves_room_for_its_indexes() -> None:
    name = "x" * 62
    tree = {"metadata": {"name": name}, "spec": INDEXED}
    assert problems("jobs.batch", tree) == [
        f'metadata.name: Invalid value: "{name}": will not able to create pod with invalid DNS label: {name}-2'
    ]


def test_a_statefulset_is_named_like_its_hosts() -> None:
    assert STRATEGIES["statefulsets.apps"].validate_name("a.b", is_prefix=False) != ()
    assert STRATEGIES["deployments.apps"].validate_name("a.b", is_prefix=False) == ()


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"involvedObject": {"namespace": "d"}}, []),
        (
            {"involvedObject": {"namespace": "other"}},
            ['involvedObject.namespace: Invalid value: "other": does not match event.namespace'],
        ),
        (
            {"involvedObject": {"namespace": "d"}, "eventTime": "2026-01-01T00:00:00.000000Z", "action": "a" * 129},
            [
                "reportingComponent: Required value",
                'reportingComponent: Invalid value: "": name part must be non-empty',
                'reportingComponent: Invalid value: "": name part must consist of alphanumeric characters, '
                "'-', '_' or "
                "'.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
                "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
                "reportingInstance: Required value",
                'action: Invalid value: "": can have at most 128 characters',
                "reason: Required value",
            ],
        ),
    ],
)
def test_what_an_event_may_say(event: dict[str, Any], expected: list[str]) -> None:
    assert problems("events", {**event, "metadata": {"namespace": "d"}}) == expected


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": "e30="}, []),
        (
            "kubernetes.io/dockerconfigjson",
            {".dockerconfigjson": "W10="},
            [
                'data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": json: cannot unmarshal '
                "array into "
                "Go value of type map[string]interface {}"
            ],
        ),
        ("kubernetes.io/ssh-auth", {"ssh-privatekey": ""}, ["data[ssh-privatekey]: Required value"]),
        ("kubernetes.io/basic-auth", {}, ["data[username]: Required value", "data[password]: Required value"]),
    ],
)
def test_what_a_secret_of_a_type_must_hold(kind: str, data: dict[str, str], expected: list[str]) -> None:
    assert problems("secrets", {"type": kind, "data": data}) == expected


def test_what_is_too_large_about_a_config_map_is_no_field() -> None:
    large = ConfigMap(data={"a": "x" * 600_000}, binary_data={"b": b"x" * 600_000})
    (problem,) = ConfigMapStrategy().validate(large)
    assert (problem.field, problem.body) == ("[]", "Too long: may not be more than 1048576 bytes")
