"""ImagePolicyWebhook: another server is asked whether the images of a pod may run. Off by default.

What is asked and answered is an ImageReview of imagepolicy.k8s.io/v1alpha1. The plugin's file need not say its version.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation
from keelback.api.core_v1 import Pod
from keelback.apimachinery import codecs, yaml
from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.apimachinery.meta import Value, named
from keelback.component.flags import duration_text
from keelback.component.logs import logger

API_VERSION: Final = "imagepolicy.k8s.io/v1alpha1"
KIND: Final = "ImageReview"
_FAILED_OPEN: Final = "failed-open"
_AUDIT_PREFIX: Final = "imagepolicywebhook.image-policy.k8s.io/"
_PASSED_ON: Final = ".image-policy.k8s.io/"
_VERSION: Final = "imagepolicy.admission.k8s.io/v1alpha1"
_KIND: Final = "ImagePolicyWebhookConfiguration"
_log = logger("admission.image_policy_webhook")


@dataclass(frozen=True, slots=True)
class ImagePolicySettings:
    """What the plugin's file says, defaults for the rest. Answers that are kept for 0 seconds are not kept."""

    kubeconfig_file: Path
    allow_seconds: float = 300.0
    deny_seconds: float = 30.0
    retry_backoff_seconds: float = 0.5
    default_allow: bool = False


class _Bounds(NamedTuple):
    least: float
    most: float
    usual: float


_ALLOW: Final = _Bounds(1.0, 1800.0, 300.0)
_DENY: Final = _Bounds(1.0, 1800.0, 30.0)
_RETRY: Final = _Bounds(1e-9, 300.0, 0.5)


class ImageReviewStatus(Value):
    """The other server's answer."""

    allowed: bool = False
    reason: str = ""
    audit_annotations: Mapping[str, str] = {}


class _ImagePolicy(Value):
    kube_config_file: str = ""
    allow_ttl: int = named("allowTTL", 0)
    deny_ttl: int = named("denyTTL", 0)
    retry_backoff: int = 0
    default_allow: bool = False


class _Configuration(Value):
    image_policy: _ImagePolicy = _ImagePolicy()


class ImageReviewFailed(Exception):
    """The other server cannot be asked, or its answer is none."""


ReviewImages = Callable[[Mapping[str, Any]], Awaitable[ImageReviewStatus]]
"""Takes the spec of an ImageReview. Raises ImageReviewFailed."""


class ImagePolicyWebhook(AdmissionPlugin):
    """Asks for each pod when it is made or updated, and for the containers that are added to one to look into it."""

    name = "ImagePolicyWebhook"
    resources = frozenset({"pods", "pods/ephemeralcontainers"})
    operations = frozenset({Operation.CREATE, Operation.UPDATE})

    def __init__(self, review: ReviewImages, *, default_allow: bool) -> None:
        self._review = review
        self._default_allow = default_allow

    async def validate(self, request: AdmissionRequest) -> None:
        try:
            status = await self._review(_spec(request))
        except ImageReviewFailed as failure:
            _log.warning("The image policy webhook gave no answer", error=str(failure))
            if not self._default_allow:
                raise request.forbidden(str(failure)) from failure
            request.audit_annotations[_AUDIT_PREFIX + _FAILED_OPEN] = "true"
            return
        for key, value in status.audit_annotations.items():
            request.audit_annotations[_AUDIT_PREFIX + key] = value
        if status.allowed:
            return
        if status.reason:
            raise request.forbidden(f"image policy webhook backend denied one or more images: {status.reason}")
        raise request.forbidden("one or more images rejected by webhook backend")


def _spec(request: AdmissionRequest) -> Mapping[str, Any]:
    pod = request.new(Pod)
    if request.subresource:
        images = [one.image for one in pod.spec.ephemeral_containers]
    else:
        images = [one.image for one in (*pod.spec.containers, *pod.spec.init_containers)]
    spec: dict[str, Any] = {"containers": [{"image": image} for image in images]}
    passed_on = {key: value for key, value in pod.metadata.annotations.items() if _PASSED_ON in key}
    if passed_on:
        spec["annotations"] = passed_on
    return {**spec, "namespace": request.namespace}


def read(text: str) -> ImagePolicySettings:
    """What the plugin's file says. Raises ConfigurationError."""
    try:
        tree, repeated = yaml.load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"error converting YAML to JSON: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigurationError("no config specified")
    version, kind = tree.pop("apiVersion", _VERSION), tree.pop("kind", _KIND)
    if (version, kind) != (_VERSION, _KIND):
        raise ConfigurationError(
            f'no kind "{kind}" is registered for version "{version}": give a {_KIND} of {_VERSION}'
        )
    if problems := [*repeated, *codecs.strict_errors(tree, _Configuration)]:
        raise ConfigurationError(f"strict decoding error: {', '.join(problems)}")
    try:
        given = codecs.convert(_Configuration, tree).image_policy
    except codecs.DecodeError as error:
        raise ConfigurationError(str(error)) from error
    if not given.kube_config_file:
        raise ConfigurationError("imagePolicy.kubeConfigFile: Required value: it says where the other server is")
    return ImagePolicySettings(
        Path(given.kube_config_file),
        _seconds("allowTTL", given.allow_ttl, 1.0, _ALLOW),
        _seconds("denyTTL", given.deny_ttl, 1.0, _DENY),
        _seconds("retryBackoff", given.retry_backoff, 1e-3, _RETRY),
        given.default_allow,
    )


def _seconds(name: str, value: int, unit: float, bounds: _Bounds) -> float:
    """-1 is never, 0 what is usual. The least value itself is refused, as upstream."""
    if value == -1:
        return 0.0
    if value == 0:
        return bounds.usual
    seconds = value * unit
    if not bounds.least < seconds <= bounds.most:
        least, most, given = (duration_text(one) for one in (bounds.least, bounds.most, seconds))
        raise ConfigurationError(f"imagePolicy.{name}: valid value is between {least} and {most}, got {given}")
    return seconds
