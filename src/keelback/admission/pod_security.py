"""PodSecurity: holds pods against the Pod Security Standard that their namespace's labels ask for.

The mode enforce refuses pods; audit and warn only tell, for pods and for what makes pods.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keelback.admission.metrics import AdmissionMetrics
from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation, Reader, resource_key
from keelback.admission.pod_security_levels import LEVELS, PRIVILEGED, RESTRICTED, Violation, evaluate
from keelback.api.apps_v1 import DaemonSet, Deployment, ReplicaSet, StatefulSet
from keelback.api.batch_v1 import CronJob, Job
from keelback.api.core_v1 import Namespace, Pod, PodSpec, PodTemplate, PodTemplateSpec, ReplicationController
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Kind, Object, ObjectMeta, narrow
from keelback.apimachinery.remembered import remembered
from keelback.component.metrics import Registry

_LABEL = "pod-security.kubernetes.io/"
_ANNOTATION = _LABEL
"""Before the keys of what is noted for audits."""
_EXEMPT = f"{_ANNOTATION}exempt"
VERSION = re.compile(r"latest|v1\.(0|[1-9][0-9]*)")
"""How a version of the standards is written."""
# As many pods of a namespace are looked at when its labels change.
_MAX_PODS_TO_CHECK = 3000

WORKLOADS: Mapping[str, type[Object]] = {
    resource_key(kind.__kind__): kind
    for kind in (
        PodTemplate,
        ReplicationController,
        ReplicaSet,
        Deployment,
        StatefulSet,
        DaemonSet,
        Job,
        CronJob,
    )
}
"""What makes pods, by resource."""


@narrow(Namespace)
class _NamespaceLabels(Object):
    """A namespace, of which only the labels are of interest."""


@dataclass(frozen=True, slots=True)
class Standard:
    """A level as of a version of Kubernetes."""

    level: str = PRIVILEGED
    version: str = "latest"

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a namespace asks for."""

    enforce: Standard = Standard()
    audit: Standard = Standard()
    warn: Standard = Standard()


@dataclass(frozen=True, slots=True)
class Exemptions:
    """What no policy is for: pods of some users, namespaces or runtime classes."""

    usernames: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    runtime_classes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PodSecuritySettings:
    """What the cluster's administrator decides: the policy of namespaces without labels, and who needs none."""

    default: Policy = Policy()
    exemptions: Exemptions = Exemptions()


class PodSecurity(AdmissionPlugin):
    """Applies the policy of the namespace, or the cluster's default where it has none."""

    name = "PodSecurity"

    def __init__(
        self,
        reader: Reader,
        settings: PodSecuritySettings = PodSecuritySettings(),
        metrics: AdmissionMetrics | None = None,
    ) -> None:
        """Without `metrics` nobody will ask how often it refused."""
        self._reader = reader
        self._metrics = metrics or AdmissionMetrics(Registry())
        self._default = settings.default
        self._exempt = settings.exemptions
        self._policy_of = remembered(self._read_policy)

    def handles(self, operation: Operation, kind: Kind, subresource: str) -> bool:
        if operation not in (Operation.CREATE, Operation.UPDATE):
            return False
        key = resource_key(kind, subresource)
        return key in ("pods", "pods/ephemeralcontainers", "namespaces") or key in WORKLOADS

    async def validate(self, request: AdmissionRequest) -> None:
        if isinstance(request.obj, Namespace):
            await self._validate_namespace(request, request.obj)
            return
        if request.namespace in self._exempt.namespaces:
            self._let_pass(request, "namespace")
            return
        if request.user.name in self._exempt.usernames:
            self._let_pass(request, "user")
            return
        policy, wrong = self._policy_of(await self._reader.get(_NamespaceLabels, request.namespace))
        if isinstance(request.obj, Pod):
            self._validate_pod(request, request.obj, policy, wrong)
        else:
            self._validate_workload(request, policy)

    def _read_policy(self, namespace: _NamespaceLabels) -> tuple[Policy, list[errors.FieldError]]:
        return read_policy(namespace.metadata.labels, self._default)

    def _validate_pod(
        self, request: AdmissionRequest, pod: Pod, policy: Policy, wrong: Sequence[errors.FieldError]
    ) -> None:
        if isinstance(request.old_obj, Pod) and not _is_significant(pod, request.old_obj):
            return
        if self._is_exempt(request, pod.spec):
            return
        if wrong:
            request.audit_annotations[f"{_ANNOTATION}error"] = "; ".join(one.body for one in wrong)
            self._metrics.pod_security_errors.inc("false", *_labels(request))
        request.audit_annotations[f"{_ANNOTATION}enforce-policy"] = str(policy.enforce)
        violations = evaluate(policy.enforce.level, pod.metadata, pod.spec, policy.enforce.version)
        self._count(request, "deny" if violations else "allow", "enforce", policy.enforce)
        self._tell(request, pod.metadata, pod.spec, policy, warns=not violations)
        if violations:
            raise request.forbidden(f'violates PodSecurity "{policy.enforce}": {_joined(violations)}')

    def _validate_workload(self, request: AdmissionRequest, policy: Policy) -> None:
        template = template_of(request.obj)
        if template is not None and not self._is_exempt(request, template.spec):
            self._tell(request, template.metadata or ObjectMeta(), template.spec, policy, warns=True)

    def _is_exempt(self, request: AdmissionRequest, spec: PodSpec) -> bool:
        is_exempt = spec.runtime_class_name in self._exempt.runtime_classes
        if is_exempt:
            self._let_pass(request, "runtimeClass")
        return is_exempt

    def _let_pass(self, request: AdmissionRequest, why: str) -> None:
        request.audit_annotations[_EXEMPT] = why
        self._metrics.pod_security_exemptions.inc(*_labels(request))

    def _count(self, request: AdmissionRequest, decision: str, mode: str, standard: Standard) -> None:
        self._metrics.pod_security_evaluations.inc(decision, mode, standard.level, standard.version, *_labels(request))

    def _tell(
        self, request: AdmissionRequest, metadata: ObjectMeta, spec: PodSpec, policy: Policy, *, warns: bool
    ) -> None:
        audited = evaluate(policy.audit.level, metadata, spec, policy.audit.version)
        if audited:
            self._count(request, "deny", "audit", policy.audit)
            request.audit_annotations[f"{_ANNOTATION}audit-violations"] = (
                f'would violate PodSecurity "{policy.audit}": {_joined(audited)}'
            )
        warned = evaluate(policy.warn.level, metadata, spec, policy.warn.version) if warns else []
        if warned:
            self._count(request, "deny", "warn", policy.warn)
            request.warn(f'would violate PodSecurity "{policy.warn}": {_joined(warned)}')

    async def _validate_namespace(self, request: AdmissionRequest, namespace: Namespace) -> None:
        policy, wrong = read_policy(namespace.metadata.labels, self._default)
        is_exempt = namespace.metadata.name in self._exempt.namespaces
        old_labels = request.old_obj.metadata.labels if isinstance(request.old_obj, Namespace) else {}
        if request.operation is Operation.CREATE:
            if wrong:
                raise errors.Invalid.of(Namespace.__kind__, namespace.metadata.name, wrong)
            return
        old_policy, old_wrong = read_policy(old_labels, self._default)
        # Old mistakes may stay, so that the namespace can still be changed.
        if len(wrong) > 0 and not old_wrong:
            raise errors.Invalid.of(Namespace.__kind__, namespace.metadata.name, wrong)
        if is_exempt or policy.enforce == old_policy.enforce or _is_laxer(policy.enforce, old_policy.enforce):
            return
        for warning in await self._existing_violations(namespace.metadata.name, policy.enforce):
            request.warn(warning)

    async def _existing_violations(self, namespace: str, standard: Standard) -> list[str]:
        """One line on the whole, then one for each way in which existing pods fail that are not exempt."""
        pods = sorted(await self._reader.list(Pod, namespace), key=lambda pod: pod.metadata.name)
        failing: dict[str, list[str]] = {}
        for pod in pods[:_MAX_PODS_TO_CHECK]:
            if pod.spec.runtime_class_name in self._exempt.runtime_classes:
                continue
            violations = evaluate(standard.level, pod.metadata, pod.spec, standard.version)
            if violations:
                reasons = ", ".join(violation.reason for violation in violations)
                failing.setdefault(reasons, []).append(pod.metadata.name)
        if not failing:
            return []
        summary = f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{standard}"'
        return [summary, *sorted(f"{_and_others(names)}: {reasons}" for reasons, names in failing.items())]


def read_policy(labels: Mapping[str, str], default: Policy) -> tuple[Policy, list[errors.FieldError]]:
    """What the labels ask for, and what is wrong with them. A wrong label asks for the strictest."""
    wrong: list[errors.FieldError] = []
    enforce = _read(labels, "enforce", default.enforce, wrong)
    audit = _read(labels, "audit", default.audit, wrong)
    warn = _read(labels, "warn", default.warn, wrong)
    # Without a wish of their own, audit and warn follow a stricter enforce.
    if f"{_LABEL}audit" not in labels and _is_laxer(audit, enforce):
        audit = enforce
    if f"{_LABEL}warn" not in labels and _is_laxer(warn, enforce):
        warn = enforce
    return Policy(enforce, audit, warn), wrong


def _read(labels: Mapping[str, str], mode: str, default: Standard, wrong: list[errors.FieldError]) -> Standard:
    level, version = labels.get(f"{_LABEL}{mode}"), labels.get(f"{_LABEL}{mode}-version")
    chosen_level, chosen_version = default.level, default.version
    if level is not None:
        chosen_level = level
        if level not in LEVELS:
            wrong.append(
                errors.invalid(f"metadata.labels[{_LABEL}{mode}]", level, f"must be one of {', '.join(LEVELS)}")
            )
            chosen_level = RESTRICTED if mode == "enforce" else PRIVILEGED
    if version is not None:
        if VERSION.fullmatch(version):
            chosen_version = version
        else:
            wrong.append(
                errors.invalid(f"metadata.labels[{_LABEL}{mode}-version]", version, 'must be "latest" or "v1.x"')
            )
            chosen_version = "latest"
    return Standard(chosen_level, chosen_version)


def _labels(request: AdmissionRequest) -> tuple[str, str, str]:
    resource = "pod" if request.kind.plural == "pods" else "controller"
    return request.operation.lower(), resource, request.subresource


def _is_laxer(one: Standard, other: Standard) -> bool:
    return LEVELS.index(one.level) < LEVELS.index(other.level)


def _is_significant(new: Pod, old: Pod) -> bool:
    """Whether an update could change the outcome: most of a pod's spec cannot be changed at all."""
    return _images(new.spec) != _images(old.spec) or _annotations(new) != _annotations(old)


def _images(spec: PodSpec) -> list[tuple[str, str]]:
    return [
        *((one.name, one.image) for one in spec.init_containers),
        *((one.name, one.image) for one in spec.containers),
        *((one.name, one.image) for one in spec.ephemeral_containers),
    ]


def _annotations(pod: Pod) -> dict[str, str]:
    prefixes = ("container.apparmor.security.beta.kubernetes.io/", "seccomp.security.alpha.kubernetes.io/")
    return {key: value for key, value in pod.metadata.annotations.items() if key.startswith(prefixes)}


def template_of(obj: object) -> PodTemplateSpec | None:
    """What such an object makes its pods of; None for any other."""
    match obj:
        case PodTemplate():
            return obj.template
        case CronJob():
            return obj.spec.job_template.spec.template
        case ReplicationController() | ReplicaSet() | Deployment() | StatefulSet() | DaemonSet() | Job():
            return obj.spec.template
        case _:
            return None


def _and_others(names: Sequence[str]) -> str:
    match len(names):
        case 1:
            return names[0]
        case 2:
            return f"{names[0]} (and 1 other pod)"
        case count:
            return f"{names[0]} (and {count - 1} other pods)"


def _joined(violations: Sequence[Violation]) -> str:
    return ", ".join(str(violation) for violation in violations)
