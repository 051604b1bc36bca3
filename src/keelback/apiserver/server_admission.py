"""The admission plugins of a server, given what they ask of it: caches, authorization, quotas, webhooks."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keelback.admission import builtin as admission_plugins
from keelback.admission.metrics import AdmissionMetrics
from keelback.admission.plugin import AdmissionPlugin, Question, Ruling
from keelback.admission.privileged_containers import PrivilegedContainers
from keelback.admission.webhook_client import HTTPSWebhookCaller
from keelback.admission.webhook_credentials import WebhookCredentials
from keelback.admission.webhooks import WebhookCaller
from keelback.api.core_v1 import Namespace, ResourceQuota
from keelback.apiserver.built_in_resources import BuiltInResources
from keelback.apiserver.claim_access import GRANULAR_STATUS, ClaimStatusAccess, DeviceAdminAccess
from keelback.apiserver.config import APIServerConfig
from keelback.apiserver.image_reviews import ImageReviews
from keelback.apiserver.lookup import CacheLookup
from keelback.apiserver.resource_store import ResourceStore
from keelback.apiserver.served_resources import ServedResources
from keelback.auth.attributes import Attributes, Authorizer
from keelback.auth.escalation import EscalationChecker
from keelback.auth.rbac import Policy
from keelback.auth.users import UserInfo
from keelback.client import Client
from keelback.component.evaluations import Evaluations
from keelback.component.metrics import Registry
from keelback.concurrency.clock import Clock


class ServerAdmission:
    """Builds the chain as the configuration asks."""

    def __init__(
        self,
        config: APIServerConfig,
        resources: BuiltInResources,
        lookup: CacheLookup,
        authorizer: Authorizer,
        policy: Policy,
        webhooks: HTTPSWebhookCaller,
        evaluations: Evaluations,
        metrics: Registry,
        *,
        clock: Clock,
        chance: random.Random,
        new_uid: Callable[[], str],
        client: Client,
    ) -> None:
        """`client` acts as the server itself. Raises ConfigurationError."""
        self._config = config
        self._resources = resources
        self._lookup = lookup
        self._authorizer = authorizer
        self._policy = policy
        self._webhooks = webhooks
        self._evaluations = evaluations
        self._metrics = metrics
        self._clock = clock
        self._chance = chance
        self._new_uid = new_uid
        self._client = client
        policy_settings = config.admission.image_policy
        is_asked = "ImagePolicyWebhook" in config.enable_admission_plugins and policy_settings is not None
        self.image_reviews = ImageReviews(policy_settings, clock, chance) if is_asked and policy_settings else None

    def chain(self) -> Any:
        """The plugins, in their order."""
        given = admission_plugins.Dependencies(
            reader=self._lookup,
            is_allowed=self._is_allowed,
            rules=self._rule,
            resources=ServedResources(self._resources.handlers),
            chance=self._chance,
            clock=self._clock,
            quota_status=_QuotaStatus(self._resources.handlers["", "resourcequotas"].store),
            webhooks=self._acting(self._config.admission.mutating_webhooks),
            validating_webhooks=self._acting(self._config.admission.validating_webhooks),
            new_uid=self._new_uid,
            resource_of=self._resources.plural_of,
            evaluations=self._evaluations,
            metrics=AdmissionMetrics(self._metrics),
            create_namespace=self._create_namespace,
            review_images=None if self.image_reviews is None else self.image_reviews.review,
            why_not_grant=EscalationChecker(self._policy, self._authorizer).why_not,
            settings=self._config.admission,
            not_ready_seconds=self._config.default_not_ready_toleration_seconds,
            unreachable_seconds=self._config.default_unreachable_toleration_seconds,
        )
        disabled = self._config.disable_admission_plugins
        # As kubeadm: nodes may change only what is theirs.
        own = () if "NodeRestriction" in disabled else ("NodeRestriction",)
        return admission_plugins.build(
            given,
            enable=(*own, *self._config.enable_admission_plugins),
            disable=disabled,
            version=self._config.kubernetes_version,
            gates=self._config.feature_gates,
            always=self._unconditional(),
        )

    async def close(self) -> None:
        """Close the connections that are kept."""
        if self.image_reviews is not None:
            await self.image_reviews.close()

    async def _create_namespace(self, namespace: Namespace) -> None:
        await self._client.create(namespace)

    def _acting(self, kubeconfig: Path | None) -> WebhookCaller:
        if kubeconfig is None:
            return self._webhooks
        return self._webhooks.acting_as(WebhookCredentials(kubeconfig, self._clock))

    def _unconditional(self) -> list[AdmissionPlugin]:
        found: list[AdmissionPlugin] = [DeviceAdminAccess(self._lookup)]
        if not self._config.allows_privileged_containers:
            found.append(PrivilegedContainers())
        if GRANULAR_STATUS.is_on(self._config.kubernetes_version, self._config.feature_gates):
            found.append(ClaimStatusAccess(self._authorizer))
        return found

    async def _is_allowed(self, question: Question) -> bool:
        return (await self._rule(question)).is_allowed

    async def _rule(self, question: Question) -> Ruling:
        user = UserInfo(question.user.name, question.user.uid, question.user.groups, question.user.extra)
        verdict = await self._authorizer.authorize(
            Attributes(
                user=user,
                verb=question.verb,
                group=question.group,
                resource=question.resource,
                subresource=question.subresource,
                namespace=question.namespace,
                name=question.name,
                path=question.path,
                is_resource_request=not question.path,
                label_selector=question.label_selector,
                field_selector=question.field_selector,
            )
        )
        return Ruling(verdict.is_allowed, verdict.reason, verdict.error or None)


class _QuotaStatus:
    """Usage, read from and written to the store itself."""

    def __init__(self, quotas: ResourceStore[ResourceQuota]) -> None:
        self._quotas = quotas

    async def read_quota(self, namespace: str, name: str) -> ResourceQuota:
        return await self._quotas.get(namespace, name)

    async def write_quota_status(self, quota: ResourceQuota) -> None:
        await self._quotas.replace_status(quota)
