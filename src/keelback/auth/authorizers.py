"""The authorizers of a cluster as they are configured: in which order which are asked, and what they know of rules."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from keelback.api.rbac_v1 import PolicyRule
from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.auth import authorization_configuration, rbac
from keelback.auth.abac import ABACAuthorizer
from keelback.auth.attributes import (
    ALLOWED,
    NO_OPINION,
    Attributes,
    Authorizer,
    Decider,
    Deciders,
    PrivilegedGroupAuthorizer,
    UnionAuthorizer,
    Verdict,
)
from keelback.auth.authorization_configuration import AuthorizationConfiguration, WebhookConfiguration
from keelback.auth.node_authorizer import NodeAuthorizer
from keelback.auth.node_graph import NodeGraph
from keelback.auth.rbac import Policy, RBACAuthorizer
from keelback.auth.review_webhook import in_cluster_access
from keelback.auth.users import MASTERS_GROUP, UserInfo, node_name
from keelback.auth.webhook_authorizer import WebhookAuthorizer, WebhookAuthorizerSettings, WebhookMetrics
from keelback.client import kubeconfig
from keelback.client.kubeconfig import KubeconfigError
from keelback.component.flags import parse_duration
from keelback.component.metrics import Registry
from keelback.concurrency.clock import Clock

DEFAULT_MODES = ("Node", "RBAC")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationSettings:
    """What an administrator decides about authorization: a file, or modes and what they need."""

    modes: tuple[str, ...] = DEFAULT_MODES
    webhook: WebhookAuthorizerSettings | None = None
    abac: ABACAuthorizer | None = None
    configuration_file: Path | None = None


DEFAULT: Final = AuthorizationSettings()


class RuleSource(Protocol):
    """Who can say what somebody may do, and what of it cannot be said."""

    def rules_for(self, user: UserInfo, namespace: str) -> tuple[list[PolicyRule], list[str]]:
        """The rules that the user has in the namespace, and why there may be others."""
        ...


class AlwaysAllow:
    """Allows everything."""

    def decide(self, attributes: Attributes) -> Verdict:
        return ALLOWED


class AlwaysDeny:
    """Allows nothing, but does not keep others from it: so upstream's."""

    def decide(self, attributes: Attributes) -> Verdict:
        return Verdict(NO_OPINION.decision, "Everything is forbidden.")


@dataclass(slots=True)
class Chain:
    """The authorizers of one configuration. `close` it when another takes its place."""

    authorizer: Authorizer
    names: tuple[str, ...]
    policy: Policy
    abac: ABACAuthorizer | None = None
    webhooks: list[WebhookAuthorizer] = field(default_factory=list)

    def rules_for(self, user: UserInfo, namespace: str) -> tuple[list[PolicyRule], list[str]]:
        """As each of them can tell, in their order."""
        rules: list[PolicyRule] = []
        problems: list[str] = []
        for name in self.names:
            match name:
                case "RBAC":
                    known, unresolved = rbac.rules_for(self.policy, user, namespace)
                    rules += known
                    problems += unresolved
                case "ABAC" if self.abac is not None:
                    rules += self.abac.rules_for(user, namespace)
                case "Node" if node_name(user):
                    problems.append("node authorizer does not support user rule resolution")
                case "AlwaysAllow":
                    rules.append(PolicyRule(verbs=("*",), api_groups=("*",), resources=("*",)))
                    rules.append(PolicyRule(verbs=("*",), non_resource_urls=("*",)))
                case "Webhook":
                    problems.append("webhook authorizer does not support user rule resolution")
        return rules, problems

    async def close(self) -> None:
        for webhook in self.webhooks:
            await webhook.close()


class Authorizers:
    """Makes chains of one cluster's rules and nodes."""

    def __init__(
        self,
        policy: Policy,
        graph: NodeGraph,
        abac: ABACAuthorizer | None,
        clock: Clock,
        chance: random.Random,
        metrics: Registry,
    ) -> None:
        self._policy = policy
        self._graph = graph
        self._clock = clock
        self._chance = chance
        self._registry = metrics
        self._metrics: WebhookMetrics | None = None
        # Those that remember stay the same whatever the file says.
        self._deciders: dict[str, Decider] = {
            "Node": NodeAuthorizer(graph),
            "RBAC": RBACAuthorizer(policy),
            "AlwaysAllow": AlwaysAllow(),
            "AlwaysDeny": AlwaysDeny(),
        }
        self._abac = abac
        if abac is not None:
            self._deciders["ABAC"] = abac

    def of_modes(self, modes: Sequence[str], webhook: WebhookAuthorizerSettings | None) -> Chain:
        """As `--authorization-mode` says. Raises ConfigurationError."""
        return self._chain([(mode, webhook if mode == "Webhook" else None) for mode in modes])

    def of_configuration(self, configuration: AuthorizationConfiguration) -> Chain:
        """As an AuthorizationConfiguration says. Raises ConfigurationError."""
        return self._chain(
            [
                (one.type, None if one.webhook is None else _webhook_settings(one.name, one.webhook))
                for one in configuration.authorizers
            ]
        )

    def read(self, text: str) -> tuple[Chain, AuthorizationConfiguration]:
        """As the text of such a file says. Raises ConfigurationError."""
        configuration = authorization_configuration.read(text)
        return self.of_configuration(configuration), configuration

    def _chain(self, parts: Sequence[tuple[str, WebhookAuthorizerSettings | None]]) -> Chain:
        """Neighbours that need not wait are one authorizer: a request that they decide waits for nobody."""
        webhooks: list[WebhookAuthorizer] = []
        made: list[Authorizer] = []
        together: list[Decider] = [PrivilegedGroupAuthorizer(MASTERS_GROUP)]
        for name, settings in parts:
            if name == "ABAC" and self._abac is None:
                raise ConfigurationError("authorization-mode ABAC's authorization policy file not passed")
            if name != "Webhook":
                together.append(self._deciders[name])
                continue
            if settings is None:
                raise ConfigurationError("authorization-mode Webhook's authorization config file not passed")
            if together:
                made.append(Deciders(together))
                together = []
            webhooks.append(self._webhook(settings))
            made.append(webhooks[-1])
        if together:
            made.append(Deciders(together))
        authorizer = made[0] if len(made) == 1 else UnionAuthorizer(made)
        return Chain(authorizer, tuple(name for name, _ in parts), self._policy, self._abac, webhooks)

    def _webhook(self, settings: WebhookAuthorizerSettings) -> WebhookAuthorizer:
        if self._metrics is None:
            self._metrics = WebhookMetrics(self._registry)
        try:
            return WebhookAuthorizer(settings, self._clock, self._chance, self._metrics)
        except KubeconfigError as error:
            raise ConfigurationError(str(error)) from error


class SwitchingAuthorizer:
    """The chain of a file that is read again when it changes."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    async def authorize(self, attributes: Attributes) -> Verdict:
        return await self._chain.authorizer.authorize(attributes)

    def rules_for(self, user: UserInfo, namespace: str) -> tuple[list[PolicyRule], list[str]]:
        return self._chain.rules_for(user, namespace)

    async def switch(self, chain: Chain) -> None:
        """Ask these from now on. Questions under way are answered by those before, whose connections then close."""
        before, self._chain = self._chain, chain
        await before.close()

    async def close(self) -> None:
        await self._chain.close()


def _webhook_settings(name: str, given: WebhookConfiguration) -> WebhookAuthorizerSettings:
    try:
        if given.connection_info.type == "InClusterConfig":
            access = in_cluster_access()
        else:
            access = kubeconfig.load(Path(given.connection_info.kube_config_file or ""))
    except KubeconfigError as error:
        raise ConfigurationError(str(error)) from error
    return WebhookAuthorizerSettings(
        name=name,
        access=access,
        version=given.subject_access_review_version,
        timeout_seconds=parse_duration(given.timeout),
        authorized_seconds=parse_duration(given.authorized_ttl) if given.cache_authorized_requests else 0.0,
        unauthorized_seconds=parse_duration(given.unauthorized_ttl) if given.cache_unauthorized_requests else 0.0,
        denies_on_failure=given.failure_policy == "Deny",
        conditions=tuple(one.expression for one in given.match_conditions),
    )
