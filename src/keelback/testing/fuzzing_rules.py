"""What stands in the way of fuzzed requests: a custom resource with CEL rules in every place, and policies that match.

Expressions are written so that what is fuzzed may well make them fail; failing is an answer, not a defect.
"""

from __future__ import annotations

from typing import Any, Final

GROUP: Final = "rules.fuzz.example.com"
PATH: Final = f"/apis/{GROUP}/v1/namespaces/default/ruleds"
_DEFINITIONS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
_TEXT: Final = {"type": "string", "maxLength": 100}

_SPEC_PROPERTIES: Final[dict[str, Any]] = {
    "min": {"type": "integer"},
    "max": {
        "type": "integer",
        "x-kubernetes-validations": [{"rule": "self >= oldSelf", "message": "must not shrink"}],
    },
    "name": {
        **_TEXT,
        "x-kubernetes-validations": [
            {
                "rule": "self.matches('^[a-z]+$') && self.size() < 50",
                "messageExpression": "'bad name: ' + self.upperAscii()",
            }
        ],
    },
    "when": {"type": "string", "format": "date-time"},
    "wait": {"type": "string", "format": "duration"},
    "port": {"x-kubernetes-int-or-string": True},
    "labels": {
        "type": "object",
        "maxProperties": 20,
        "additionalProperties": _TEXT,
        "x-kubernetes-validations": [{"rule": "self.all(k, k.size() < 64 && self[k] != 'no')"}],
    },
    "parts": {
        "type": "array",
        "maxItems": 20,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": _TEXT, "weight": {"type": "number"}, "on": {"type": "boolean", "default": True}},
            "x-kubernetes-validations": [{"rule": "!has(self.weight) || self.weight >= 0.0"}],
        },
        "x-kubernetes-validations": [
            {
                "rule": "self.filter(p, p.on).exists(p, p.name == 'main') || self.size() == 0",
                "reason": "FieldValueInvalid",
            },
            {"rule": "self.all(p, oldSelf.hasValue() ? p.name != 'late' : true)", "optionalOldSelf": True},
        ],
    },
    "set": {"type": "array", "maxItems": 20, "x-kubernetes-list-type": "set", "items": _TEXT},
    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "template": {
        "type": "object",
        "x-kubernetes-embedded-resource": True,
        "x-kubernetes-preserve-unknown-fields": True,
    },
    "cidr": {**_TEXT, "x-kubernetes-validations": [{"rule": "self == '' || isCIDR(self)"}]},
    "size": {
        **_TEXT,
        "x-kubernetes-validations": [{"rule": "self == '' || quantity(self).isGreaterThan(quantity('1'))"}],
    },
    "link": {**_TEXT, "x-kubernetes-validations": [{"rule": "self == '' || url(self).getHost() != 'evil'"}]},
}

_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": _SPEC_PROPERTIES,
            "x-kubernetes-validations": [
                {"rule": "!has(self.min) || !has(self.max) || self.min <= self.max", "message": "min above max"},
                {"rule": "!has(self.when) || self.when.getFullYear() > 1990"},
                {"rule": "!has(self.wait) || self.wait < duration('100h')"},
                {"rule": "!has(self.port) || (type(self.port) == int ? self.port > 0 : self.port != '')"},
            ],
        },
        "status": {
            "type": "object",
            "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}},
            "x-kubernetes-preserve-unknown-fields": True,
        },
    },
    "x-kubernetes-validations": [{"rule": "self.metadata.name.size() < 200"}],
}

_DEFINITION: Final[dict[str, Any]] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"ruleds.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "ruleds", "singular": "ruled", "kind": "Ruled", "listKind": "RuledList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": _SCHEMA},
                "selectableFields": [{"jsonPath": ".spec.name"}],
                "additionalPrinterColumns": [
                    {"name": "Max", "type": "integer", "jsonPath": ".spec.max"},
                    {"name": "When", "type": "date", "jsonPath": ".spec.when"},
                ],
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.max",
                        "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.selector",
                    },
                },
            }
        ],
    },
}

_MATCHED: Final = {
    "resourceRules": [
        {
            "apiGroups": ["", "apps", GROUP],
            "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE"],
            "resources": ["configmaps", "services", "deployments", "ruleds"],
        }
    ]
}
_VALIDATING: Final[dict[str, Any]] = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingAdmissionPolicy",
    "metadata": {"name": "fuzz-armed"},
    "spec": {
        "failurePolicy": "Fail",
        "matchConstraints": _MATCHED,
        "matchConditions": [{"name": "ours", "expression": "request.namespace == 'default'"}],
        "variables": [{"name": "labels", "expression": "object.metadata.?labels.orValue({})"}],
        "validations": [
            {
                "expression": "variables.labels.all(k, variables.labels[k].size() < 60)",
                "messageExpression": "'labels of ' + object.metadata.name",
            },
            {"expression": "!has(object.data) || object.data.all(k, object.data[k].lowerAscii() != 'forbidden')"},
            {"expression": "!has(object.spec) || !has(object.spec.replicas) || object.spec.replicas < 100"},
            {"expression": "oldObject == null || object.metadata.name == oldObject.metadata.name"},
        ],
        "auditAnnotations": [{"key": "who", "valueExpression": "request.userInfo.username"}],
    },
}
_MUTATING: Final[dict[str, Any]] = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingAdmissionPolicy",
    "metadata": {"name": "fuzz-armed"},
    "spec": {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "IfNeeded",
        "matchConstraints": _MATCHED,
        "mutations": [
            {
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {
                    "expression": "Object{metadata: Object.metadata{annotations: {'fuzz': object.metadata.name}}}"
                },
            },
            {
                "patchType": "JSONPatch",
                "jsonPatch": {
                    "expression": "has(object.metadata.labels) ? [JSONPatch{op: 'add', path: '/metadata/labels/' + "
                    "jsonpatch.escapeKey('fuzz/seen'), value: 'yes'}] : []"
                },
            },
        ],
    },
}


def _binding(kind: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": "fuzz-armed"},
        "spec": {"policyName": "fuzz-armed", **spec},
    }


ARMED: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    (_DEFINITIONS, _DEFINITION),
    (f"{_ADMISSION}/validatingadmissionpolicies", _VALIDATING),
    (
        f"{_ADMISSION}/validatingadmissionpolicybindings",
        _binding("ValidatingAdmissionPolicyBinding", validationActions=["Deny", "Audit"]),
    ),
    (f"{_ADMISSION}/mutatingadmissionpolicies", _MUTATING),
    (f"{_ADMISSION}/mutatingadmissionpolicybindings", _binding("MutatingAdmissionPolicyBinding")),
)
"""What a round begins with: where it is posted, and what."""


def ruled(name: str) -> dict[str, Any]:
    """A custom object that keeps all the rules."""
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Ruled",
        "metadata": {"name": name, "labels": {"app": "fuzz"}},
        "spec": {
            "min": 1,
            "max": 3,
            "name": "abc",
            "when": "2026-01-01T00:00:00Z",
            "wait": "5m",
            "port": 80,
            "labels": {"a": "b"},
            "parts": [{"name": "main", "weight": 1.5}],
            "set": ["a", "b"],
            "free": {"x": [1]},
            "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "t"}},
            "cidr": "10.0.0.0/8",
            "size": "1Gi",
            "link": "https://example.com/a",
        },
        "status": {"replicas": 1, "selector": "app=fuzz"},
    }
