"""The types of apiextensions/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from keelback.apimachinery.meta import ListMap, Object, Time, Value, defaulted, kind, named, written


class CustomResourceColumnDefinition(Value):
    description: str = ""
    format: str = ""
    json_path: str = written("")
    name: str = written("")
    priority: int = 0
    type: str = written("")


class CustomResourceConversion(Value):
    strategy: str = defaulted("None")
    webhook: WebhookConversion | None = None


class CustomResourceDefinitionNames(Value):
    categories: tuple[str, ...] = ()
    kind: str = written("")
    list_kind: str = ""
    plural: str = written("")
    short_names: tuple[str, ...] = ()
    singular: str = ""


class CustomResourceDefinitionSpec(Value):
    conversion: CustomResourceConversion | None = None
    group: str = written("")
    names: CustomResourceDefinitionNames = written(CustomResourceDefinitionNames())
    preserve_unknown_fields: bool = False
    scope: str = written("")
    versions: tuple[CustomResourceDefinitionVersion, ...] = written(())


class CustomResourceDefinitionStatus(Value):
    accepted_names: CustomResourceDefinitionNames = written(CustomResourceDefinitionNames())
    conditions: Annotated[tuple[CustomResourceDefinitionCondition, ...] | None, ListMap("type")] = written(None)
    observed_generation: int = 0
    stored_versions: tuple[str, ...] = ()


@kind(
    "apiextensions.k8s.io/v1",
    "customresourcedefinitions",
    namespaced=False,
    short_names=(
        "crd",
        "crds",
    ),
    categories=("api-extensions",),
)
class CustomResourceDefinition(Object):
    spec: CustomResourceDefinitionSpec = written(CustomResourceDefinitionSpec())
    status: CustomResourceDefinitionStatus = written(CustomResourceDefinitionStatus())


class CustomResourceDefinitionCondition(Value):
    last_transition_time: Time | None = written(None)
    message: str = ""
    observed_generation: int = 0
    reason: str = ""
    status: str = written("")
    type: str = written("")


class CustomResourceDefinitionVersion(Value):
    additional_printer_columns: tuple[CustomResourceColumnDefinition, ...] = ()
    deprecated: bool = False
    deprecation_warning: str = ""
    name: str = written("")
    schema: CustomResourceValidation | None = None
    selectable_fields: tuple[SelectableField, ...] = ()
    served: bool = written(False)
    storage: bool = written(False)
    subresources: CustomResourceSubresources | None = None


class CustomResourceSubresourceScale(Value):
    label_selector_path: str = ""
    spec_replicas_path: str = written("")
    status_replicas_path: str = written("")


class CustomResourceSubresourceStatus(Value):
    pass


class CustomResourceSubresources(Value):
    scale: CustomResourceSubresourceScale | None = None
    status: CustomResourceSubresourceStatus | None = None


class CustomResourceValidation(Value):
    open_api_v3_schema: JSONSchemaProps | None = named("openAPIV3Schema", None)


class ExternalDocumentation(Value):
    description: str = ""
    url: str | None = None


class JSONSchemaProps(Value):
    ref: str = named("$ref", "")
    schema: str = named("$schema", "")
    additional_items: JSONSchemaProps | bool | None = None
    additional_properties: JSONSchemaProps | bool | None = None
    all_of: tuple[JSONSchemaProps, ...] = ()
    any_of: tuple[JSONSchemaProps, ...] = ()
    default: msgspec.Raw = msgspec.Raw()
    definitions: Mapping[str, JSONSchemaProps] = {}
    dependencies: Mapping[str, JSONSchemaProps | tuple[str, ...]] = {}
    description: str = ""
    enum: tuple[msgspec.Raw, ...] = ()
    example: msgspec.Raw = msgspec.Raw()
    exclusive_maximum: bool = False
    exclusive_minimum: bool = False
    external_docs: ExternalDocumentation | None = None
    format: str = ""
    id: str = ""
    items: JSONSchemaProps | tuple[JSONSchemaProps, ...] | None = None
    max_items: int | None = None
    max_length: int | None = None
    max_properties: int | None = None
    maximum: int | float | None = None
    min_items: int | None = None
    min_length: int | None = None
    min_properties: int | None = None
    minimum: int | float | None = None
    multiple_of: int | float | None = None
    not_: JSONSchemaProps | None = None
    nullable: bool = False
    one_of: tuple[JSONSchemaProps, ...] = ()
    pattern: str = ""
    pattern_properties: Mapping[str, JSONSchemaProps] = {}
    properties: Mapping[str, JSONSchemaProps] = {}
    required: tuple[str, ...] = ()
    title: str = ""
    type: str = ""
    unique_items: bool = False
    x_kubernetes_embedded_resource: bool = named("x-kubernetes-embedded-resource", False)
    x_kubernetes_int_or_string: bool = named("x-kubernetes-int-or-string", False)
    x_kubernetes_list_map_keys: tuple[str, ...] = named("x-kubernetes-list-map-keys", ())
    x_kubernetes_list_type: str | None = named("x-kubernetes-list-type", None)
    x_kubernetes_map_type: str | None = named("x-kubernetes-map-type", None)
    x_kubernetes_preserve_unknown_fields: bool | None = named("x-kubernetes-preserve-unknown-fields", None)
    x_kubernetes_validations: Annotated[tuple[ValidationRule, ...], ListMap("rule", merge_key="rule")] = named(
        "x-kubernetes-validations", ()
    )


class SelectableField(Value):
    json_path: str = written("")


class ServiceReference(Value):
    name: str = written("")
    namespace: str = written("")
    path: str | None = None
    port: int = written(443)


class ValidationRule(Value):
    field_path: str = ""
    message: str = ""
    message_expression: str = ""
    optional_old_self: bool | None = None
    reason: str | None = None
    rule: str = written("")


class WebhookClientConfig(Value):
    ca_bundle: bytes = b""
    service: ServiceReference | None = None
    url: str | None = None


class WebhookConversion(Value):
    client_config: WebhookClientConfig | None = None
    conversion_review_versions: tuple[str, ...] = written(())
