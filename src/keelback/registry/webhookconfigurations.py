"""The two kinds of webhook configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from keelback.admission.webhook_reviews import VERSIONS
from keelback.api.admissionregistration_v1 import (
    MutatingWebhook,
    MutatingWebhookConfiguration,
    ServiceReference,
    ValidatingWebhook,
    ValidatingWebhookConfiguration,
)
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, invalid, not_supported, required
from keelback.registry import label_selectors
from keelback.registry.admission_rules import (
    FAILURE_POLICIES,
    MATCH_POLICIES,
    match_condition_problems,
    rule_problems,
)
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.webhook_clients import service_path_problems, url_problems
from keelback.registry.workloads import number

_SIDE_EFFECTS: Final = ("None", "NoneOnDryRun")
_REINVOCATIONS: Final = ("IfNeeded", "Never")
_COLUMNS: Final = (number("Webhooks", lambda one: len(one.webhooks)), AGE)

Webhooks = Sequence[MutatingWebhook | ValidatingWebhook]


def _validate(webhooks: Webhooks, old: Webhooks | None = None) -> Iterator[FieldError]:
    # Match conditions that were accepted once stay accepted as long as none changes.
    is_unchanged = old is not None and [one.match_conditions for one in webhooks] == [
        one.match_conditions for one in old
    ]
    seen: set[str] = set()
    for index, webhook in enumerate(webhooks):
        path = f"webhooks[{index}]"
        yield from _name_problems(webhook.name, f"{path}.name")
        yield from _validate_one(webhook, path)
        if not is_unchanged:
            yield from match_condition_problems(webhook.match_conditions, f"{path}.matchConditions")
        yield from _version_problems(webhook.admission_review_versions, f"{path}.admissionReviewVersions")
        if webhook.name and webhook.name in seen:
            yield duplicate(f"{path}.name", webhook.name)
        seen.add(webhook.name)


def _name_problems(name: str, path: str) -> Iterator[FieldError]:
    if not name:
        yield required(path)
        return
    complaints = names.dns1123_subdomain(name)
    if complaints:
        yield invalid(path, name, ",".join(complaints))
    elif name.count(".") < 2:
        yield invalid(path, name, "should be a domain with at least three segments separated by dots")


def _version_problems(given: Sequence[str], path: str) -> Iterator[FieldError]:
    known = ", ".join(VERSIONS)
    if not given:
        yield required(path, f"must specify one of {known}")
        return
    seen: set[str] = set()
    for index, version in enumerate(given):
        if version in seen:
            yield invalid(f"{path}[{index}]", version, "duplicate version")
            continue
        seen.add(version)
        for complaint in names.dns1035_label(version):
            yield invalid(f"{path}[{index}]", version, complaint)
    if not seen & set(VERSIONS):
        yield invalid(path, list(given), f"must include at least one of {known}")


def _validate_one(webhook: MutatingWebhook | ValidatingWebhook, path: str) -> Iterator[FieldError]:
    for index, rule in enumerate(webhook.rules):
        yield from rule_problems(rule, f"{path}.rules[{index}]")
    if webhook.failure_policy not in FAILURE_POLICIES:
        yield not_supported(f"{path}.failurePolicy", webhook.failure_policy, FAILURE_POLICIES)
    if webhook.match_policy not in MATCH_POLICIES:
        yield not_supported(f"{path}.matchPolicy", webhook.match_policy, MATCH_POLICIES)
    if not webhook.side_effects:
        yield required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun")
    elif webhook.side_effects not in _SIDE_EFFECTS:
        yield not_supported(f"{path}.sideEffects", webhook.side_effects, _SIDE_EFFECTS)
    if not 1 <= webhook.timeout_seconds <= 30:
        yield invalid(
            f"{path}.timeoutSeconds",
            webhook.timeout_seconds,
            "the timeout value must be between 1 and 30 seconds",
        )
    yield from label_selectors.validate(webhook.namespace_selector, f"{path}.namespaceSelector")
    yield from label_selectors.validate(webhook.object_selector, f"{path}.objectSelector")
    if isinstance(webhook, MutatingWebhook) and webhook.reinvocation_policy not in _REINVOCATIONS:
        yield not_supported(f"{path}.reinvocationPolicy", webhook.reinvocation_policy, _REINVOCATIONS)
    client = webhook.client_config
    if (client.url is None) == (client.service is None):
        yield required(f"{path}.clientConfig", "exactly one of url or service is required")
    elif client.url is not None:
        yield from url_problems(client.url, f"{path}.clientConfig.url")
    elif client.service is not None:
        yield from _service_problems(client.service, f"{path}.clientConfig.service")


def _service_problems(service: ServiceReference, path: str) -> Iterator[FieldError]:
    # Upstream hands name and namespace over in the wrong order, and then words them so.
    if not service.namespace:
        yield required(f"{path}.name", "service name is required")
    if not service.name:
        yield required(f"{path}.namespace", "service namespace is required")
    complaints = names.port_number(service.port)
    if complaints:
        yield invalid(f"{path}.port", service.port, f"port is not valid: {', '.join(complaints)}")
    yield from service_path_problems(service.path, f"{path}.path")


class MutatingWebhookConfigurationStrategy(Strategy[MutatingWebhookConfiguration]):
    kind = MutatingWebhookConfiguration
    needs_resource_version_to_update = True
    bare_finalizers = True
    checks_metadata_twice = False
    checks_metadata_as_new = True
    columns = _COLUMNS

    def validate(self, new: MutatingWebhookConfiguration) -> Iterator[FieldError]:
        yield from _validate(new.webhooks)

    def validate_update(
        self, new: MutatingWebhookConfiguration, old: MutatingWebhookConfiguration
    ) -> Iterator[FieldError]:
        yield from _validate(new.webhooks, old.webhooks)


class ValidatingWebhookConfigurationStrategy(Strategy[ValidatingWebhookConfiguration]):
    kind = ValidatingWebhookConfiguration
    needs_resource_version_to_update = True
    bare_finalizers = True
    checks_metadata_twice = False
    checks_metadata_as_new = True
    columns = _COLUMNS

    def validate(self, new: ValidatingWebhookConfiguration) -> Iterator[FieldError]:
        yield from _validate(new.webhooks)

    def validate_update(
        self, new: ValidatingWebhookConfiguration, old: ValidatingWebhookConfiguration
    ) -> Iterator[FieldError]:
        yield from _validate(new.webhooks, old.webhooks)
