"""Which CustomResourceDefinitions may be, and where upstream reports what may not."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.api.apiextensions_v1 import CustomResourceDefinition
from keelback.apimachinery import codecs
from keelback.registry.customresourcedefinitions import CustomResourceDefinitionStrategy

STRATEGY = CustomResourceDefinitionStrategy()
SPEC = {"type": "object", "properties": {"size": {"type": "integer"}, "on": {"type": "object"}}}
SCHEMA = {"openAPIV3Schema": {"type": "object", "properties": {"spec": SPEC}}}


def version(name: str = "v1", **fields: Any) -> dict[str, Any]:
    return {"name": name, "served": True, "storage": name == "v1", "schema": SCHEMA, **fields}


def definition(*versions: Any, annotations: Any = None, **spec: Any) -> CustomResourceDefinition:
    names = {"plural": "widgets", "kind": "Widget"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": versions or [version()], **spec}
    metadata = {"name": f"{spec['names']['plural']}.{spec['group']}", "annotations": annotations or {}}
    made = codecs.convert(CustomResourceDefinition, {"metadata": metadata, "spec": spec})
    return STRATEGY.prepare_for_create(STRATEGY.default(made))


def complaints(made: CustomResourceDefinition) -> list[str]:
    return [f"{one.field}: {one.body}" for one in STRATEGY.validate(made)]


def webhook(client: Any = None, reviews: Any = ("v1",)) -> dict[str, Any]:
    return {"strategy": "Webhook", "webhook": {"clientConfig": client, "conversionReviewVersions": reviews}}


LABEL = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (
            definition(group="example"),
            'spec.group: Invalid value: "example": should be a domain with at least one dot',
        ),
        (definition(scope=""), "spec.scope: Required value"),
        (
            definition(scope="Global"),
            'spec.scope: Unsupported value: "Global": supported values: "Cluster", "Namespaced"',
        ),
        (
            definition(names={"plural": "widgets", "kind": "Wi_dget", "listKind": "L"}, scope="Cluster"),
            f'spec.names.singular: Invalid value: "wi_dget": {LABEL}',
        ),
        (
            definition(names={"plural": "widgets", "kind": "Widget", "listKind": "Widget"}),
            'spec.names.listKind: Invalid value: "Widget": kind and listKind may not be the same',
        ),
        (
            definition(names={"plural": "widgets", "kind": "Widget", "shortNames": ["w", "W"]}),
            f'spec.names.shortNames[1]: Invalid value: "W": {LABEL}',
        ),
        (
            definition(names={"plural": "widgets", "kind": "Widget", "categories": ["A"]}),
            f'spec.names.categories[0]: Invalid value: "A": {LABEL}',
        ),
        (
            definition(version(schema=None)),
            "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
        ),
        (
            definition(version("v1"), version("v2", schema={"openAPIV3Schema": {"type": "string"}})),
            'spec.versions[1].schema.openAPIV3Schema.type: Invalid value: "string": must be object at the root',
        ),
        (
            definition(version("v1", schema={"openAPIV3Schema": {"type": "string"}})),
            'spec.validation.openAPIV3Schema.type: Invalid value: "string": must be object at the root',
        ),
        (
            definition(version(deprecationWarning="old")),
            'spec.versions[0].deprecationWarning: Invalid value: "old": can only be set for deprecated versions',
        ),
        (
            definition(version(additionalPrinterColumns=[{"name": "a", "type": "text", "jsonPath": ".a"}])),
            'spec.additionalPrinterColumns[0].type: Invalid value: "text": must be one of '
            "boolean,date,integer,number,string",
        ),
        (
            definition(
                version("v1"),
                version("v2", additionalPrinterColumns=[{"name": "a", "type": "date", "jsonPath": "a"}]),
            ),
            'spec.versions[1].additionalPrinterColumns[0].JSONPath: Invalid value: "a": must be a simple json path '
            "starting with .",
        ),
        (
            definition(version(subresources={"scale": {"specReplicasPath": ".a", "statusReplicasPath": ".status.a"}})),
            'spec.subresources.scale.specReplicasPath: Invalid value: ".a": should be a json path under .spec',
        ),
        (
            definition(version(selectableFields=[{"jsonPath": ".spec.on"}])),
            'spec.selectableFields[0].jsonPath: Invalid value: ".spec.on": must point to a field of type string, '
            "boolean or integer. Enum string fields and strings with formats are allowed.",
        ),
        (
            definition(version(selectableFields=[{"jsonPath": ".spec.none"}])),
            'spec.selectableFields[0].jsonPath: Invalid value: ".spec.none": is an invalid path: does not refer to a '
            "valid field",
        ),
        (
            definition(version(selectableFields=[{"jsonPath": ".spec.size"}] * 2)),
            'spec.selectableFields[1].jsonPath: Duplicate value: ".spec.size"',
        ),
        (
            definition(preserveUnknownFields=True),
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set "
            "x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ),
        (
            definition(conversion=webhook()),
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
        ),
        (
            definition(conversion=webhook({"url": "http://a/b"})),
            "spec.conversion.webhookClientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; "
            "desired format: https://host[/path]",
        ),
        (
            definition(conversion=webhook({"service": {"name": "a", "namespace": "b", "path": "c"}})),
            "spec.conversion.webhookClientConfig.service.path: Invalid value: \"c\": must start with a '/'",
        ),
        (
            definition(conversion=webhook({"url": "https://a"}, ["v3"])),
            'spec.conversion.conversionReviewVersions: Invalid value: ["v3"]: must include at least one of v1, v1beta1',
        ),
        (
            definition(conversion={**webhook({"url": "https://a"}, []), "strategy": "None"}),
            "spec.conversion.webhookClientConfig: Forbidden: should not be set when strategy is not set to Webhook",
        ),
        (
            definition(group="x.k8s.io"),
            "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval "
            'annotation "api-approved.kubernetes.io", see https://github.com/kubernetes/enhancements/pull/1111',
        ),
    ],
)
def test_what_is_refused(made: CustomResourceDefinition, complaint: str) -> None:
    assert complaint in complaints(made)


def test_what_is_complained_about_once() -> None:
    assert complaints(definition()) == []
    two = definition(version("v1"), version("v2"))
    assert complaints(two) == []
    assert (
        complaints(definition(group="x.k8s.io", annotations={"api-approved.kubernetes.io": "unapproved, test"})) == []
    )
    assert complaints(definition(conversion=webhook({"service": {"name": "a", "namespace": "b"}}))) == []


def test_versions_are_shown_in_the_form_upstream_holds_them_in() -> None:
    (found,) = [one for one in complaints(definition(version("v1"), version("v2", storage=True))) if "exactly" in one]
    shown = '{"Name":"v1","Served":true,"Storage":true,"Deprecated":false,"DeprecationWarning":null,"Schema":null,'
    assert found.startswith(f"spec.versions: Invalid value: [{shown}")
    assert found.endswith("must have exactly one version marked as storage version")


def test_a_version_that_was_stored_stays() -> None:
    old = definition(version("v1"), version("v2"))
    new = STRATEGY.prepare_for_update(definition(version("v2", storage=True)), old)
    assert [f"{one.field}: {one.body}" for one in STRATEGY.validate_update(new, old)] == [
        'status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was previously a storage '
        "version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 "
        "and removes v1 from status.storedVersions"
    ]


def test_formats_that_nobody_enforces_are_warned_of() -> None:
    def with_formats(*formats: str) -> CustomResourceDefinition:
        properties = {form: {"type": "string", "format": form} for form in formats}
        return definition(version(schema={"openAPIV3Schema": {"type": "object", "properties": properties}}))

    old = with_formats("date-time", "int64", "quantity")
    assert list(STRATEGY.warnings(old, None)) == ['unrecognized format "quantity"']
    assert list(STRATEGY.warnings(with_formats("quantity", "double"), old)) == ['unrecognized format "double"']
