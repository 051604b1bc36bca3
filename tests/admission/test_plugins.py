from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import pytest

from keelback.admission.always_pull_images import AlwaysPullImages
from keelback.admission.certificates import CertificateApproval, CertificateSubjectRestriction, ClusterTrustBundleAttest
from keelback.admission.default_ingress_class import DefaultIngressClass
from keelback.admission.default_storage_class import DefaultStorageClass
from keelback.admission.default_toleration_seconds import DefaultTolerationSeconds
from keelback.admission.namespace_lifecycle import NamespaceLifecycle
from keelback.admission.persistent_volume_claim_resize import PersistentVolumeClaimResize
from keelback.admission.plugin import AdmissionChain, AdmissionPlugin, AdmissionRequest, Operation, Question
from keelback.admission.pod_topology_labels import PodTopologyLabels
from keelback.admission.priority import Priority
from keelback.admission.runtime_class import RuntimeClassPlugin
from keelback.admission.service_account import ServiceAccountPlugin
from keelback.admission.storage_object_in_use_protection import StorageObjectInUseProtection
from keelback.admission.taint_nodes_by_condition import TaintNodesByCondition
from keelback.api.certificates_v1 import CertificateSigningRequest, CertificateSigningRequestSpec
from keelback.api.certificates_v1beta1 import ClusterTrustBundle, ClusterTrustBundleSpec
from keelback.api.core_v1 import (
    Binding,
    ConfigMap,
    Container,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    LocalObjectReference,
    Namespace,
    NamespaceStatus,
    Node,
    ObjectReference,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    Pod,
    PodSpec,
    SecretEnvSource,
    SecretKeySelector,
    SecretVolumeSource,
    ServiceAccount,
    Toleration,
    Volume,
    VolumeResourceRequirements,
)
from keelback.api.networking_v1 import Ingress, IngressClass
from keelback.api.node_v1 import Overhead, RuntimeClass
from keelback.api.scheduling_v1 import PriorityClass
from keelback.api.storage_v1 import StorageClass
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Kind, Object, ObjectMeta, replace

T = TypeVar("T", bound=Object)


class Joe:
    name = "joe"
    uid = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}


class Objects:
    """A reader of what it is given."""

    def __init__(self, *objects: Object) -> None:
        self.held = objects

    async def get(self, kind: type[T], name: str, namespace: str = "") -> T:
        for obj in self._of(kind):
            if (obj.metadata.namespace, obj.metadata.name) == (namespace, name):
                return msgspec.convert(msgspec.to_builtins(obj), kind)
        raise errors.NotFound.of(kind.__kind__, name)

    async def newest(self, kind: type[T], name: str, namespace: str = "") -> T:
        return await self.get(kind, name, namespace)

    async def list(self, kind: type[T], namespace: str = "") -> Sequence[T]:
        found = [obj for obj in self._of(kind) if namespace in ("", obj.metadata.namespace)]
        return [msgspec.convert(msgspec.to_builtins(obj), kind) for obj in found]

    def _of(self, kind: type[Object]) -> list[Object]:
        return [obj for obj in self.held if obj.__kind__ is kind.__kind__]


def request(
    obj: Object | None, old: Object | None = None, *, kind: Kind | None = None, subresource: str = ""
) -> AdmissionRequest:
    some = obj or old
    assert some is not None
    operation = Operation.CREATE if old is None else Operation.DELETE if obj is None else Operation.UPDATE
    return AdmissionRequest(
        operation=operation,
        kind=kind or some.__kind__,
        user=Joe(),
        subresource=subresource,
        namespace=some.metadata.namespace,
        name=some.metadata.name,
        obj=obj,
        old_obj=old,
    )


def run(plugin: AdmissionPlugin, asked: AdmissionRequest) -> Any:
    """What the object becomes, if the plugin lets it pass."""

    async def both() -> Any:
        chain = AdmissionChain([plugin])
        admitted = await chain.admit(asked)
        await chain.validate(admitted)
        return admitted.obj

    return asyncio.run(both())


def refusal(plugin: AdmissionPlugin, asked: AdmissionRequest) -> errors.StatusError:
    with pytest.raises(errors.StatusError) as refused:
        run(plugin, asked)
    return refused.value


def pod(**spec: Any) -> Pod:
    fields: dict[str, Any] = {"containers": (Container(name="c", image="i"),), **spec}
    return Pod(metadata=ObjectMeta(name="a", namespace="x"), spec=PodSpec(**fields))


def namespace(name: str = "x", phase: str = "Active") -> Namespace:
    return Namespace(metadata=ObjectMeta(name=name), status=NamespaceStatus(phase=phase))


ACCOUNT = ServiceAccount(metadata=ObjectMeta(name="default", namespace="x"))


class TestNamespaceLifecycle:
    CONFIG_MAP = ConfigMap(metadata=ObjectMeta(name="m", namespace="x"))

    def test_a_missing_namespace_is_what_is_not_found(self) -> None:
        refused = refusal(NamespaceLifecycle(Objects()), request(self.CONFIG_MAP))
        assert (refused.code, refused.message) == (404, 'namespaces "x" not found')

    def test_nothing_new_in_a_namespace_that_is_going(self) -> None:
        going = Objects(namespace(phase="Terminating"))
        refused = refusal(NamespaceLifecycle(going), request(self.CONFIG_MAP))
        assert refused.message == (
            'configmaps "m" is forbidden: unable to create new content in namespace x because it is being terminated'
        )
        assert refused.status.details is not None
        assert refused.status.details.causes[0].reason == "NamespaceTerminating"
        run(NamespaceLifecycle(going), request(self.CONFIG_MAP, self.CONFIG_MAP))
        run(NamespaceLifecycle(going), request(None, self.CONFIG_MAP))

    @pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
    def test_some_namespaces_stay(self, name: str) -> None:
        refused = refusal(NamespaceLifecycle(Objects()), request(None, namespace(name)))
        assert refused.message == f'namespaces "{name}" is forbidden: this namespace may not be deleted'

    def test_others_may_go(self) -> None:
        run(NamespaceLifecycle(Objects()), request(None, namespace("kube-node-lease")))
        run(NamespaceLifecycle(Objects()), request(namespace("new")))


class TestServiceAccount:
    def _plugin(self, *objects: Object) -> ServiceAccountPlugin:
        return ServiceAccountPlugin(Objects(*objects), random.Random(1))

    def test_a_pod_gets_the_default_account_and_its_token(self) -> None:
        made = run(self._plugin(ACCOUNT), request(pod()))
        assert (made.spec.service_account_name, made.spec.service_account) == ("default", "default")
        (volume,) = made.spec.volumes
        assert volume.name.startswith("kube-api-access-")
        assert len(volume.name) == len("kube-api-access-") + 5
        assert msgspec.json.decode(msgspec.json.encode(volume.projected)) == {
            "defaultMode": 420,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {
                    "downwardAPI": {
                        "items": [
                            {
                                "path": "namespace",
                                "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                            }
                        ]
                    }
                },
            ],
        }
        (mount,) = made.spec.containers[0].volume_mounts
        assert (mount.name, mount.read_only) == (volume.name, True)
        assert mount.mount_path == "/var/run/secrets/kubernetes.io/serviceaccount"
        again = run(self._plugin(ACCOUNT), request(made))
        assert again == made

    def test_a_missing_account_is_named(self) -> None:
        assert refusal(self._plugin(), request(pod())).message == (
            'pods "a" is forbidden: error looking up service account x/default: serviceaccount "default" not found'
        )

    @pytest.mark.parametrize(("on_pod", "on_account"), [(False, None), (None, False), (False, True)])
    def test_a_token_may_be_declined(self, on_pod: bool | None, on_account: bool | None) -> None:
        account = ServiceAccount(metadata=ACCOUNT.metadata, automount_service_account_token=on_account)
        made = run(self._plugin(account), request(pod(automount_service_account_token=on_pod)))
        assert made.spec.volumes == ()

    def test_pull_secrets_come_from_the_account_unless_the_pod_has_its_own(self) -> None:
        account = ServiceAccount(metadata=ACCOUNT.metadata, image_pull_secrets=(LocalObjectReference(name="p"),))
        assert run(self._plugin(account), request(pod())).spec.image_pull_secrets == account.image_pull_secrets
        own = (LocalObjectReference(name="own"),)
        assert run(self._plugin(account), request(pod(image_pull_secrets=own))).spec.image_pull_secrets == own

    def test_an_account_may_hold_its_pods_to_its_own_secrets(self) -> None:
        annotated = replace(ACCOUNT.metadata, annotations={"kubernetes.io/enforce-mountable-secrets": "true"})
        account = ServiceAccount(
            metadata=annotated,
            secrets=(ObjectReference(name="own"),),
            image_pull_secrets=(LocalObjectReference(name="pull"),),
        )
        because = "is not allowed because service account default does not reference that"
        key = EnvVarSource(secret_key_ref=SecretKeySelector(name="s", key="k"))
        with_key = Container(name="c", image="i", env=(EnvVar(name="E", value_from=key),))
        with_all = Container(name="c", image="i", env_from=(EnvFromSource(secret_ref=SecretEnvSource(name="s")),))
        mounted = Volume(name="v", secret=SecretVolumeSource(secret_name="s"))
        for made, told in (
            (pod(volumes=(mounted,)), f'volume with secret.secretName="s" {because} secret'),
            (
                pod(containers=(with_key,)),
                f'container c with envVar E referencing secret.secretName="s" {because} secret',
            ),
            (
                pod(init_containers=(with_all,)),
                f'init container c with envFrom referencing secret.secretName="s" {because} secret',
            ),
            (
                pod(image_pull_secrets=(LocalObjectReference(name="p"),)),
                f'imagePullSecrets[0].name="p" {because} imagePullSecret',
            ),
        ):
            with pytest.raises(errors.Forbidden, match=re.escape(told)):
                run(self._plugin(account), request(made))
        own = replace(mounted, secret=SecretVolumeSource(secret_name="own"))
        assert run(self._plugin(account), request(pod(volumes=(own,)))).spec.image_pull_secrets

    def test_a_mirror_pod_has_no_account(self) -> None:
        mirror = pod(service_account_name="default")
        mirror = replace(mirror, metadata=replace(mirror.metadata, annotations={"kubernetes.io/config.mirror": "h"}))
        with pytest.raises(errors.Forbidden, match="a mirror pod may not reference service accounts"):
            run(self._plugin(ACCOUNT), request(mirror))


class TestPriority:
    HIGH = PriorityClass(metadata=ObjectMeta(name="high"), value=1000, preemption_policy="Never")

    def test_the_class_decides(self) -> None:
        made = run(Priority(Objects(self.HIGH)), request(pod(priority_class_name="high")))
        assert (made.spec.priority, made.spec.preemption_policy) == (1000, "Never")

    def test_without_classes_it_is_zero(self) -> None:
        made = run(Priority(Objects()), request(pod()))
        assert (made.spec.priority, made.spec.preemption_policy) == (0, "PreemptLowerPriority")

    def test_the_default_class_is_written_down(self) -> None:
        default = PriorityClass(metadata=ObjectMeta(name="usual"), value=5, global_default=True)
        made = run(Priority(Objects(default)), request(pod()))
        assert (made.spec.priority_class_name, made.spec.priority) == ("usual", 5)
        second = PriorityClass(metadata=ObjectMeta(name="second"), global_default=True)
        assert refusal(Priority(Objects(default)), request(second)).message == (
            'priorityclasses.scheduling.k8s.io "second" is forbidden: PriorityClass usual is already marked as'
            " default. Only one default can exist"
        )

    def test_nobody_writes_the_number(self) -> None:
        assert refusal(Priority(Objects()), request(pod(priority=7))).message == (
            'pods "a" is forbidden: the integer value of priority (7) must not be provided in pod spec; priority'
            " admission controller computed 0 from the given PriorityClass name"
        )

    def test_a_missing_class_is_named(self) -> None:
        assert refusal(Priority(Objects()), request(pod(priority_class_name="no"))).message == (
            'pods "a" is forbidden: no PriorityClass with name no was found'
        )

    def test_an_update_that_drops_it_keeps_it(self) -> None:
        old = pod(priority=9, preemption_policy="Never")
        made = run(Priority(Objects()), request(pod(), old))
        assert (made.spec.priority, made.spec.preemption_policy) == (9, "Never")


class TestDefaultTolerationSeconds:
    def test_five_minutes_for_both_taints(self) -> None:
        made = run(DefaultTolerationSeconds(), request(pod()))
        assert [(one.key, one.effect, one.toleration_seconds) for one in made.spec.tolerations] == [
            ("node.kubernetes.io/not-ready", "NoExecute", 300),
            ("node.kubernetes.io/unreachable", "NoExecute", 300),
        ]
        assert run(DefaultTolerationSeconds(), request(made)) is made

    def test_a_pod_that_tolerates_everything_gets_none(self) -> None:
        tolerant = pod(tolerations=(Toleration(operator="Exists"),))
        assert run(DefaultTolerationSeconds(), request(tolerant)) is tolerant


def test_a_new_node_is_not_ready() -> None:
    made = run(TaintNodesByCondition(), request(Node(metadata=ObjectMeta(name="n"))))
    assert [(taint.key, taint.effect) for taint in made.spec.taints] == [("node.kubernetes.io/not-ready", "NoSchedule")]
    assert run(TaintNodesByCondition(), request(made)) is made


def _claim(size: str = "1Gi", phase: str = "Bound", storage_class: str | None = None) -> PersistentVolumeClaim:
    return PersistentVolumeClaim(
        metadata=ObjectMeta(name="d", namespace="x"),
        spec=PersistentVolumeClaimSpec(
            storage_class_name=storage_class, resources=VolumeResourceRequirements(requests={"storage": size})
        ),
        status=PersistentVolumeClaimStatus(phase=phase),
    )


def _storage_class(name: str, day: int = 1, *, expandable: bool | None = None) -> StorageClass:
    return StorageClass(
        metadata=ObjectMeta(
            name=name,
            annotations={"storageclass.kubernetes.io/is-default-class": "true"},
            creation_timestamp=datetime(2026, 1, day, tzinfo=UTC),
        ),
        allow_volume_expansion=expandable,
    )


def test_the_newest_default_storage_class_counts() -> None:
    plugin = DefaultStorageClass(Objects(_storage_class("old"), _storage_class("new", 2)))
    assert run(plugin, request(_claim())).spec.storage_class_name == "new"
    assert run(plugin, request(_claim(storage_class=""))).spec.storage_class_name == ""
    assert run(DefaultStorageClass(Objects()), request(_claim())).spec.storage_class_name is None


def test_the_default_ingress_class_is_filled_in() -> None:
    default = IngressClass(
        metadata=ObjectMeta(name="k", annotations={"ingressclass.kubernetes.io/is-default-class": "true"})
    )
    ingress = Ingress(metadata=ObjectMeta(name="i", namespace="x"))
    assert run(DefaultIngressClass(Objects(default)), request(ingress)).spec.ingress_class_name == "k"


def test_claims_are_protected_while_in_use() -> None:
    made = run(StorageObjectInUseProtection(), request(_claim()))
    assert made.metadata.finalizers == ("kubernetes.io/pvc-protection",)
    assert run(StorageObjectInUseProtection(), request(made)) is made


def test_only_bound_claims_of_a_willing_class_grow() -> None:
    willing = PersistentVolumeClaimResize(Objects(_storage_class("s", expandable=True)))
    unwilling = PersistentVolumeClaimResize(Objects(_storage_class("s")))
    bigger, bound = _claim("2Gi", storage_class="s"), _claim(storage_class="s")
    run(willing, request(bigger, bound))
    run(unwilling, request(bound, bound))
    assert (
        "Only bound persistent volume claims can be expanded"
        in refusal(willing, request(bigger, _claim(phase="Pending", storage_class="s"))).message
    )
    assert "must support resize" in refusal(unwilling, request(bigger, bound)).message


def test_a_pod_takes_its_runtime_classs_overhead() -> None:
    light = RuntimeClass(metadata=ObjectMeta(name="light"), overhead=Overhead(pod_fixed={"cpu": "100m"}))
    plugin = RuntimeClassPlugin(Objects(light))
    assert run(plugin, request(pod(runtime_class_name="light"))).spec.overhead == {"cpu": "100m"}
    assert refusal(plugin, request(pod(runtime_class_name="no"))).message == (
        'pods "a" is forbidden: pod rejected: RuntimeClass "no" not found'
    )
    assert "doesn't match" in refusal(plugin, request(pod(runtime_class_name="light", overhead={"cpu": "1"}))).message
    assert "without corresponding" in refusal(plugin, request(pod(overhead={"cpu": "1"}))).message


def test_a_binding_carries_the_nodes_zone() -> None:
    node = Node(metadata=ObjectMeta(name="n", labels={"topology.kubernetes.io/zone": "z", "other": "o"}))
    binding = Binding(metadata=ObjectMeta(name="a", namespace="x"), target=ObjectReference(kind="Node", name="n"))
    asked = request(binding, kind=Pod.__kind__, subresource="binding")
    assert run(PodTopologyLabels(Objects(node)), asked).metadata.labels == {"topology.kubernetes.io/zone": "z"}


def test_every_start_asks_the_registry() -> None:
    made = run(AlwaysPullImages(), request(pod()))
    assert made.spec.containers[0].image_pull_policy == "Always"


def test_approving_needs_the_right_on_the_signer() -> None:
    signing = CertificateSigningRequest(
        metadata=ObjectMeta(name="r"), spec=CertificateSigningRequestSpec(signer_name="example.com/s")
    )
    asked = request(signing, signing, subresource="approval")

    async def only_the_domain(question: Question) -> bool:
        return (question.verb, question.resource, question.name) == ("approve", "signers", "example.com/*")

    async def nobody(question: Question) -> bool:
        return False

    run(CertificateApproval(only_the_domain), asked)
    assert refusal(CertificateApproval(nobody), asked).message == (
        'certificatesigningrequests.certificates.k8s.io "r" is forbidden: user not permitted to approve requests'
        ' with signerName "example.com/s"'
    )


def test_who_says_what_a_signer_s_authorities_are_may_attest_for_it() -> None:
    bundle = ClusterTrustBundle(metadata=ObjectMeta(name="b"), spec=ClusterTrustBundleSpec("example.com/s", "pem"))

    async def only_attests(question: Question) -> bool:
        return (question.verb, question.resource, question.name) == ("attest", "signers", "example.com/s")

    async def nobody(question: Question) -> bool:
        return False

    run(ClusterTrustBundleAttest(only_attests), request(bundle))
    assert refusal(ClusterTrustBundleAttest(nobody), request(bundle)).message == (
        'clustertrustbundles.certificates.k8s.io "b" is forbidden: user not permitted to attest for signerName'
        ' "example.com/s"'
    )
    run(ClusterTrustBundleAttest(nobody), request(bundle, bundle))
    run(ClusterTrustBundleAttest(nobody), request(replace(bundle, spec=ClusterTrustBundleSpec("", "pem"))))


def test_a_request_that_does_not_parse_is_refused_for_clients() -> None:
    signing = CertificateSigningRequest(
        metadata=ObjectMeta(name="r"),
        spec=CertificateSigningRequestSpec(signer_name="kubernetes.io/kube-apiserver-client", request=b"nonsense"),
    )
    assert refusal(CertificateSubjectRestriction(), request(signing)).code == 403
