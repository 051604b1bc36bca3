"""The configuration files of kubelet and kube-proxy: their fields are flags by other names. Read strictly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from keelback.apimachinery import yaml
from keelback.component import flags
from keelback.component.flags import FlagError

Options = TypeVar("Options")


@dataclass(frozen=True, slots=True)
class _Form:
    api_version: str
    kind: str
    fields: Mapping[str, str]
    """The flag of each field that can be followed; a field within another is written `outer.inner`."""
    fixed: Mapping[str, str]
    """Fields that are only what they are anyway."""


_KUBELET: Final = _Form(
    "kubelet.config.k8s.io/v1beta1",
    "KubeletConfiguration",
    {
        "address": "address",
        "authentication.x509.clientCAFile": "client-ca-file",
        "cgroupRoot": "cgroup-root",
        "clusterDNS": "cluster-dns",
        "clusterDomain": "cluster-domain",
        "containerRuntimeEndpoint": "container-runtime-endpoint",
        "featureGates": "feature-gates",
        "imageGCHighThresholdPercent": "image-gc-high-threshold",
        "imageGCLowThresholdPercent": "image-gc-low-threshold",
        "maxPods": "max-pods",
        "nodeStatusUpdateFrequency": "node-status-update-frequency",
        "podCIDR": "pod-cidr",
        "podsPerCore": "pods-per-core",
        "port": "port",
        "resolvConf": "resolv-conf",
        "staticPodPath": "pod-manifest-path",
        "systemReserved": "system-reserved",
        "tlsCertFile": "tls-cert-file",
        "tlsPrivateKeyFile": "tls-private-key-file",
    },
    {
        "authentication.anonymous.enabled": "false",
        "authentication.webhook.enabled": "true",
        "authorization.mode": "Webhook",
        "failSwapOn": "false",
        "readOnlyPort": "0",
    },
)
_PROXY: Final = _Form(
    "kubeproxy.config.k8s.io/v1alpha1",
    "KubeProxyConfiguration",
    {
        "clientConnection.kubeconfig": "kubeconfig",
        "clusterCIDR": "cluster-cidr",
        "featureGates": "feature-gates",
        "hostnameOverride": "hostname-override",
    },
    {"mode": "nftables"},
)
_FORMS: Final = {"kubelet": _KUBELET, "proxy": _PROXY, "kube-proxy": _PROXY}


def parse(component: str, options: type[Options], arguments: Sequence[str]) -> Options:
    """As `flags.parse`, with what the file that `--config` names says where the flags are silent. Raises FlagError."""
    given = flags.parse(options, arguments)
    form, path = _FORMS.get(component), getattr(given, "config", "")
    if form is None or not path:
        return given
    said = {argument[2:].partition("=")[0].replace("_", "-") for argument in arguments}
    known = {flag.name for flag in flags.flags_of(options)}
    try:
        lines = list(_flags(form, Path(path).read_text(), known))
    except (OSError, ValueError) as error:
        raise FlagError(f"--config {path}: {error}") from error
    return flags.parse(options, [*(f"--{name}={value}" for name, value in lines if name not in said), *arguments])


def _flags(form: _Form, text: str, known: set[str]) -> Iterator[tuple[str, str]]:
    """Each flag that the file stands for. Raises ValueError for what it cannot say."""
    try:
        tree, repeated = yaml.load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    if repeated:
        raise ValueError(repeated[0])
    found = (tree.get("apiVersion"), tree.get("kind")) if isinstance(tree, dict) else (None, None)
    if found != (form.api_version, form.kind):
        raise ValueError(f"{found[0]} {found[1]} is not {form.api_version} {form.kind}")
    fields = {path: flag for path, flag in form.fields.items() if flag in known}
    outer = {path.rpartition(".")[0] for path in (*fields, *form.fixed)}
    outer |= {one.rpartition(".")[0] for one in outer}
    rest = {name: value for name, value in tree.items() if name not in ("apiVersion", "kind")}
    for path, value in _leaves(rest, "", outer):
        if (fixed := form.fixed.get(path)) is not None:
            if _text(value) != fixed:
                raise ValueError(f"{path} can only be {fixed} here, not {_text(value)}")
        elif path not in fields:
            raise ValueError(f"{path} cannot be set here; these can: {', '.join(sorted(fields))}")
        else:
            yield fields[path], _text(value)


def _leaves(tree: Mapping[str, Any], above: str, outer: set[str]) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        path = f"{above}.{name}" if above else name
        if path in outer and isinstance(value, Mapping):
            yield from _leaves(value, path, outer)
        else:
            yield path, value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ",".join(f"{name}={_text(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return str(value)
