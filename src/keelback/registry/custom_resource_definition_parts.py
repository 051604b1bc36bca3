"""What a CustomResourceDefinition may say beside its schemas: names, columns, subresources, conversion, approval.

Paths and words are upstream's, whose validation sees another form of the object: the webhook of a conversion, for
one, is called `webhookClientConfig` there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from cryptography import x509

from keelback.api.apiextensions_v1 import (
    CustomResourceColumnDefinition,
    CustomResourceConversion,
    CustomResourceDefinition,
    CustomResourceDefinitionNames,
    CustomResourceDefinitionVersion,
    CustomResourceSubresources,
    SelectableField,
    ServiceReference,
    WebhookClientConfig,
)
from keelback.apimachinery import go_urls, names
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid, not_supported, required, too_many
from keelback.apimachinery.structural_schema import SchemaTree
from keelback.registry.custom_resource_field_paths import resolve
from keelback.registry.webhook_clients import service_path_problems, url_problems

APPROVAL_ANNOTATION = "api-approved.kubernetes.io"
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_REVIEW_VERSIONS = ("v1", "v1beta1")
_MAX_SELECTABLE_FIELDS = 8
_MAX_WARNING_BYTES = 256

Approval = Literal["missing", "bypassed", "approved", "invalid"]


def one_of(value: str, path: str, accepted: Sequence[str]) -> Iterator[FieldError]:
    """A value that must be there and be one of a few."""
    if not value:
        yield required(path)
    elif value not in accepted:
        yield not_supported(path, value, accepted)


def missing_names(given: CustomResourceDefinitionNames, path: str) -> Iterator[FieldError]:
    """The names that a spec must have; a status may have none."""
    for field, value in (
        ("plural", given.plural),
        ("singular", given.singular),
        ("kind", given.kind),
        ("listKind", given.list_kind),
    ):
        if not value:
            yield required(f"{path}.{field}")


def names_problems(given: CustomResourceDefinitionNames, path: str) -> Iterator[FieldError]:
    """What is wrong with the names that are there."""
    for field, value in (("plural", given.plural), ("singular", given.singular)):
        if value and (complaints := names.dns1035_label(value)):
            yield invalid(f"{path}.{field}", value, ",".join(complaints))
    for field, value in (("kind", given.kind), ("listKind", given.list_kind)):
        if value and (complaints := names.dns1035_label(value.lower())):
            text = f"may have mixed case, but should otherwise match: {','.join(complaints)}"
            yield invalid(f"{path}.{field}", value, text)
    for at, value in enumerate(given.short_names):
        if complaints := names.dns1035_label(value):
            yield invalid(f"{path}.shortNames[{at}]", value, ",".join(complaints))
    if given.kind and given.kind == given.list_kind:
        yield invalid(f"{path}.listKind", given.list_kind, "kind and listKind may not be the same")
    for at, value in enumerate(given.categories):
        if complaints := names.dns1035_label(value):
            yield invalid(f"{path}.categories[{at}]", value, ",".join(complaints))


def deprecation(version: CustomResourceDefinitionVersion, path: str) -> Iterator[FieldError]:
    """What is wrong with the warning of a deprecated version."""
    text = version.deprecation_warning
    if not text:
        return
    if not version.deprecated:
        yield invalid(path, text, "can only be set for deprecated versions")
        return
    if len(text.encode()) > _MAX_WARNING_BYTES:
        yield invalid(path, text, "must be <= 256 characters long")
    for at, character in enumerate(text):
        if not character.isprintable():
            place = len(text[:at].encode())
            told = f"must only contain printable UTF-8 characters; non-printable character found at index {place}"
            yield invalid(path, text, told)
            break


def subresources(parts: CustomResourceSubresources | None, path: str) -> Iterator[FieldError]:
    """What is wrong with the paths of a scale."""
    if parts is None or parts.scale is None:
        return
    scale = parts.scale
    for field, value, prefix in (
        ("specReplicasPath", scale.spec_replicas_path, ".spec."),
        ("statusReplicasPath", scale.status_replicas_path, ".status."),
    ):
        place = f"{path}.scale.{field}"
        if not value:
            yield required(place)
        elif not value.startswith("."):
            yield invalid(place, value, "must be a simple json path starting with .")
        elif not value.startswith(prefix):
            yield invalid(place, value, f"should be a json path under {prefix[:-1]}")
    selector, place = scale.label_selector_path, f"{path}.scale.labelSelectorPath"
    if selector and not selector.startswith("."):
        yield invalid(place, selector, "must be a simple json path starting with .")
    elif selector and not selector.startswith((".spec.", ".status.")):
        yield invalid(place, selector, "should be a json path under either .spec or .status")


def columns(given: Iterable[CustomResourceColumnDefinition], path: str) -> Iterator[FieldError]:
    """What is wrong with printer columns."""
    for at, one in enumerate(given):
        place = f"{path}[{at}]"
        if not one.name:
            yield required(f"{place}.name")
        types = f"must be one of {','.join(_COLUMN_TYPES)}"
        if not one.type:
            yield required(f"{place}.type", types)
        elif one.type not in _COLUMN_TYPES:
            yield invalid(f"{place}.type", one.type, types)
        if one.format and one.format not in _COLUMN_FORMATS:
            yield invalid(f"{place}.format", one.format, f"must be one of {','.join(_COLUMN_FORMATS)}")
        if not one.json_path:
            yield required(f"{place}.JSONPath")
        elif not one.json_path.startswith("."):
            yield invalid(f"{place}.JSONPath", one.json_path, "must be a simple json path starting with .")


def selectable_fields(given: Sequence[SelectableField], schema: SchemaTree, path: str) -> Iterator[FieldError]:
    """What is wrong with the fields that selectors may name (KEP-4358)."""
    seen: set[str] = set()
    for at, one in enumerate(given):
        place = f"{path}[{at}].jsonPath"
        if not one.json_path:
            yield required(place)
            continue
        try:
            written, found = resolve(one.json_path, schema, takes_brackets=False)
        except ValueError as error:
            yield invalid(place, one.json_path, f"is an invalid path: {error}")
            continue
        if written.partition(".")[0] == "metadata":
            yield invalid(place, one.json_path, "must not point to fields in metadata")
        if found is None or found.get("type") not in ("string", "boolean", "integer"):
            told = (
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats "
                "are allowed."
            )
            yield invalid(place, one.json_path, told)
        if written in seen:
            yield duplicate(place, one.json_path)
        seen.add(written)
    if len(seen) > _MAX_SELECTABLE_FIELDS:
        yield too_many(path, len(seen), _MAX_SELECTABLE_FIELDS)


def conversion(
    given: CustomResourceConversion | None, path: str, *, takes_any_bundle: bool, takes_any_review: bool
) -> Iterator[FieldError]:
    """What is wrong with how objects come from one version to another."""
    if given is None:
        return
    yield from one_of(given.strategy, f"{path}.strategy", ("None", "Webhook"))
    client = given.webhook.client_config if given.webhook else None
    reviews = given.webhook.conversion_review_versions if given.webhook else ()
    place = f"{path}.webhookClientConfig"
    if given.strategy != "Webhook":
        told = "should not be set when strategy is not set to Webhook"
        if client is not None:
            yield forbidden(place, told)
        if reviews:
            yield forbidden(f"{path}.conversionReviewVersions", told)
        return
    if client is None:
        yield required(place, "required when strategy is set to Webhook")
    else:
        yield from _client(client, place, takes_any_bundle=takes_any_bundle)
    yield from _review_versions(reviews, f"{path}.conversionReviewVersions", takes_any=takes_any_review)


def knows_review(given: CustomResourceConversion | None) -> bool:
    """Whether one of a conversion's review versions is known, or there are none."""
    reviews = given.webhook.conversion_review_versions if given and given.webhook else ()
    return not reviews or any(one in _REVIEW_VERSIONS for one in reviews)


def _review_versions(given: Sequence[str], path: str, *, takes_any: bool) -> Iterator[FieldError]:
    if not given:
        yield required(path)
        return
    for at, one in enumerate(given):
        if one in given[:at]:
            yield invalid(f"{path}[{at}]", one, "duplicate version")
            continue
        for complaint in names.dns1035_label(one):
            yield invalid(f"{path}[{at}]", one, complaint)
    if not takes_any and not set(given) & set(_REVIEW_VERSIONS):
        yield invalid(path, list(given), f"must include at least one of {', '.join(_REVIEW_VERSIONS)}")


def _client(given: WebhookClientConfig, path: str, *, takes_any_bundle: bool) -> Iterator[FieldError]:
    if (given.url is None) == (given.service is None):
        yield required(path, "exactly one of url or service is required")
    elif given.url is not None:
        yield from url_problems(given.url, f"{path}.url")
    elif given.service is not None:
        yield from _service(given.service, f"{path}.service")
    if given.ca_bundle and not takes_any_bundle and (why := bundle_problem(given.ca_bundle)):
        yield invalid(f"{path}.caBundle", given.ca_bundle, f"unable to load root certificates: {why}")


def bundle_problem(bundle: bytes) -> str:
    """Why a CA bundle cannot be used; empty if it can."""
    try:
        x509.load_pem_x509_certificates(bundle)
    except ValueError:
        return "unable to parse bytes as PEM block"
    return ""


def _service(given: ServiceReference, path: str) -> Iterator[FieldError]:
    if not given.name:
        yield required(f"{path}.name", "service name is required")
    if not given.namespace:
        yield required(f"{path}.namespace", "service namespace is required")
    if complaints := names.port_number(given.port):
        yield invalid(f"{path}.port", given.port, f"port is not valid: {','.join(complaints)}")
    yield from service_path_problems(given.path, f"{path}.path")


def is_protected(group: str) -> bool:
    """Whether an API group is the Kubernetes community's own (KEP-1111)."""
    return group in ("k8s.io", "kubernetes.io") or group.endswith((".k8s.io", ".kubernetes.io"))


def approval(definition: CustomResourceDefinition) -> tuple[Approval, str]:
    """Whether the definition of a protected group says where it was approved, and that in words."""
    given = definition.metadata.annotations.get(APPROVAL_ANNOTATION, "")
    see = "see https://github.com/kubernetes/enhancements/pull/1111"
    if not given:
        return "missing", f'protected groups must have approval annotation "{APPROVAL_ANNOTATION}", {see}'
    if given.startswith("unapproved"):
        return "bypassed", f'not approved: "{given}"'
    try:
        url = go_urls.parse_request_uri(given)
    except go_urls.UrlError:
        url = go_urls.Url()
    if url.host and url.scheme:
        return "approved", f"approved in {given}"
    told = f'protected groups must have approval annotation "{APPROVAL_ANNOTATION}" with either a URL or a reason '
    return "invalid", f'{told}starting with "unapproved", {see}'


def approval_problems(new: CustomResourceDefinition, old: CustomResourceDefinition | None) -> Iterator[FieldError]:
    """A protected group that is not approved; what was so before may stay."""
    if not is_protected(new.spec.group):
        return
    state, why = approval(new)
    if old is not None and approval(old)[0] == state:
        return
    place = f"metadata.annotations[{APPROVAL_ANNOTATION}]"
    if state == "invalid":
        yield invalid(place, new.metadata.annotations.get(APPROVAL_ANNOTATION, ""), why)
    elif state == "missing":
        yield required(place, why)
