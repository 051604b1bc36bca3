"""The two kinds of webhook configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from keelback.api.admissionregistration_v1 import (
    MutatingWebhook,
    MutatingWebhookConfiguration,
    ValidatingWebhook,
    ValidatingWebhookConfiguration,
)
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, invalid, not_supported, required
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import number

_FAILURE_POLICIES = ("Fail", "Ignore")
_MATCH_POLICIES = ("Equivalent", "Exact")
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_COLUMNS = (number("Webhooks", lambda one: len(one.webhooks)), AGE)


def _validate(webhooks: Sequence[MutatingWebhook | ValidatingWebhook]) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, webhook in enumerate(webhooks):
        path = f"webhooks[{index}]"
        if not webhook.name:
            yield required(f"{path}.name")
        else:
            for complaint in names.dns1123_subdomain(webhook.name):
                yield invalid(f"{path}.name", webhook.name, complaint)
            if webhook.name.count(".") < 2:
                yield invalid(
                    f"{path}.name", webhook.name, "should be a domain with at least three segments separated by dots"
                )
        if webhook.name in seen:
            yield duplicate(f"{path}.name", webhook.name)
        seen.add(webhook.name)
        yield from _validate_one(webhook, path)


def _validate_one(webhook: MutatingWebhook | ValidatingWebhook, path: str) -> Iterator[FieldError]:
    if not webhook.admission_review_versions:
        yield required(f"{path}.admissionReviewVersions", "must specify one of v1, v1beta1")
    elif not {"v1", "v1beta1"} & set(webhook.admission_review_versions):
        yield invalid(
            f"{path}.admissionReviewVersions",
            list(webhook.admission_review_versions),
            "must include at least one of v1, v1beta1",
        )
    if webhook.failure_policy not in _FAILURE_POLICIES:
        yield not_supported(f"{path}.failurePolicy", webhook.failure_policy, _FAILURE_POLICIES)
    if webhook.match_policy not in _MATCH_POLICIES:
        yield not_supported(f"{path}.matchPolicy", webhook.match_policy, _MATCH_POLICIES)
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
    client = webhook.client_config
    if (client.url is None) == (client.service is None):
        yield required(f"{path}.clientConfig", "exactly one of url or service is required")


class MutatingWebhookConfigurationStrategy(Strategy[MutatingWebhookConfiguration]):
    kind = MutatingWebhookConfiguration
    columns = _COLUMNS

    def validate(self, new: MutatingWebhookConfiguration) -> Iterator[FieldError]:
        yield from _validate(new.webhooks)


class ValidatingWebhookConfigurationStrategy(Strategy[ValidatingWebhookConfiguration]):
    kind = ValidatingWebhookConfiguration
    columns = _COLUMNS

    def validate(self, new: ValidatingWebhookConfiguration) -> Iterator[FieldError]:
        yield from _validate(new.webhooks)
