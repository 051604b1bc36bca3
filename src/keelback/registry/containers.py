"""What the containers of a pod may say: main, init and ephemeral ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from keelback.api.core_v1 import Container, ContainerResizePolicy, ContainerRestartRule, EphemeralContainer, Volume
from keelback.apimachinery import names
from keelback.apimachinery.errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_found,
    not_supported,
    required,
    too_many,
)
from keelback.registry import (
    container_ports,
    container_resources,
    environment,
    probes,
    security_contexts,
    volume_mounts,
)

AnyContainer: TypeAlias = Container | EphemeralContainer

PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
_MESSAGE_POLICIES: Final = ("File", "FallbackToLogsOnError")
_RESTART_POLICIES: Final = ("Always", "Never", "OnFailure")
_RESTART_ACTIONS: Final = ("Restart", "RestartAllContainers")
_RESIZABLE: Final = ("cpu", "memory")
_RESIZE_POLICIES: Final = ("NotRequired", "RestartContainer")
_MAX_RESTART_RULES: Final = 20
_MAX_EXIT_CODES: Final = 255
_RULES_NEED_POLICY: Final = "must specify restartPolicy when restart rules are used"
_NOT_FOR_INIT: Final = "may not be set for init containers without restartPolicy=Always"
_NOT_FOR_EPHEMERAL: Final = "cannot be set for an Ephemeral Container"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the rules for a container need to know of its pod."""

    volumes: Mapping[str, Volume]
    claims: frozenset[str]
    grace_period_seconds: int
    restart_policy: str
    has_host_users: bool


def validate_containers(containers: Sequence[Container], pod: Surroundings, path: str) -> Iterator[FieldError]:
    """Everything wrong with a pod's containers."""
    if not containers:
        yield required(path)
        return
    taken: set[str] = set()
    for index, container in enumerate(containers):
        here = f"{path}[{index}]"
        yield from _common(container, pod, here)
        if container.name in taken:
            yield duplicate(f"{here}.name", container.name)
        taken.add(container.name)
        yield from probes.validate_all(container, pod.grace_period_seconds, here)
        if container.restart_policy is not None or container.restart_policy_rules:
            yield from _restart_policy(container.restart_policy, container.restart_policy_rules, here)
    yield from container_ports.validate_host_ports(containers, path)


def validate_init_containers(
    containers: Sequence[Container], main: Sequence[Container], pod: Surroundings, path: str
) -> Iterator[FieldError]:
    """Everything wrong with a pod's init containers: only sidecars may have probes and hooks."""
    taken = {one.name for one in main}
    for index, container in enumerate(containers):
        here = f"{path}[{index}]"
        yield from _common(container, pod, here)
        policy = container.restart_policy
        if policy is not None:
            yield from _restart_policy(policy, container.restart_policy_rules, here)
        elif container.restart_policy_rules:
            yield required(f"{here}.restartPolicy", _RULES_NEED_POLICY)
        if container.name in taken:
            yield duplicate(f"{here}.name", container.name)
        elif container.name:
            taken.add(container.name)
        # Init containers run one by one, so that each is looked at alone; upstream names the list's first.
        yield from container_ports.validate_host_ports((container,), path)
        if policy == "Always":
            yield from probes.validate_all(container, pod.grace_period_seconds, here)
            continue
        for field, given in (
            ("lifecycle", container.lifecycle),
            ("livenessProbe", container.liveness_probe),
            ("readinessProbe", container.readiness_probe),
            ("startupProbe", container.startup_probe),
        ):
            if given is not None:
                yield forbidden(f"{here}.{field}", _NOT_FOR_INIT)
        for place, resize in enumerate(container.resize_policy):
            if resize.restart_policy == "RestartContainer":
                why = "must not be set to 'RestartContainer' for non-sidecar initContainers"
                yield invalid(f"{here}.resizePolicy[{place}].restartPolicy", resize.restart_policy, why)


def validate_ephemeral_containers(
    containers: Sequence[EphemeralContainer], others: Sequence[Container], pod: Surroundings, path: str
) -> Iterator[FieldError]:
    """Everything wrong with a pod's ephemeral containers: they take no ports, probes, hooks or resources."""
    targets = {one.name for one in others}
    taken = set(targets)
    for index, container in enumerate(containers):
        here = f"{path}[{index}]"
        yield from _common(container, pod, here)
        yield from validate_image_of_pod(container, here)
        if container.name in taken:
            yield duplicate(f"{here}.name", container.name)
        taken.add(container.name)
        if container.target_container_name and container.target_container_name not in targets:
            yield not_found(f"{here}.targetContainerName", container.target_container_name)
        resources = container.resources
        for field, given in (
            ("ports", container.ports),
            ("resources", resources.limits or resources.requests or resources.claims),
            ("resizePolicy", container.resize_policy),
            ("restartPolicy", container.restart_policy),
            ("restartPolicyRules", container.restart_policy_rules),
            ("livenessProbe", container.liveness_probe),
            ("readinessProbe", container.readiness_probe),
            ("startupProbe", container.startup_probe),
            ("lifecycle", container.lifecycle),
        ):
            if given:
                yield forbidden(f"{here}.{field}", _NOT_FOR_EPHEMERAL)
        for place, mount in enumerate(container.volume_mounts):
            if mount.sub_path:
                yield forbidden(f"{here}.volumeMounts[{place}].subPath", _NOT_FOR_EPHEMERAL)
            if mount.sub_path_expr:
                yield forbidden(f"{here}.volumeMounts[{place}].subPathExpr", _NOT_FOR_EPHEMERAL)


def validate_image_of_pod(container: AnyContainer, path: str) -> Iterator[FieldError]:
    """The complaint about blanks around an image: in a pod, for templates are let off."""
    image = container.image
    if image and (image[0].isspace() or image[-1].isspace()):
        yield invalid(f"{path}.image", image, "must not have leading or trailing whitespace")


def validate_pull_policy(policy: str, path: str) -> Iterator[FieldError]:
    """The complaint about when an image is to be pulled."""
    if not policy:
        yield required(path)
    elif policy not in PULL_POLICIES:
        yield not_supported(path, policy, PULL_POLICIES)


def _common(container: AnyContainer, pod: Surroundings, path: str) -> Iterator[FieldError]:
    if not container.name:
        yield required(f"{path}.name")
    else:
        for complaint in names.dns1123_label(container.name):
            yield invalid(f"{path}.name", container.name, complaint)
    if not container.image:
        yield required(f"{path}.image")
    policy = container.termination_message_policy
    if policy not in _MESSAGE_POLICIES:
        yield not_supported(f"{path}.terminationMessagePolicy", policy, _MESSAGE_POLICIES, in_given_order=True)
    if container.ports:
        yield from container_ports.validate(container.ports, f"{path}.ports")
    if container.env or container.env_from:
        yield from environment.validate(container, path)
    if container.volume_mounts:
        yield from volume_mounts.validate_mounts(container, pod.volumes, f"{path}.volumeMounts")
    if container.volume_devices:
        yield from volume_mounts.validate_devices(container, pod.volumes, f"{path}.volumeDevices")
    if container.image_pull_policy not in PULL_POLICIES:
        yield from validate_pull_policy(container.image_pull_policy, f"{path}.imagePullPolicy")
    resources = container.resources
    if resources.requests or resources.limits or resources.claims:
        yield from container_resources.validate(resources, pod.claims, f"{path}.resources")
    if container.resize_policy:
        yield from _resize_policy(container.resize_policy, f"{path}.resizePolicy", pod.restart_policy)
    if container.security_context is not None:
        yield from security_contexts.validate_of_container(
            container.security_context, f"{path}.securityContext", has_host_users=pod.has_host_users
        )


def _resize_policy(
    policies: Sequence[ContainerResizePolicy], path: str, pod_restart_policy: str
) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, one in enumerate(policies):
        if one.resource_name in seen:
            yield duplicate(f"{path}[{index}]", one.resource_name)
        seen.add(one.resource_name)
        for value, known in ((one.resource_name, _RESIZABLE), (one.restart_policy, _RESIZE_POLICIES)):
            if not value:
                yield required(path)
            elif value not in known:
                yield not_supported(path, value, known)
        if pod_restart_policy == "Never" and one.restart_policy != "NotRequired":
            yield invalid(path, one.restart_policy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'")


def _restart_policy(policy: str | None, rules: Sequence[ContainerRestartRule], path: str) -> Iterator[FieldError]:
    if policy is None:
        yield required(f"{path}.restartPolicy", _RULES_NEED_POLICY)
    elif policy not in _RESTART_POLICIES:
        yield not_supported(f"{path}.restartPolicy", policy, _RESTART_POLICIES)
    if len(rules) > _MAX_RESTART_RULES:
        yield too_many(f"{path}.restartPolicyRules", len(rules), _MAX_RESTART_RULES)
    for index, rule in enumerate(rules):
        here = f"{path}.restartPolicyRules[{index}]"
        if rule.action not in _RESTART_ACTIONS:
            yield not_supported(f"{here}.action", rule.action, ("Restart",))
        codes = rule.exit_codes
        if codes is None:
            yield required(f"{here}.exitCodes", "must be specified")
            continue
        if codes.operator not in ("In", "NotIn"):
            yield not_supported(f"{here}.exitCodes.operator", codes.operator, ("In", "NotIn"))
        if len(codes.values) > _MAX_EXIT_CODES:
            yield too_many(f"{here}.exitCodes.values", len(codes.values), _MAX_EXIT_CODES)
