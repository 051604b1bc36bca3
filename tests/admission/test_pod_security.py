from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
import pytest

from keelback.admission.metrics import AdmissionMetrics
from keelback.admission.plugin import AdmissionChain, AdmissionRequest, Operation
from keelback.admission.pod_security import Exemptions, PodSecurity, PodSecuritySettings, Policy, Standard
from keelback.admission.pod_security_levels import evaluate
from keelback.api.apps_v1 import Deployment, DeploymentSpec
from keelback.api.core_v1 import (
    Capabilities,
    Container,
    ContainerPort,
    HostPathVolumeSource,
    Namespace,
    Pod,
    PodSecurityContext,
    PodSpec,
    PodTemplateSpec,
    SeccompProfile,
    SecurityContext,
    SELinuxOptions,
    Sysctl,
    Volume,
)
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, ObjectMeta, replace
from keelback.component.metrics import Registry

T = TypeVar("T", bound=Object)

GOOD = SecurityContext(
    allow_privilege_escalation=False,
    capabilities=Capabilities(drop=("ALL",)),
    run_as_non_root=True,
    seccomp_profile=SeccompProfile(type="RuntimeDefault"),
)


UNTOLD = PodSecuritySettings()
STRICT = Policy(enforce=Standard("restricted", "v1.30"))


class Joe:
    name = "joe"
    uid = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}


class Cluster:
    def __init__(self, labels: dict[str, str], *pods: Pod) -> None:
        self.namespace = _namespace(labels)
        self.pods = pods

    async def get(self, kind: type[T], name: str, namespace: str = "") -> T:
        assert kind.__kind__ is Namespace.__kind__
        return msgspec.convert(msgspec.to_builtins(self.namespace), kind)

    async def list(self, kind: type[T], namespace: str = "") -> Sequence[T]:
        return [pod for pod in self.pods if isinstance(pod, kind)]


def _namespace(labels: dict[str, str]) -> Namespace:
    wire = {f"pod-security.kubernetes.io/{key}": value for key, value in labels.items()}
    return Namespace(metadata=ObjectMeta(name="x", labels=wire))


def _spec(context: SecurityContext | None = None, **more: Any) -> PodSpec:
    return PodSpec(**{"containers": (Container(name="c", image="i", security_context=context),), **more})


def _pod(name: str = "a", context: SecurityContext | None = None, **more: Any) -> Pod:
    return Pod(metadata=ObjectMeta(name=name, namespace="x"), spec=_spec(context, **more))


def _ask(
    cluster: Cluster, obj: Object, old: Object | None = None, settings: PodSecuritySettings = UNTOLD
) -> AdmissionRequest:
    request = AdmissionRequest(
        operation=Operation.CREATE if old is None else Operation.UPDATE,
        kind=obj.__kind__,
        user=Joe(),
        namespace=obj.metadata.namespace,
        name=obj.metadata.name,
        obj=obj,
        old_obj=old,
    )
    asyncio.run(AdmissionChain([PodSecurity(cluster, settings)]).validate(request))
    return request


RESTRICTED_TEXT = (
    'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false),'
    ' unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]),'
    ' runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true),'
    ' seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or'
    ' "Localhost")'
)


def test_enforce_refuses_with_everything_that_is_wrong() -> None:
    with pytest.raises(errors.Forbidden) as refused:
        _ask(Cluster({"enforce": "restricted"}), _pod())
    assert refused.value.message == (
        f'pods "a" is forbidden: violates PodSecurity "restricted:latest": {RESTRICTED_TEXT}'
    )


def test_a_namespace_that_asks_for_nothing_has_the_policy_of_the_cluster() -> None:
    settings = PodSecuritySettings(STRICT)
    with pytest.raises(errors.Forbidden, match=r'violates PodSecurity "restricted:v1\.30"'):
        _ask(Cluster({}), _pod(), settings=settings)
    # A label says what it says, and nothing of the version.
    with pytest.raises(errors.Forbidden, match=r'violates PodSecurity "baseline:v1\.30"'):
        _ask(Cluster({"enforce": "baseline"}), _pod(host_network=True), settings=settings)
    _ask(Cluster({"enforce": "privileged"}), _pod(), settings=settings)


@pytest.mark.parametrize(
    ("exemptions", "pod", "noted"),
    [
        (Exemptions(namespaces=frozenset({"x"})), _pod(), "namespace"),
        (Exemptions(usernames=frozenset({"joe"})), _pod(), "user"),
        (Exemptions(runtime_classes=frozenset({"vm"})), _pod(runtime_class_name="vm"), "runtimeClass"),
    ],
)
def test_who_is_exempt_may_do_all_and_is_noted(exemptions: Exemptions, pod: Pod, noted: str) -> None:
    told = _ask(Cluster({"warn": "restricted"}), pod, settings=PodSecuritySettings(STRICT, exemptions))
    assert told.audit_annotations == {"pod-security.kubernetes.io/exempt": noted}
    assert not told.warnings


def test_a_pod_that_keeps_the_rules_passes_without_a_word() -> None:
    assert _ask(Cluster({"enforce": "restricted", "warn": "restricted"}), _pod(context=GOOD)).warnings == []


def test_warn_and_audit_only_tell() -> None:
    told = _ask(Cluster({"warn": "restricted", "audit": "restricted", "warn-version": "v1.30"}), _pod())
    assert told.warnings == [f'would violate PodSecurity "restricted:v1.30": {RESTRICTED_TEXT}']
    assert told.audit_annotations["pod-security.kubernetes.io/audit-violations"].startswith(
        'would violate PodSecurity "restricted:latest"'
    )


def test_what_makes_pods_is_only_warned_about() -> None:
    deployment = Deployment(
        metadata=ObjectMeta(name="d", namespace="x"), spec=DeploymentSpec(template=PodTemplateSpec(spec=_spec()))
    )
    told = _ask(Cluster({"enforce": "restricted"}), deployment)
    assert told.warnings == [f'would violate PodSecurity "restricted:latest": {RESTRICTED_TEXT}']


def test_only_a_change_of_what_runs_is_checked_again() -> None:
    cluster, old = Cluster({"enforce": "restricted"}), _pod()
    _ask(cluster, replace(old, metadata=replace(old.metadata, labels={"a": "b"})), old)
    changed = replace(old, spec=replace(old.spec, containers=(replace(old.spec.containers[0], image="j"),)))
    with pytest.raises(errors.Forbidden):
        _ask(cluster, changed, old)


def test_a_stricter_namespace_names_the_pods_that_are_there() -> None:
    host_network = _pod("z", host_network=True)
    cluster = Cluster({}, _pod("b"), _pod("a"), host_network, _pod("ok", context=GOOD))
    told = _ask(cluster, _namespace({"enforce": "restricted"}), _namespace({}))
    reasons = "allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile"
    assert told.warnings == [
        'existing pods in namespace "x" violate the new PodSecurity enforce level "restricted:latest"',
        f"a (and 1 other pod): {reasons}",
        f"z: host namespaces, {reasons}",
    ]


def test_a_wrong_label_is_invalid_unless_it_was_there_before() -> None:
    wrong = _namespace({"enforce": "strict"})
    with pytest.raises(errors.Invalid) as refused:
        _ask(Cluster({}), wrong)
    assert 'metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": must be one of' in (
        refused.value.message
    )
    _ask(Cluster({}), wrong, wrong)


@pytest.mark.parametrize(
    ("spec", "violation"),
    [
        (_spec(host_network=True, host_pid=True), "host namespaces (hostNetwork=true, hostPID=true)"),
        (
            _spec(SecurityContext(privileged=True)),
            'privileged (container "c" must not set securityContext.privileged=true)',
        ),
        (
            _spec(SecurityContext(capabilities=Capabilities(add=("NET_RAW", "CHOWN")))),
            'non-default capabilities (container "c" must not include "NET_RAW" in securityContext.capabilities.add)',
        ),
        (
            _spec(volumes=(Volume(name="h", host_path=HostPathVolumeSource(path="/")),)),
            'hostPath volumes (volume "h")',
        ),
        (
            _spec(containers=(Container(name="c", ports=(ContainerPort(container_port=80, host_port=8080),)),)),
            'hostPort (container "c" uses hostPort 8080)',
        ),
        (
            _spec(security_context=PodSecurityContext(sysctls=(Sysctl(name="kernel.msgmax", value="1"),))),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            _spec(
                SecurityContext(seccomp_profile=SeccompProfile(type="Unconfined")),
                security_context=PodSecurityContext(seccomp_profile=SeccompProfile(type="Unconfined")),
            ),
            'seccompProfile (pod and container "c" must not set securityContext.seccompProfile.type to "Unconfined")',
        ),
        (
            _spec(SecurityContext(proc_mount="Unmasked")),
            'procMount (container "c" must not set securityContext.procMount to "Unmasked")',
        ),
        (
            _spec(security_context=PodSecurityContext(se_linux_options=SELinuxOptions(type="foo", user="u"))),
            'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "foo"; user may not be set)',
        ),
    ],
)
def test_baseline_forbids_what_breaks_out(spec: PodSpec, violation: str) -> None:
    assert [str(one) for one in evaluate("baseline", ObjectMeta(), spec)] == [violation]
    assert evaluate("privileged", ObjectMeta(), spec) == []


@pytest.mark.parametrize(
    ("spec", "violation"),
    [
        (
            _spec(GOOD, volumes=(Volume(name="h", host_path=HostPathVolumeSource(path="/")),)),
            'restricted volume types (volume "h" uses restricted volume type "hostPath")',
        ),
        (
            _spec(replace(GOOD, run_as_non_root=False)),
            'runAsNonRoot != true (container "c" must not set securityContext.runAsNonRoot=false)',
        ),
        (_spec(replace(GOOD, run_as_user=0)), 'runAsUser=0 (container "c" must not set runAsUser=0)'),
        (
            _spec(replace(GOOD, capabilities=Capabilities(drop=("ALL",), add=("CHOWN",)))),
            'unrestricted capabilities (container "c" must not include "CHOWN" in securityContext.capabilities.add)',
        ),
    ],
)
def test_restricted_forbids_more(spec: PodSpec, violation: str) -> None:
    assert [str(one) for one in evaluate("restricted", ObjectMeta(), spec)] == [violation]


def _with_sysctl(name: str) -> PodSpec:
    return _spec(security_context=PodSecurityContext(sysctls=(Sysctl(name=name, value="1"),)))


@pytest.mark.parametrize(
    ("level", "spec", "forbidden", "allowed"),
    [
        ("baseline", _with_sysctl("net.ipv4.ip_local_reserved_ports"), "v1.26", "v1.27"),
        ("baseline", _with_sysctl("net.ipv4.tcp_keepalive_time"), "v1.28", "v1.29"),
        ("baseline", _with_sysctl("net.ipv4.tcp_rmem"), "v1.31", "latest"),
        (
            "baseline",
            _spec(security_context=PodSecurityContext(se_linux_options=SELinuxOptions(type="container_engine_t"))),
            "v1.30",
            "v1.31",
        ),
        ("restricted", _spec(replace(GOOD, run_as_user=0)), "v1.23", "v1.22"),
        ("restricted", _spec(replace(GOOD, capabilities=None)), "v1.22", "v1.21"),
        ("restricted", _spec(replace(GOOD, seccomp_profile=None)), "v1.19", "v1.18"),
        ("restricted", _spec(replace(GOOD, allow_privilege_escalation=None)), "v1.8", "v1.7"),
    ],
)
def test_a_standard_is_that_of_its_version(level: str, spec: PodSpec, forbidden: str, allowed: str) -> None:
    assert evaluate(level, ObjectMeta(), spec, forbidden)
    assert not evaluate(level, ObjectMeta(), spec, allowed)


def test_what_was_judged_is_counted() -> None:
    metrics = AdmissionMetrics(Registry())
    plugin = PodSecurity(
        Cluster({"enforce": "baseline", "warn": "restricted"}),
        PodSecuritySettings(exemptions=Exemptions(runtime_classes=frozenset({"vm"}))),
        metrics,
    )

    def ask(pod: Pod) -> None:
        request = AdmissionRequest(
            operation=Operation.CREATE, kind=pod.__kind__, user=Joe(), namespace="x", name="a", obj=pod
        )
        with contextlib.suppress(errors.Forbidden):
            asyncio.run(plugin.validate(request))

    ask(_pod())
    ask(_pod(host_network=True))
    ask(_pod(runtime_class_name="vm"))
    what = ("create", "pod", "")
    counted = metrics.pod_security_evaluations
    assert counted.value("allow", "enforce", "baseline", "latest", *what) == 1
    assert counted.value("deny", "enforce", "baseline", "latest", *what) == 1
    assert counted.value("deny", "warn", "restricted", "latest", *what) == 1
    assert metrics.pod_security_exemptions.value(*what) == 1
