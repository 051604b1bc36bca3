"""Schedulers' extenders: other programs that are asked over HTTP about nodes, scores, victims and bindings.

The forms are those of k8s.io/kube-scheduler/extender/v1: names as Go has them where it sends, any case where it reads.
"""

from __future__ import annotations

import base64
import binascii
import ssl
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from keelback.client.https import HTTPSTransport, client_context
from keelback.component import flags
from keelback.component.http import Request
from keelback.concurrency.clock import Clock
from keelback.scheduler.configuration_types import ConfigurationError, ExtenderConfiguration, ExtenderTLS
from keelback.scheduling.framework import MAX_NODE_SCORE
from keelback.scheduling.pod_to_place import PodToPlace

MAX_EXTENDER_PRIORITY: Final = 10
NAME: Final = "Extender"
"""Who rejects a pod, in the queue, that extenders left no node."""
_DEFAULT_SECONDS: Final = 5.0
_TOO_LATE: Final = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"


class ExtenderError(Exception):
    """An extender did not answer, or not what was asked."""


@dataclass(frozen=True, slots=True)
class Filtered:
    """What an extender says of nodes, by name; the second and third with its reasons."""

    fitting: tuple[str, ...]
    failed: Mapping[str, str]
    unresolvable: Mapping[str, str]
    """Of these preemption would change nothing."""


@dataclass(frozen=True, slots=True)
class Victims:
    """Who would go from a node: uids, and how many of them a disruption budget protects."""

    uids: tuple[str, ...]
    violations: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A pod and the nodes in question: complete objects, encoded, for extenders that keep none themselves."""

    pod: bytes
    names: tuple[str, ...]
    nodes: Mapping[str, bytes]
    """By name; empty where the extender needs none."""


class Extender:
    """One extender. Every question has a deadline; what cannot be answered raises ExtenderError."""

    def __init__(self, config: ExtenderConfiguration, clock: Clock) -> None:
        self._config = config
        self._url = config.url_prefix.rstrip("/")
        self._managed = frozenset(one.name for one in config.managed_resources)
        self._seconds = timeout_seconds(config)
        tls = config.tls_config
        self._transport = HTTPSTransport(
            self._url,
            tls_context(config) if self._url.startswith("https:") else None,
            server_name=tls.server_name or None if tls is not None else None,
            clock=clock,
        )

    @property
    def name(self) -> str:
        return self._config.url_prefix

    @property
    def is_ignorable(self) -> bool:
        """Whether pods are placed without it while it fails."""
        return self._config.ignorable

    @property
    def keeps_nodes(self) -> bool:
        """Whether names are enough for it."""
        return self._config.node_cache_capable

    @property
    def filters(self) -> bool:
        return bool(self._config.filter_verb)

    @property
    def prioritizes(self) -> bool:
        return bool(self._config.prioritize_verb)

    @property
    def preempts(self) -> bool:
        return bool(self._config.preempt_verb)

    @property
    def binds(self) -> bool:
        return bool(self._config.bind_verb)

    def is_interested(self, pod: PodToPlace) -> bool:
        """Whether the pod asks for a resource that it manages; one that manages none is interested in all pods."""
        if not self._managed:
            return True
        containers = (*pod.spec.containers, *pod.spec.init_containers)
        return any(not self._managed.isdisjoint((*one.resources.requests, *one.resources.limits)) for one in containers)

    async def filter(self, asked: Asked) -> Filtered:
        """Which of the nodes take the pod."""
        result = _folded(await self._send(self._config.filter_verb, self._arguments(asked)))
        if result.get("error"):
            raise ExtenderError(str(result["error"]))
        failed, unresolvable = (
            {str(name): str(why) for name, why in (result.get(key) or {}).items()}
            for key in ("failednodes", "failedandunresolvablenodes")
        )
        return Filtered(self._fitting(result, asked), failed, unresolvable)

    async def prioritize(self, asked: Asked) -> dict[str, int]:
        """What it adds to the score of each node: its priorities from 0 to 10, on the scale of plugins, weighted."""
        answer = await self._send(self._config.prioritize_verb, self._arguments(asked))
        scale = self._config.weight * (MAX_NODE_SCORE // MAX_EXTENDER_PRIORITY)
        found: dict[str, int] = {}
        for one in map(_folded, answer or ()):
            score = one.get("score", 0)
            if not isinstance(score, int):
                raise ExtenderError(f"extender {self.name} gave {one.get('host')} the score {score!r}")
            found[str(one.get("host", ""))] = score * scale
        return found

    async def preempt(
        self, pod: bytes, victims: Mapping[str, Victims], pods: Mapping[str, bytes]
    ) -> dict[str, Victims]:
        """Of the nodes on which room can be made those that it agrees with, and who is to go there.

        `pods` has the victims by uid, for an extender that keeps none itself.
        """
        arguments: dict[str, Any] = {
            "Pod": msgspec.Raw(pod),
            "NodeNameToVictims": None,
            "NodeNameToMetaVictims": None,
        }
        key = "NodeNameToMetaVictims" if self.keeps_nodes else "NodeNameToVictims"
        arguments[key] = {
            node: {
                "Pods": [{"UID": uid} if self.keeps_nodes else msgspec.Raw(pods[uid]) for uid in one.uids],
                "NumPDBViolations": one.violations,
            }
            for node, one in victims.items()
        }
        result = _folded(await self._send(self._config.preempt_verb, arguments))
        agreed = {}
        for node, one in (result.get("nodenametometavictims") or {}).items():
            fields = _folded(one)
            uids = tuple(str(_folded(each).get("uid", "")) for each in fields.get("pods") or ())
            agreed[str(node)] = Victims(uids, int(fields.get("numpdbviolations", 0)))
        return agreed

    async def bind(self, pod: PodToPlace, node_name: str) -> None:
        """Have it bind the pod."""
        metadata = pod.metadata
        arguments = {
            "PodName": metadata.name,
            "PodNamespace": metadata.namespace,
            "PodUID": metadata.uid,
            "Node": node_name,
        }
        result = _folded(await self._send(self._config.bind_verb, arguments))
        if result.get("error"):
            raise ExtenderError(str(result["error"]))

    async def close(self) -> None:
        """Give up its connections."""
        await self._transport.close()

    def _arguments(self, asked: Asked) -> dict[str, Any]:
        if self.keeps_nodes:
            return {"Pod": msgspec.Raw(asked.pod), "Nodes": None, "NodeNames": asked.names}
        items = [msgspec.Raw(asked.nodes[name]) for name in asked.names]
        return {"Pod": msgspec.Raw(asked.pod), "Nodes": {"metadata": {}, "items": items}, "NodeNames": None}

    def _fitting(self, result: Mapping[str, Any], asked: Asked) -> tuple[str, ...]:
        known = set(asked.names)
        if self.keeps_nodes and result.get("nodenames") is not None:
            names = tuple(map(str, result["nodenames"]))
        elif result.get("nodes") is not None:
            items = _folded(result["nodes"]).get("items") or ()
            names = tuple(str(one.get("metadata", {}).get("name", "")) for one in items)
        else:
            names = ()
        for name in names:
            if name not in known:
                raise ExtenderError(
                    f'extender "{self.name}" claims a filtered node "{name}" which is not found in the input node list'
                )
        return names

    async def _send(self, verb: str, arguments: Any) -> Any:
        url = f"{self._url}/{verb}"
        request = Request(
            "POST",
            f"/{verb}",
            headers={"content-type": "application/json"},
            body=msgspec.json.encode(arguments),
        )
        try:
            response = await self._transport.send(request, timeout_seconds=self._seconds)
        except TimeoutError as error:
            raise ExtenderError(f'Post "{url}": {_TOO_LATE}') from error
        except OSError as error:
            raise ExtenderError(f'Post "{url}": {error}') from error
        if response.status != 200:
            raise ExtenderError(f"failed {verb} with extender at URL {url}, code {response.status}")
        try:
            return msgspec.json.decode(response.content())
        except msgspec.DecodeError as error:
            raise ExtenderError(f"the answer of extender {url} cannot be read: {error}") from error


def timeout_seconds(config: ExtenderConfiguration) -> float:
    """How long one question may take. Raises ValueError for what is no duration."""
    return flags.parse_duration(config.http_timeout) or _DEFAULT_SECONDS


def tls_context(config: ExtenderConfiguration) -> ssl.SSLContext:
    """As upstream makes it: without an authority, an extender with `enableHTTPS` is not verified.

    Raises ConfigurationError for certificates that cannot be used.
    """
    tls = config.tls_config or ExtenderTLS()
    try:
        authority = _data(tls.ca_data) or (Path(tls.ca_file).read_bytes() if tls.ca_file else b"")
        certificate = _data(tls.cert_data) or (Path(tls.cert_file).read_bytes() if tls.cert_file else b"")
        key = _data(tls.key_data) or (Path(tls.key_file).read_bytes() if tls.key_file else b"")
        if authority and tls.insecure:
            raise ConfigurationError("specifying a root certificates file with the insecure flag is not allowed")
        insecure = tls.insecure or (config.enable_https and not authority)
        context = client_context(authority.decode() if authority else None, insecure=insecure)
        if certificate:
            # The ssl module reads certificates from files only; these last for the call and nobody else may read them.
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "client.pem"
                path.touch(mode=0o600)
                path.write_bytes(certificate + b"\n" + key)
                context.load_cert_chain(path)
    except (OSError, binascii.Error, UnicodeDecodeError) as error:
        raise ConfigurationError(f"a certificate or key cannot be used: {error}") from error
    return context


def check(config: ExtenderConfiguration, path: str) -> None:
    """Raises ConfigurationError, in upstream's words where it has them."""
    if urlsplit(config.url_prefix).scheme not in ("http", "https"):
        raise ConfigurationError(f"{path}.urlPrefix: {config.url_prefix!r} is no http or https URL")
    if config.prioritize_verb and config.weight <= 0:
        raise ConfigurationError(f"{path}.weight: must have a positive weight applied to it")
    try:
        if timeout_seconds(config) < 0:
            raise ConfigurationError(f"{path}.httpTimeout: {config.http_timeout} is less than nothing")
        tls_context(config)
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    names = [one.name for one in config.managed_resources]
    for number, name in enumerate(names):
        where = f"{path}.managedResources[{number}].name"
        if "/" not in name or name.split("/")[0].endswith("kubernetes.io"):
            raise ConfigurationError(f"{where}: {name!r} is an invalid extended resource name")
        if name in names[:number]:
            raise ConfigurationError(f"{where}: duplicate extender managed resource name {name!r}")


def check_all(configs: Iterable[ExtenderConfiguration]) -> None:
    """As `check`, of each and of all together."""
    binders = 0
    for number, config in enumerate(configs):
        check(config, f"extenders[{number}]")
        binders += bool(config.bind_verb)
    if binders > 1:
        raise ConfigurationError(f"extenders: found {binders} extenders implementing bind: only one extender can")


def _data(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _folded(tree: Any) -> dict[str, Any]:
    # Go reads JSON without regard to case, and extenders in other languages rely on it.
    if not isinstance(tree, dict):
        if tree is None:
            return {}
        raise ExtenderError(f"an extender answered {tree!r}, which is no object")
    return {str(key).lower(): value for key, value in tree.items()}
