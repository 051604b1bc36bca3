"""Objects as messages quote them: upstream prints its internal types, whose fields bear their Go names, and no field is
left out. What differs between two of them is shown as a unified diff of that print (apimachinery's util/diff).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from keelback.api.core_v1 import Container, PodSecurityContext, PodSpec, PodTemplateSpec, SecurityContext
from keelback.api.resource_v1 import ResourceClaimTemplateSpec
from keelback.apimachinery.meta import LabelSelector, ObjectMeta, Value

_ACRONYMS: Final = {
    "apiGroup": "APIGroup",
    "apiVersion": "APIVersion",
    "awsElasticBlockStore": "AWSElasticBlockStore",
    "cephfs": "CephFS",
    "cidr": "CIDR",
    "cidrs": "CIDRs",
    "csi": "CSI",
    "dnsConfig": "DNSConfig",
    "dnsPolicy": "DNSPolicy",
    "fc": "FC",
    "fsGroup": "FSGroup",
    "fsGroupChangePolicy": "FSGroupChangePolicy",
    "fsType": "FSType",
    "gcePersistentDisk": "GCEPersistentDisk",
    "gmsaCredentialSpec": "GMSACredentialSpec",
    "gmsaCredentialSpecName": "GMSACredentialSpecName",
    "grpc": "GRPC",
    "httpGet": "HTTPGet",
    "httpHeaders": "HTTPHeaders",
    "ip": "IP",
    "iqn": "IQN",
    "iscsi": "ISCSI",
    "nfs": "NFS",
    "os": "OS",
    "pdName": "PDName",
    "rbd": "RBD",
    "seLinuxChangePolicy": "SELinuxChangePolicy",
    "seLinuxOptions": "SELinuxOptions",
    "storageos": "StorageOS",
    "tcpSocket": "TCPSocket",
    "tty": "TTY",
    "uid": "UID",
    "wwids": "WWIDs",
}
_ORDERS: Final[dict[type, tuple[str, ...]]] = {
    PodSpec: (
        *("volumes", "initContainers", "containers", "ephemeralContainers", "restartPolicy"),
        *("terminationGracePeriodSeconds", "activeDeadlineSeconds", "dnsPolicy", "nodeSelector", "serviceAccountName"),
        *("automountServiceAccountToken", "nodeName", "securityContext", "imagePullSecrets", "hostname", "subdomain"),
        *("setHostnameAsFQDN", "affinity", "schedulerName", "tolerations", "hostAliases", "priorityClassName"),
        *("priority", "preemptionPolicy", "dnsConfig", "readinessGates", "runtimeClassName", "overhead"),
        *("enableServiceLinks", "topologySpreadConstraints", "os", "schedulingGates", "resourceClaims", "resources"),
        *("hostnameOverride", "schedulingGroup"),
    ),
    Container: (
        *("name", "image", "command", "args", "workingDir", "ports", "envFrom", "env", "resources", "resizePolicy"),
        *("restartPolicy", "restartPolicyRules", "volumeMounts", "volumeDevices", "livenessProbe", "readinessProbe"),
        *("startupProbe", "lifecycle", "terminationMessagePath", "terminationMessagePolicy", "imagePullPolicy"),
        *("securityContext", "stdin", "stdinOnce", "tty"),
    ),
    PodSecurityContext: (
        *("seLinuxOptions", "windowsOptions", "runAsUser", "runAsGroup", "runAsNonRoot", "supplementalGroups"),
        *("supplementalGroupsPolicy", "fsGroup", "fsGroupChangePolicy", "sysctls", "seccompProfile"),
        *("appArmorProfile", "seLinuxChangePolicy"),
    ),
    SecurityContext: (
        *("capabilities", "privileged", "seLinuxOptions", "windowsOptions", "runAsUser", "runAsGroup", "runAsNonRoot"),
        *("readOnlyRootFilesystem", "allowPrivilegeEscalation", "procMount", "seccompProfile", "appArmorProfile"),
    ),
}
_OF_THE_HOST: Final = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")
"""What the internal PodSpec keeps in its security context."""
_MAX_LINES: Final = 4_000
"""Past this, comparing would hold up everybody (for some 50 ms) for the sake of a message."""


def internal(value: Any) -> Any:
    """A value as a tree that prints as upstream prints its internal counterpart."""
    match value:
        case PodTemplateSpec() | ResourceClaimTemplateSpec():
            return {**_wire(value.metadata or ObjectMeta()), "Spec": internal(value.spec)}
        case ObjectMeta() | LabelSelector():
            return _wire(value)
        case PodSpec():
            return _pod_spec(value)
        case Value():
            return {_go_name(name): internal(field) for name, field in _fields(value)}
        case tuple() | list():
            return [internal(one) for one in value] or None
        case Mapping():
            return {key: internal(value[key]) for key in sorted(value)} or None
        case datetime():
            return value.strftime("%Y-%m-%dT%H:%M:%SZ")
        case _:
            return value


def difference(old: Any, new: Any) -> str:
    """How the second value differs from the first, three lines of context around each change."""
    before, after = _lines(old), _lines(new)
    if len(before) + len(after) > _MAX_LINES:
        return ""
    # Few servers ever say what has changed.
    import difflib

    lines = difflib.unified_diff(before, after, n=3, lineterm="\n")
    # Without names of files there is no header.
    return "".join(list(lines)[2:])


def _lines(value: Any) -> list[str]:
    text = json.dumps(internal(value), indent=1, ensure_ascii=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return [f"{line}\n" for line in text.split("\n")]


def _pod_spec(spec: PodSpec) -> dict[str, Any]:
    tree = {_go_name(name): internal(field) for name, field in _fields(spec) if name not in _OF_THE_HOST}
    wire = {one.encode_name: getattr(spec, one.name) for one in msgspec.structs.fields(spec)}
    tree["SecurityContext"] = {**{_go_name(name): wire[name] for name in _OF_THE_HOST}, **tree["SecurityContext"]}
    return tree


def _fields(value: Value) -> Iterator[tuple[str, Any]]:
    """The fields by wire name, in the order in which upstream declares them."""
    for name, attribute in _ordered(type(value)):
        yield name, getattr(value, attribute)


@lru_cache(maxsize=512)
def _ordered(cls: type) -> tuple[tuple[str, str], ...]:
    attributes = {one.encode_name: one.name for one in msgspec.structs.fields(cls)}
    order = _ORDERS.get(cls) or tuple(_in_order_of_numbers(_message(cls)))
    known = [name for name in order if name in attributes]
    rest = [] if cls in _ORDERS else [name for name in attributes if name not in known]
    return tuple((name, attributes[name]) for name in (*known, *rest))


def _message(cls: type) -> str:
    group, _, version = cls.__module__.rpartition(".")[2].rpartition("_")
    return f"{group}.{version}.{cls.__name__}"


def _in_order_of_numbers(message: str) -> Iterator[str]:
    for row in _messages().get(message, ()):
        _, name, kind = row.split(" ", 2)
        if kind.startswith("="):
            yield from _in_order_of_numbers(kind[1:])
        else:
            yield name


@lru_cache(maxsize=1)
def _messages() -> dict[str, list[str]]:
    text = files("keelback.apimachinery").joinpath("protobuf_fields.json").read_bytes()
    messages: dict[str, list[str]] = msgspec.json.decode(text)
    return messages


def _wire(value: Value) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(msgspec.json.encode(value))
    return tree


def _go_name(name: str) -> str:
    return _ACRONYMS.get(name) or name[:1].upper() + name[1:]
