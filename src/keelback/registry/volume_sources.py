"""What the sources of volumes may say that pods and PersistentVolumes share, most of them of plugins of old."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from keelback.api.core_v1 import (
    AzureDiskVolumeSource,
    CSIPersistentVolumeSource,
    CSIVolumeSource,
    FCVolumeSource,
    FlockerVolumeSource,
    HostPathVolumeSource,
    NFSVolumeSource,
    QuobyteVolumeSource,
    SecretReference,
)
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid, not_supported, required, too_long
from keelback.registry import relative_paths

_HOST_PATH_TYPES: Final = (
    *("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"),
)
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "azure_file": ("secret_name", "share_name"),
    "cephfs": ("monitors",),
    "glusterfs": ("endpoints", "path"),
    "git_repo": ("repository",),
    "photon_persistent_disk": ("pd_id",),
    "portworx_volume": ("volume_id",),
    "rbd": ("monitors", "image"),
    "scale_io": ("gateway", "system", "volume_name"),
    "vsphere_volume": ("volume_path",),
    "cinder": ("volume_id",),
    "flex_volume": ("driver",),
    "storageos": ("volume_name",),
}
_WIRE: Final = {
    "pd_id": "pdID",
    "secret_name": "secretName",
    "share_name": "shareName",
    "volume_id": "volumeID",
    "volume_name": "volumeName",
    "volume_path": "volumePath",
}
_SOURCES: Final = {
    "aws_elastic_block_store": "awsElasticBlockStore",
    "azure_disk": "azureDisk",
    "azure_file": "azureFile",
    "flex_volume": "flexVolume",
    "gce_persistent_disk": "persistentDisk",
    "git_repo": "gitRepo",
    "host_path": "hostPath",
    "photon_persistent_disk": "photonPersistentDisk",
    "portworx_volume": "portworxVolume",
    "scale_io": "scaleIO",
    "vsphere_volume": "vsphereVolume",
}
_INITIATORS: Final = {
    "iqn": re.compile(r"iqn\.\d{4}-\d{2}\.([A-Za-z0-9\-.]+)(:[^,;*&$|\s]+)$").search,
    "eui": re.compile(r"^eui.[A-Za-z0-9]{16}$").search,
    "naa": re.compile(r"^naa.[A-Za-z0-9]{32}$").search,
}


def validate(attribute: str, source: Any, path: str) -> Iterator[FieldError]:
    """Everything wrong with a source; `path` is that of what holds it. The name is the attribute's, of a `Volume`."""
    here = f"{path}.{_SOURCES.get(attribute, attribute)}"
    for field in _NEEDED.get(attribute, ()):
        if not getattr(source, field):
            yield required(f"{here}.{_WIRE.get(field, field)}")
    rule = _RULES.get(attribute)
    if rule is not None:
        yield from rule(source, here)


def validate_iscsi_name(source: Any, name: str, path: str, shown: str) -> Iterator[FieldError]:
    """The complaint about a name too long for an initiator of its own."""
    if source.initiator_name is not None and len(f"{name}:{source.target_portal}") > 64:
        why = (
            "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is "
            "specified."
        )
        yield invalid(path, shown, why)


def validate_secret_reference(reference: SecretReference | None, path: str) -> Iterator[FieldError]:
    """Everything wrong with a reference of a PersistentVolume to a Secret."""
    if reference is None:
        return
    for field, value, complaints in (
        ("name", reference.name, names.dns1123_subdomain),
        ("namespace", reference.namespace, names.dns1123_label),
    ):
        if not value:
            yield required(f"{path}.{field}")
        else:
            for complaint in complaints(value):
                yield invalid(f"{path}.{field}", value, complaint)


def validate_driver(name: str, path: str) -> Iterator[FieldError]:
    """Everything wrong with the name of a CSI driver."""
    if not name:
        yield required(path)
        return
    if len(name.encode()) > 63:
        yield too_long(path, 63)
    for complaint in names.dns1123_subdomain(name.lower()):
        yield invalid(path, name, complaint)


def _host_path(source: HostPathVolumeSource, path: str) -> Iterator[FieldError]:
    if not source.path:
        yield required(f"{path}.path")
        return
    yield from relative_paths.without_backsteps(source.path, f"{path}.path")
    if source.type not in _HOST_PATH_TYPES:
        yield not_supported(f"{path}.type", source.type, _HOST_PATH_TYPES)


def _git_repo(source: Any, path: str) -> Iterator[FieldError]:
    yield from relative_paths.descending(source.directory, f"{path}.directory")


def _disk(name_field: str, wire: str) -> Callable[[Any, str], Iterator[FieldError]]:
    def rule(source: Any, path: str) -> Iterator[FieldError]:
        if not getattr(source, name_field):
            yield required(f"{path}.{wire}")
        if not 0 <= source.partition <= 255:
            yield invalid(f"{path}.partition", source.partition, names.inclusive_range_error(1, 255))

    return rule


def _nfs(source: NFSVolumeSource, path: str) -> Iterator[FieldError]:
    if not source.server:
        yield required(f"{path}.server")
    if not source.path:
        yield required(f"{path}.path")
    if not source.path.startswith("/"):
        yield invalid(f"{path}.path", source.path, "must be an absolute path")


def _iscsi(source: Any, path: str) -> Iterator[FieldError]:
    # Upstream says more of the prefix in pods than in PersistentVolumes.
    in_pod = type(source).__name__ == "ISCSIVolumeSource"
    prefix_error = "must be valid format starting with iqn, eui, or naa" if in_pod else "must be valid format"
    if not source.target_portal:
        yield required(f"{path}.targetPortal")
    if not source.iqn:
        yield required(f"{path}.iqn")
    else:
        yield from _initiator(source.iqn, f"{path}.iqn", prefix_error)
    if not 0 <= source.lun <= 255:
        yield invalid(f"{path}.lun", source.lun, names.inclusive_range_error(0, 255))
    if (source.chap_auth_discovery or source.chap_auth_session) and source.secret_ref is None:
        yield required(f"{path}.secretRef")
    if not in_pod and source.secret_ref is not None and not source.secret_ref.name:
        yield required(f"{path}.secretRef.name")
    if source.initiator_name is not None:
        yield from _initiator(source.initiator_name, f"{path}.initiatorname", prefix_error)


def _initiator(name: str, path: str, prefix_error: str) -> Iterator[FieldError]:
    matches = _INITIATORS.get(name[:3])
    if matches is None:
        yield invalid(path, name, prefix_error)
    elif not matches(name):
        yield invalid(path, name, "must be valid format")


def _fc(source: FCVolumeSource, path: str) -> Iterator[FieldError]:
    if not source.target_wwns and not source.wwids:
        yield required(f"{path}.targetWWNs", "must specify either targetWWNs or wwids, but not both")
    if source.target_wwns and source.wwids:
        why = "targetWWNs and wwids can not be specified simultaneously"
        yield invalid(f"{path}.targetWWNs", list(source.target_wwns), why)
    if source.target_wwns:
        if source.lun is None:
            yield required(f"{path}.lun", "lun is required if targetWWNs is specified")
        elif not 0 <= source.lun <= 255:
            yield invalid(f"{path}.lun", source.lun, names.inclusive_range_error(0, 255))


def _flocker(source: FlockerVolumeSource, path: str) -> Iterator[FieldError]:
    if not source.dataset_name and not source.dataset_uuid:
        yield required(path, "one of datasetName and datasetUUID is required")
    if source.dataset_name and source.dataset_uuid:
        yield invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously")
    if "/" in source.dataset_name:
        yield invalid(f"{path}.datasetName", source.dataset_name, "must not contain '/'")


def _quobyte(source: QuobyteVolumeSource, path: str) -> Iterator[FieldError]:
    pairs = "must be a host:port pair or multiple pairs separated by commas"
    if not source.registry:
        yield required(f"{path}.registry", pairs)
    elif len(source.tenant) >= 65:
        yield required(f"{path}.tenant", "must be a UUID and may not exceed a length of 64 characters")
    else:
        for pair in source.registry.split(","):
            if ":" not in pair:
                yield invalid(f"{path}.registry", source.registry, pairs)
    if not source.volume:
        yield required(f"{path}.volume")


def _flex_volume(source: Any, path: str) -> Iterator[FieldError]:
    for option in source.options:
        namespace = f".{option.partition('/')[0].lower()}"
        if namespace.endswith((".kubernetes.io", ".k8s.io")):
            yield invalid(f"{path}.options[{option}]", option, "kubernetes.io and k8s.io namespaces are reserved")


def _cinder(source: Any, path: str) -> Iterator[FieldError]:
    yield from _plain_reference(source.secret_ref, path)


def _azure_file(source: Any, path: str) -> Iterator[FieldError]:
    if getattr(source, "secret_namespace", None) == "":
        yield required(f"{path}.secretNamespace")


def _azure_disk(source: AzureDiskVolumeSource, path: str) -> Iterator[FieldError]:
    if not source.disk_name:
        yield required(f"{path}.diskName")
    if not source.disk_uri:
        yield required(f"{path}.diskURI")
    if source.caching_mode not in ("None", "ReadOnly", "ReadWrite"):
        yield not_supported(f"{path}.cachingMode", source.caching_mode, ("None", "ReadOnly", "ReadWrite"))
    if source.kind not in ("Dedicated", "Managed", "Shared"):
        yield not_supported(f"{path}.kind", source.kind, ("Dedicated", "Managed", "Shared"))
    managed = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
    blob = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
    start, form = ("/subscriptions/", managed) if source.kind == "Managed" else ("https://", blob)
    if not source.disk_uri.startswith(start):
        yield not_supported(f"{path}.diskURI", source.disk_uri, (form,))


def _storageos(source: Any, path: str) -> Iterator[FieldError]:
    for field, value in (("volumeName", source.volume_name), ("volumeNamespace", source.volume_namespace)):
        if value:
            for complaint in names.dns1123_label(value):
                yield invalid(f"{path}.{field}", value, complaint)
    yield from _plain_reference(source.secret_ref, path)


def _plain_reference(reference: Any, path: str) -> Iterator[FieldError]:
    if reference is not None:
        for field in ("name", "namespace"):
            if getattr(reference, field, None) == "":
                yield required(f"{path}.secretRef.{field}")


def _glusterfs(source: Any, path: str) -> Iterator[FieldError]:
    namespace = getattr(source, "endpoints_namespace", None)
    if namespace == "":
        why = "if the endpointnamespace is set, it must be a valid namespace name"
        yield invalid(f"{path}.endpointsNamespace", namespace, why)
    elif namespace is not None:
        for complaint in names.dns1123_label(namespace):
            yield invalid(f"{path}.endpointsNamespace", namespace, complaint)


def _csi(source: CSIVolumeSource | CSIPersistentVolumeSource, path: str) -> Iterator[FieldError]:
    yield from validate_driver(source.driver, f"{path}.driver")
    if isinstance(source, CSIPersistentVolumeSource):
        if not source.volume_handle:
            yield required(f"{path}.volumeHandle")
        for field, reference in (
            ("controllerPublishSecretRef", source.controller_publish_secret_ref),
            ("controllerExpandSecretRef", source.controller_expand_secret_ref),
            ("nodePublishSecretRef", source.node_publish_secret_ref),
            ("nodeExpandSecretRef", source.node_expand_secret_ref),
        ):
            yield from validate_secret_reference(reference, f"{path}.{field}")
    elif source.node_publish_secret_ref is not None:
        name = source.node_publish_secret_ref.name
        if not name:
            yield required(f"{path}.nodePublishSecretRef.name")
        else:
            for complaint in names.dns1123_subdomain(name):
                yield invalid(f"{path}.name", name, complaint)


def _local(source: Any, path: str) -> Iterator[FieldError]:
    if not source.path:
        yield required(f"{path}.path")
    else:
        yield from relative_paths.without_backsteps(source.path, f"{path}.path")


_RULES: Final[Mapping[str, Callable[[Any, str], Iterator[FieldError]]]] = {
    "aws_elastic_block_store": _disk("volume_id", "volumeID"),
    "azure_disk": _azure_disk,
    "azure_file": _azure_file,
    "cinder": _cinder,
    "csi": _csi,
    "fc": _fc,
    "flex_volume": _flex_volume,
    "flocker": _flocker,
    "gce_persistent_disk": _disk("pd_name", "pdName"),
    "git_repo": _git_repo,
    "glusterfs": _glusterfs,
    "host_path": _host_path,
    "iscsi": _iscsi,
    "local": _local,
    "nfs": _nfs,
    "quobyte": _quobyte,
    "storageos": _storageos,
}
