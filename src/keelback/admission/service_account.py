"""ServiceAccount: every pod acts as a service account, with a token of it mounted where clients look."""

from __future__ import annotations

import random
from collections.abc import Iterator

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Reader
from keelback.api.core_v1 import (
    ConfigMapProjection,
    Container,
    DownwardAPIProjection,
    DownwardAPIVolumeFile,
    KeyToPath,
    ObjectFieldSelector,
    Pod,
    PodSpec,
    ProjectedVolumeSource,
    ServiceAccount,
    ServiceAccountTokenProjection,
    Volume,
    VolumeMount,
    VolumeProjection,
)
from keelback.api.pods import is_mirror
from keelback.apimachinery import errors
from keelback.apimachinery.meta import replace

DEFAULT_NAME = "default"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX = "kube-api-access-"
# Just above an hour, by which the API server recognizes tokens that clients may not reload.
TOKEN_SECONDS = 3607
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_ENFORCE_ANNOTATION = "kubernetes.io/enforce-mountable-secrets"
_GO_TRUE = ("1", "t", "T", "true", "TRUE", "True")

_PROJECTION = ProjectedVolumeSource(
    default_mode=420,
    sources=(
        VolumeProjection(
            service_account_token=ServiceAccountTokenProjection(expiration_seconds=TOKEN_SECONDS, path="token")
        ),
        VolumeProjection(
            config_map=ConfigMapProjection(name="kube-root-ca.crt", items=(KeyToPath(key="ca.crt", path="ca.crt"),))
        ),
        VolumeProjection(
            downward_api=DownwardAPIProjection(
                items=(
                    DownwardAPIVolumeFile(
                        path="namespace",
                        field_ref=ObjectFieldSelector(api_version="v1", field_path="metadata.namespace"),
                    ),
                )
            )
        ),
    ),
)


class ServiceAccountPlugin(AdmissionPlugin):
    """Gives pods their service account and its token."""

    name = "ServiceAccount"
    resources = frozenset({"pods"})

    def __init__(self, reader: Reader, chance: random.Random) -> None:
        self._reader = reader
        self._chance = chance

    async def admit(self, request: AdmissionRequest) -> Pod:
        pod = request.new(Pod)
        if is_mirror(pod):
            # Refused before it is looked at whether the pod is valid.
            _check_mirror(request, pod.spec)
            return pod
        # The deprecated field is the same thing under its first name.
        name = pod.spec.service_account_name or pod.spec.service_account or DEFAULT_NAME
        account = await self._account(request, name)
        spec = pod.spec
        if spec.service_account_name != name or spec.service_account != name:
            spec = replace(spec, service_account_name=name, service_account=name)
        if _mounts_token(account, spec):
            spec = self._with_token(spec)
        if not spec.image_pull_secrets and account.image_pull_secrets:
            spec = replace(spec, image_pull_secrets=account.image_pull_secrets)
        _check_secrets(request, spec, account)
        return pod if spec is pod.spec else replace(pod, spec=spec)

    async def validate(self, request: AdmissionRequest) -> None:
        pod = request.new(Pod)
        if is_mirror(pod):
            _check_mirror(request, pod.spec)
            return
        account = await self._account(request, pod.spec.service_account_name)
        _check_secrets(request, pod.spec, account)

    async def _account(self, request: AdmissionRequest, name: str) -> ServiceAccount:
        try:
            return await self._reader.get(ServiceAccount, name, request.namespace)
        except errors.NotFound:
            raise request.forbidden(
                f'error looking up service account {request.namespace}/{name}: serviceaccount "{name}" not found'
            ) from None

    def _with_token(self, spec: PodSpec) -> PodSpec:
        existing = next((volume.name for volume in spec.volumes if volume.name.startswith(VOLUME_PREFIX)), None)
        volume_name = existing or VOLUME_PREFIX + "".join(self._chance.choices(_SUFFIX_LETTERS, k=_SUFFIX_LENGTH))
        mount = VolumeMount(name=volume_name, read_only=True, mount_path=MOUNT_PATH)

        def with_mount(container: Container) -> Container:
            if any(known.mount_path == MOUNT_PATH for known in container.volume_mounts):
                return container
            return replace(container, volume_mounts=(*container.volume_mounts, mount))

        containers = tuple(map(with_mount, spec.containers))
        init_containers = tuple(map(with_mount, spec.init_containers))
        is_mounted = any(
            known is mount for container in (*containers, *init_containers) for known in container.volume_mounts
        )
        volumes = spec.volumes
        if is_mounted and existing is None:
            volumes = (*volumes, Volume(name=volume_name, projected=_PROJECTION))
        return replace(spec, containers=containers, init_containers=init_containers, volumes=volumes)


def _mounts_token(account: ServiceAccount, spec: PodSpec) -> bool:
    """What the pod says goes before what its service account says; without either it does."""
    for said in (spec.automount_service_account_token, account.automount_service_account_token):
        if said is not None:
            return said
    return True


def _check_secrets(request: AdmissionRequest, spec: PodSpec, account: ServiceAccount) -> None:
    """Hold pods to the secrets of their account, where its annotation says so (deprecated, and still obeyed)."""
    if account.metadata.annotations.get(_ENFORCE_ANNOTATION) not in _GO_TRUE:
        return
    name = account.metadata.name
    own = {secret.name for secret in account.secrets}
    for what, secret in _mounted(spec):
        if secret not in own:
            raise request.forbidden(
                f'{what} secret.secretName="{secret}" is not allowed because service account {name} '
                "does not reference that secret"
            )
    pulling = {secret.name for secret in account.image_pull_secrets}
    for index, pulled in enumerate(spec.image_pull_secrets):
        if pulled.name not in pulling:
            raise request.forbidden(
                f'imagePullSecrets[{index}].name="{pulled.name}" is not allowed because service account {name} '
                "does not reference that imagePullSecret"
            )


def _mounted(spec: PodSpec) -> Iterator[tuple[str, str]]:
    """What in a pod refers to a secret, and to which."""
    for volume in spec.volumes:
        if volume.secret is not None:
            yield "volume with", volume.secret.secret_name
    for title, containers in (("init container", spec.init_containers), ("container", spec.containers)):
        for container in containers:
            for variable in container.env:
                source = variable.value_from
                if source is not None and source.secret_key_ref is not None:
                    yield (
                        f"{title} {container.name} with envVar {variable.name} referencing",
                        source.secret_key_ref.name,
                    )
            for group in container.env_from:
                if group.secret_ref is not None:
                    yield f"{title} {container.name} with envFrom referencing", group.secret_ref.name


def _check_mirror(request: AdmissionRequest, spec: PodSpec) -> None:
    if spec.service_account_name:
        raise request.forbidden("a mirror pod may not reference service accounts")
    for container in (*spec.init_containers, *spec.containers):
        has_secret = any(group.secret_ref is not None for group in container.env_from) or any(
            variable.value_from is not None and variable.value_from.secret_key_ref is not None
            for variable in container.env
        )
        if has_secret:
            raise request.forbidden("a mirror pod may not reference secrets")
    for volume in spec.volumes:
        sources = volume.projected.sources if volume.projected is not None else ()
        if volume.secret is not None or any(source.secret is not None for source in sources):
            raise request.forbidden("a mirror pod may not reference secrets")
        if any(source.service_account_token is not None for source in sources):
            raise request.forbidden("a mirror pod may not use ServiceAccountToken volume projections")
