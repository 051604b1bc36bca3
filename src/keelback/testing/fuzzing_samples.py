"""Valid objects to spoil: one of each stored kind, from a small text, so that a mutation is one step from valid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keelback.api.builtin import STORED
from keelback.apimachinery.meta import Object

_LABELS = {"app": "fuzz"}
_SELECTOR = {"matchLabels": _LABELS}
_CONTAINER = {
    "name": "main",
    "image": "example:1",
    "ports": [{"containerPort": 80, "name": "http"}],
    "env": [{"name": "A", "value": "b"}],
    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1"}},
}
_POD_SPEC: dict[str, Any] = {
    "containers": [_CONTAINER],
    "volumes": [{"name": "v", "emptyDir": {}}],
    "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3}],
    "nodeSelector": {"disk": "ssd"},
}
_TEMPLATE = {"metadata": {"labels": _LABELS}, "spec": _POD_SPEC}
_JOB_TEMPLATE = {"spec": {**_POD_SPEC, "restartPolicy": "Never"}}
_RULE = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
_ROLE_REF = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "fuzz"}
_SUBJECT = {"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}
_TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "fuzz"}
_WEBHOOK = {
    "name": "a.fuzz.example.com",
    "clientConfig": {"url": "https://127.0.0.1:1/"},
    "rules": [{"apiGroups": ["none.example.com"], "apiVersions": ["*"], "resources": ["*"], "operations": ["CREATE"]}],
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
    "failurePolicy": "Ignore",
}
_CLAIM = {
    "accessModes": ["ReadWriteOnce"],
    "resources": {"requests": {"storage": "1Gi"}},
}
# Jane's, for a key that nobody keeps.
_SIGNING_REQUEST = (
    "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlISU1IRUNBUUF3RHpFTk1Bc0dBMVVFQXd3RWFtRnVaVEJaTUJN"
    "R0J5cUdTTTQ5QWdFR0NDcUdTTTQ5QXdFSApBMElBQkhNWEIrWGd3blVQRURYdkZzUHUzQXExUGpoeitMYWJpVUNoOGV1eE5wbjUy"
    "ckMxaUJNaUN5WElmWXdiCjlnQmRxZW1yc1llWGt3ajhNUjMwSE9GQUQ2MmdBREFLQmdncWhrak9QUVFEQWdOSEFEQkVBaUFjMnVz"
    "UXozWnUKdDFzRE1PSkFrcTdCaFZ3RzVxOVZRSncwUjlPVWhYeDNpd0lnWlVLdWRYVy9hbW9iQ3JHUHpUOEJqalRGZ3JBTApmeGFU"
    "VlZqN2pLQzdTVnM9Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo="
)
_PROBE_SCHEMA = {
    "type": "object",
    "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer"}, "s": {"type": "string"}}}},
}
_CONSTRAINTS = {"resourceRules": [{**_RULE, "apiVersions": ["v1"], "operations": ["CREATE"]}]}

_CONTENT: Mapping[str, Mapping[str, Any]] = {
    "v1/ConfigMap": {"data": {"k": "v"}, "binaryData": {"b": "AAEC"}},
    "v1/Endpoints": {"subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]},
    "v1/Event": {
        "involvedObject": {"namespace": "default", "name": "x", "kind": "Pod"},
        "reason": "R",
        "type": "Normal",
    },
    "v1/LimitRange": {"spec": {"limits": [{"type": "Pod", "max": {"cpu": "100"}}]}},
    "v1/Node": {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}, "status": {"capacity": {"cpu": "4"}}},
    "v1/PersistentVolume": {
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/srv"}}
    },
    "v1/PersistentVolumeClaim": {"spec": _CLAIM},
    "v1/Pod": {"spec": _POD_SPEC},
    "v1/PodTemplate": {"template": _TEMPLATE},
    "v1/ReplicationController": {"spec": {"replicas": 1, "selector": _LABELS, "template": _TEMPLATE}},
    "v1/ResourceQuota": {"spec": {"hard": {"pods": "1000000", "requests.cpu": "1000000"}}},
    "v1/Secret": {"data": {"k": "dg=="}, "type": "Opaque"},
    "v1/Service": {"spec": {"selector": _LABELS, "ports": [{"port": 80, "targetPort": "http"}]}},
    "apps/v1/ControllerRevision": {"revision": 1, "data": {"a": 1}},
    "apps/v1/DaemonSet": {"spec": {"selector": _SELECTOR, "template": _TEMPLATE}},
    "apps/v1/Deployment": {"spec": {"replicas": 2, "selector": _SELECTOR, "template": _TEMPLATE}},
    "apps/v1/ReplicaSet": {"spec": {"selector": _SELECTOR, "template": _TEMPLATE}},
    "apps/v1/StatefulSet": {
        "spec": {
            "selector": _SELECTOR,
            "serviceName": "fuzz",
            "template": _TEMPLATE,
            "volumeClaimTemplates": [{"metadata": {"name": "c"}, "spec": _CLAIM}],
        }
    },
    "batch/v1/CronJob": {"spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": _JOB_TEMPLATE}}}},
    "batch/v1/Job": {"spec": {"template": _JOB_TEMPLATE, "completions": 2}},
    "autoscaling/v1/HorizontalPodAutoscaler": {"spec": {"scaleTargetRef": _TARGET, "maxReplicas": 3}},
    "autoscaling/v2/HorizontalPodAutoscaler": {
        "spec": {
            "scaleTargetRef": _TARGET,
            "maxReplicas": 3,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 5}},
                }
            ],
        }
    },
    "policy/v1/PodDisruptionBudget": {"spec": {"minAvailable": "50%", "selector": _SELECTOR}},
    "networking.k8s.io/v1/IPAddress": {"spec": {"parentRef": {"resource": "services", "name": "a", "namespace": "b"}}},
    "networking.k8s.io/v1/Ingress": {
        "spec": {
            "rules": [
                {
                    "host": "a.example.com",
                    "http": {
                        "paths": [
                            {
                                "path": "/",
                                "pathType": "Prefix",
                                "backend": {"service": {"name": "fuzz", "port": {"number": 80}}},
                            }
                        ]
                    },
                }
            ]
        }
    },
    "networking.k8s.io/v1/IngressClass": {"spec": {"controller": "example.com/c"}},
    "networking.k8s.io/v1/NetworkPolicy": {
        "spec": {
            "podSelector": _SELECTOR,
            "ingress": [
                {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 1}]}
            ],
        }
    },
    "networking.k8s.io/v1/ServiceCIDR": {"spec": {"cidrs": ["10.99.0.0/16"]}},
    "discovery.k8s.io/v1/EndpointSlice": {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": True}}],
        "ports": [{"name": "http", "port": 80}],
    },
    "events.k8s.io/v1/Event": {
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "example.com/c",
        "reportingInstance": "i",
        "action": "A",
        "reason": "R",
        "type": "Normal",
        "regarding": {"namespace": "default", "name": "x", "kind": "Pod"},
    },
    "coordination.k8s.io/v1/Lease": {"spec": {"holderIdentity": "a", "leaseDurationSeconds": 10}},
    "rbac.authorization.k8s.io/v1/ClusterRole": {"rules": [_RULE], "aggregationRule": {"clusterRoleSelectors": [{}]}},
    "rbac.authorization.k8s.io/v1/ClusterRoleBinding": {
        "roleRef": {**_ROLE_REF, "kind": "ClusterRole"},
        "subjects": [_SUBJECT],
    },
    "rbac.authorization.k8s.io/v1/Role": {"rules": [_RULE]},
    "rbac.authorization.k8s.io/v1/RoleBinding": {"roleRef": _ROLE_REF, "subjects": [_SUBJECT]},
    "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy": {
        "spec": {
            "matchConstraints": _CONSTRAINTS,
            "mutations": [
                {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'test', path: '/a', value: 1}]"}}
            ],
            "reinvocationPolicy": "Never",
        }
    },
    "admissionregistration.k8s.io/v1/MutatingAdmissionPolicyBinding": {"spec": {"policyName": "fuzz"}},
    "admissionregistration.k8s.io/v1/MutatingWebhookConfiguration": {"webhooks": [_WEBHOOK]},
    "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy": {
        "spec": {"matchConstraints": _CONSTRAINTS, "validations": [{"expression": "true"}]}
    },
    "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicyBinding": {
        "spec": {"policyName": "fuzz", "validationActions": ["Warn"]}
    },
    "admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration": {"webhooks": [_WEBHOOK]},
    "apiregistration.k8s.io/v1/APIService": {
        "spec": {"group": "g.example.com", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}
    },
    "certificates.k8s.io/v1/CertificateSigningRequest": {
        "spec": {"request": _SIGNING_REQUEST, "signerName": "example.com/s", "usages": ["client auth"]}
    },
    "scheduling.k8s.io/v1/PriorityClass": {"value": 5},
    "storage.k8s.io/v1/CSINode": {"spec": {"drivers": [{"name": "d", "nodeID": "n"}]}},
    "storage.k8s.io/v1/CSIStorageCapacity": {"storageClassName": "fuzz", "capacity": "1Gi"},
    "storage.k8s.io/v1/StorageClass": {"provisioner": "example.com/p"},
    "storage.k8s.io/v1/VolumeAttachment": {
        "spec": {"attacher": "example.com", "nodeName": "n", "source": {"persistentVolumeName": "v"}}
    },
    "storage.k8s.io/v1/VolumeAttributesClass": {"driverName": "example.com/d", "parameters": {"a": "b"}},
    "node.k8s.io/v1/RuntimeClass": {"handler": "runc", "scheduling": {"nodeSelector": {"a": "b"}}},
    "flowcontrol.apiserver.k8s.io/v1/FlowSchema": {
        "spec": {"priorityLevelConfiguration": {"name": "global-default"}, "matchingPrecedence": 5}
    },
    "flowcontrol.apiserver.k8s.io/v1/PriorityLevelConfiguration": {
        "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}}}
    },
    "resource.k8s.io/v1/DeviceClass": {"spec": {"selectors": [{"cel": {"expression": "true"}}]}},
    "resource.k8s.io/v1/ResourceClaim": {
        "spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "fuzz", "count": 1}}]}}
    },
    "resource.k8s.io/v1/ResourceClaimTemplate": {"spec": {"spec": {"devices": {}}}},
    "resource.k8s.io/v1/ResourceSlice": {
        "spec": {
            "driver": "d.example.com",
            "nodeName": "n",
            "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": "x", "attributes": {"a": {"int": 1}}, "capacity": {"m": {"value": "1Gi"}}}],
        }
    },
}


def collection(kind: type[Object], namespace: str = "default") -> str:
    """The path of a kind's collection."""
    said = kind.__kind__
    root = f"/apis/{said.api_version}" if said.group else "/api/v1"
    return f"{root}/namespaces/{namespace}/{said.plural}" if said.namespaced else f"{root}/{said.plural}"


def sample(kind: type[Object], name: str) -> dict[str, Any]:
    """A valid object of a kind."""
    said = kind.__kind__
    given = {
        "apiVersion": said.api_version,
        "kind": said.kind,
        "metadata": {"name": _fitting(said.kind, name), "labels": dict(_LABELS), "annotations": {"example.com/a": "b"}},
    }
    if said.kind == "CustomResourceDefinition":
        return {**given, **_definition(name)}
    if said.kind == "APIService":
        given["metadata"] = {"name": "v1.g.example.com"}
    return {**given, **_CONTENT.get(f"{said.api_version}/{said.kind}", {})}


def every_sample(name: str) -> list[tuple[type[Object], dict[str, Any]]]:
    """A valid object of each stored kind."""
    return [(kind, sample(kind, name)) for kind in STORED]


def _fitting(kind: str, name: str) -> str:
    if kind == "CustomResourceDefinition":
        return f"{name}s.fuzz.example.com"
    return "10.97.0.9" if kind == "IPAddress" else name


def _definition(name: str) -> dict[str, Any]:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": _PROBE_SCHEMA}}
    names = {"plural": f"{name}s", "singular": name, "kind": name.capitalize(), "listKind": f"{name.capitalize()}List"}
    return {
        "spec": {
            "group": "fuzz.example.com",
            "scope": "Namespaced",
            "names": names,
            "versions": [{**version, "subresources": {"status": {}}}],
        }
    }
