"""AdmissionConfiguration (apiserver.config.k8s.io): what plugins are told, in one file or in one each.

Read and checked here, with upstream's words for what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from keelback.admission import image_policy_webhook, limited_resources, pod_node_selector, webhook_credentials
from keelback.admission.event_rate_limit import Limit
from keelback.admission.image_policy_webhook import ImagePolicySettings
from keelback.admission.limited_resources import LimitedResource
from keelback.admission.pod_restrictions import NO_TOLERATIONS, PodTolerations
from keelback.admission.pod_security import VERSION, Exemptions, PodSecuritySettings, Policy, Standard
from keelback.admission.pod_security_levels import LEVELS, PRIVILEGED
from keelback.apimachinery import configuration_files, errors, names, yaml
from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.apimachinery.errors import FieldError
from keelback.apimachinery.meta import Value, named

_GROUPS: Final = (("apiserver.config.k8s.io", ("v1",)), ("apiserver.k8s.io", ("v1", "v1alpha1")))
_LIMIT_TYPES: Final = ("Server", "Namespace", "User", "SourceAndObject")
_CACHE_SIZE: Final = 4096
_LATEST: Final = "latest"


@dataclass(frozen=True, slots=True)
class AdmissionSettings:
    """What the file says, defaults for the rest."""

    pod_security: PodSecuritySettings = field(default_factory=PodSecuritySettings)
    event_rate_limits: tuple[Limit, ...] = ()
    node_selectors: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Those of PodNodeSelector: by namespace, and the cluster's own."""
    image_policy: ImagePolicySettings | None = None
    mutating_webhooks: Path | None = None
    validating_webhooks: Path | None = None
    """Kubeconfigs that say as whom webhooks are called."""
    limited_resources: tuple[LimitedResource, ...] = ()
    """Those of ResourceQuota."""
    pod_tolerations: PodTolerations = NO_TOLERATIONS
    """Those of PodTolerationRestriction: of namespaces that say none."""


DEFAULT: Final = AdmissionSettings()


class _Plugin(Value):
    name: str = ""
    path: str = ""
    configuration: dict[str, Any] | None = None


class _AdmissionConfiguration(Value):
    plugins: tuple[_Plugin, ...] = ()


class _PodSecurityDefaults(Value):
    enforce: str = PRIVILEGED
    enforce_version: str = named("enforce-version", _LATEST)
    audit: str = PRIVILEGED
    audit_version: str = named("audit-version", _LATEST)
    warn: str = PRIVILEGED
    warn_version: str = named("warn-version", _LATEST)


class _PodSecurityExemptions(Value):
    usernames: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    runtime_classes: tuple[str, ...] = ()


class _PodSecurityConfiguration(Value):
    defaults: _PodSecurityDefaults = _PodSecurityDefaults()
    exemptions: _PodSecurityExemptions = _PodSecurityExemptions()


class _Limit(Value):
    type: str = ""
    qps: int = 0
    burst: int = 0
    cache_size: int = 0


class _EventRateLimitConfiguration(Value):
    limits: tuple[_Limit, ...] = ()


def read(text: str, folder: Path) -> AdmissionSettings:
    """What the file says; `folder` is where it lies, from which it names others. Raises ConfigurationError, OSError."""
    # It was of another group once, which files still name.
    group, versions = _GROUPS[1] if _GROUPS[1][0] in text else _GROUPS[0]
    made = configuration_files.read(text, _AdmissionConfiguration, "AdmissionConfiguration", group, versions)
    settings = DEFAULT
    for index, plugin in enumerate(made.plugins):
        tell = _PLUGINS.get(plugin.name)
        if tell is None:
            known = ", ".join(sorted(_PLUGINS))
            raise ConfigurationError(
                f"plugins[{index}].name: {plugin.name} takes no configuration here; these do: {known}"
            )
        if plugin.path and plugin.configuration is not None:
            raise ConfigurationError(f"plugins[{index}]: path and configuration cannot both be given")
        if plugin.path:
            said = (folder / plugin.path).read_text()
        elif plugin.configuration is not None:
            said = msgspec.json.encode(plugin.configuration).decode()
        else:
            continue
        settings = tell(settings, said)
    return settings


def _with_pod_security(settings: AdmissionSettings, text: str) -> AdmissionSettings:
    given = configuration_files.read(
        text,
        _PodSecurityConfiguration,
        "PodSecurityConfiguration",
        "pod-security.admission.config.k8s.io",
        ("v1", "v1beta1", "v1alpha1"),
    )
    if problems := list(_pod_security_problems(given)):
        raise ConfigurationError.of(problems)
    defaults, exempt = given.defaults, given.exemptions
    policy = Policy(
        Standard(defaults.enforce, defaults.enforce_version),
        Standard(defaults.audit, defaults.audit_version),
        Standard(defaults.warn, defaults.warn_version),
    )
    exemptions = Exemptions(
        frozenset(exempt.usernames), frozenset(exempt.namespaces), frozenset(exempt.runtime_classes)
    )
    return replace(settings, pod_security=PodSecuritySettings(policy, exemptions))


def _pod_security_problems(given: _PodSecurityConfiguration) -> Iterator[FieldError]:
    for mode in ("enforce", "warn", "audit"):
        level, version = getattr(given.defaults, mode), getattr(given.defaults, f"{mode}_version")
        if level not in LEVELS:
            yield errors.invalid(f"defaults.{mode}", level, f"must be one of {', '.join(LEVELS)}")
        if not VERSION.fullmatch(version):
            yield errors.invalid(f"defaults.{mode}-version", version, 'must be "latest" or "v1.x"')
    exempt = given.exemptions
    yield from _each_once("exemptions.namespaces", exempt.namespaces, names.dns1123_label)
    yield from _each_once("exemptions.runtimeClasses", exempt.runtime_classes, names.dns1123_subdomain)
    yield from _each_once("exemptions.usernames", exempt.usernames, _not_empty)


def _each_once(path: str, values: Sequence[str], check: Callable[[str], Sequence[str]]) -> Iterator[FieldError]:
    for index, value in enumerate(values):
        where = f"{path}[{index}]"
        if complaints := check(value):
            yield errors.invalid(where, value, ", ".join(complaints))
        elif value in values[:index]:
            yield errors.duplicate(where, value)


def _not_empty(user_name: str) -> Sequence[str]:
    return () if user_name else ("username must not be empty",)


def _with_event_rate_limits(settings: AdmissionSettings, text: str) -> AdmissionSettings:
    given = configuration_files.read(
        text, _EventRateLimitConfiguration, "Configuration", "eventratelimit.admission.k8s.io", ("v1alpha1",)
    )
    if problems := list(_limit_problems(given.limits)):
        raise ConfigurationError.of(problems)
    limits = tuple(Limit(one.type, one.qps, one.burst, one.cache_size or _CACHE_SIZE) for one in given.limits)
    return replace(settings, event_rate_limits=limits)


def _limit_problems(limits: Sequence[_Limit]) -> Iterator[FieldError]:
    if not limits:
        yield errors.invalid("limits", [], "must not be empty")
    for index, limit in enumerate(limits):
        path = f"limits[{index}]"
        if limit.type not in _LIMIT_TYPES:
            yield errors.not_supported(f"{path}.type", limit.type, _LIMIT_TYPES)
        for name, value in (("burst", limit.burst), ("qps", limit.qps)):
            if value <= 0:
                yield errors.invalid(f"{path}.{name}", value, "must be positive")
        if limit.type != "Server" and limit.cache_size < 0:
            yield errors.invalid(f"{path}.cacheSize", limit.cache_size, "must not be negative")


def _with_node_selector(settings: AdmissionSettings, text: str) -> AdmissionSettings:
    try:
        tree, _ = yaml.load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"error converting YAML to JSON: {error}") from error
    given = tree.get("podNodeSelectorPluginConfig") if isinstance(tree, dict) else None
    if given is None:
        return settings
    if not isinstance(given, dict) or not all(isinstance(one, str) for one in given.values()):
        raise ConfigurationError(
            "podNodeSelectorPluginConfig: the selector of a namespace is a text: env=test,disk=ssd"
        )
    return replace(settings, node_selectors={name: pod_node_selector.parsed(one) for name, one in given.items()})


def _with_limited_resources(settings: AdmissionSettings, text: str) -> AdmissionSettings:
    return replace(settings, limited_resources=limited_resources.read(text))


def _with_mutating_webhooks(settings: AdmissionSettings, text: str) -> AdmissionSettings:
    return replace(settings, mutating_webhooks=webhook_credentials.read(text))


def _with_validating_webhooks(settings: AdmissionSettings, text: str) -> AdmissionSettings:
    return replace(settings, validating_webhooks=webhook_credentials.read(text))


def _with_pod_tolerations(settings: AdmissionSettings, text: str) -> AdmissionSettings:
    group = "podtolerationrestriction.admission.k8s.io"
    given = configuration_files.read(text, PodTolerations, "Configuration", group, ("v1alpha1",))
    return replace(settings, pod_tolerations=given)


def _with_image_policy(settings: AdmissionSettings, text: str) -> AdmissionSettings:
    return replace(settings, image_policy=image_policy_webhook.read(text))


_PLUGINS: Final[Mapping[str, Callable[[AdmissionSettings, str], AdmissionSettings]]] = {
    "EventRateLimit": _with_event_rate_limits,
    "ImagePolicyWebhook": _with_image_policy,
    "MutatingAdmissionWebhook": _with_mutating_webhooks,
    "PodNodeSelector": _with_node_selector,
    "PodSecurity": _with_pod_security,
    "PodTolerationRestriction": _with_pod_tolerations,
    "ResourceQuota": _with_limited_resources,
    "ValidatingAdmissionWebhook": _with_validating_webhooks,
}
