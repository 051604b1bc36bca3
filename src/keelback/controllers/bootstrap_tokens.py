"""The controllers of bootstrap tokens: one signs `cluster-info` with each, the other deletes those that have expired.

Whoever knows a token can check by the signature that the cluster's address and authority are what its holder says.
Both are off unless `--controllers` names them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import msgspec

from keelback.api.core_v1 import ConfigMap, Secret
from keelback.apimachinery import errors
from keelback.apimachinery.meta import replace
from keelback.client import Change
from keelback.controllers.observed import BOOTSTRAP_TOKEN, ConfigMapName, SecretType
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result, again_after

CLUSTER_INFO = ("kube-public", "cluster-info")
_NAMESPACE = "kube-system"
_NAME_PREFIX = "bootstrap-token-"
_KUBECONFIG = "kubeconfig"
_SIGNATURE_PREFIX = "jws-kubeconfig-"
_TOKEN_ID, _TOKEN_SECRET = re.compile("[a-z0-9]{6}"), re.compile("[a-z0-9]{16}")


def detached_signature(content: str, token_id: str, token_secret: str) -> str:
    """The JSON Web Signature (HS256) of the content without the content itself: two dots stand where it was."""
    header = _encoded(msgspec.json.encode({"alg": "HS256", "kid": token_id}))
    signed = f"{header}.{_encoded(content.encode())}".encode()
    return f"{header}..{_encoded(hmac.new(token_secret.encode(), signed, hashlib.sha256).digest())}"


def signed(config_map: ConfigMap, tokens: Mapping[str, str]) -> ConfigMap:
    """The ConfigMap with one signature by each token and no other; itself if nothing is to be said."""
    content = config_map.data.get(_KUBECONFIG)
    if content is None:
        return config_map
    data = {key: value for key, value in config_map.data.items() if not key.startswith(_SIGNATURE_PREFIX)}
    data |= {_SIGNATURE_PREFIX + id: detached_signature(content, id, secret) for id, secret in tokens.items()}
    return config_map if data == config_map.data else replace(config_map, data=data)


def signing_tokens(secrets: Iterable[Secret], now: datetime) -> dict[str, str]:
    """The tokens, by their public half, that may sign now."""
    found = {}
    for secret in secrets:
        id, token = _text(secret, "token-id"), _text(secret, "token-secret")
        is_named_so = secret.metadata.name == _NAME_PREFIX + id
        if not (is_named_so and _TOKEN_ID.fullmatch(id) and _TOKEN_SECRET.fullmatch(token)):
            continue
        if _text(secret, "usage-bootstrap-signing") == "true" and not is_expired(secret, now):
            found[id] = token
    return found


def is_expired(secret: Secret, now: datetime) -> bool:
    """Whether the token's time is up; one whose time cannot be read has none left."""
    if not _text(secret, "expiration"):
        return False
    when = expiration(secret)
    return when is None or when <= now


def expiration(secret: Secret) -> datetime | None:
    """When the token ends; None where it does not, or does not say so in a way that can be read."""
    text = _text(secret, "expiration")
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return when if when.tzinfo is not None else None


@dataclass(frozen=True, slots=True)
class BootstrapSignerReconciler:
    """Signs again when the ConfigMap or a token changes, or a token ends."""

    context: Context
    name: ClassVar = "bootstrap-signer-controller"
    role: ClassVar = "bootstrap-signer"
    component: ClassVar = "bootstrap-signer"
    kind: ClassVar = ConfigMapName
    owns: ClassVar = ()
    reads: ClassVar = (SecretType,)

    def sources(self) -> Sequence[Source]:
        return (Source(SecretType, lambda secret: [CLUSTER_INFO] if _is_token(secret) else []),)

    def is_relevant(self, change: Change[Any]) -> bool:
        metadata = change.object.metadata
        return (metadata.namespace, metadata.name) == CLUSTER_INFO

    async def reconcile(self, held: ConfigMapName) -> Result:
        client = self.context.client
        try:
            config_map = await client.get(ConfigMap, held.metadata.name, held.metadata.namespace)
        except errors.NotFound:
            return DONE
        selector = f"type={BOOTSTRAP_TOKEN}"
        secrets = (await client.list(Secret, _NAMESPACE, field_selector=selector)).items
        now = self.context.now()
        wanted = signed(config_map, signing_tokens(secrets, now))
        if wanted is not config_map:
            await client.update(wanted)
        ends = [when for one in secrets if (when := expiration(one)) is not None and when > now]
        return again_after((min(ends) - now).total_seconds()) if ends else DONE


@dataclass(frozen=True, slots=True)
class TokenCleanerReconciler:
    """Deletes each token when its time is up."""

    context: Context
    name: ClassVar = "token-cleaner-controller"
    role: ClassVar = "token-cleaner"
    component: ClassVar = "token-cleaner"
    kind: ClassVar = SecretType
    owns: ClassVar = ()

    def is_relevant(self, change: Change[Any]) -> bool:
        return _is_token(change.object)

    async def reconcile(self, held: SecretType) -> Result:
        metadata = held.metadata
        if not _is_token(held) or metadata.deletion_timestamp is not None:
            return DONE
        try:
            secret = await self.context.client.get(Secret, metadata.name, metadata.namespace)
        except errors.NotFound:
            return DONE
        now = self.context.now()
        if is_expired(secret, now):
            await self.context.client.delete(Secret, metadata.name, metadata.namespace, uid=secret.metadata.uid)
            return DONE
        when = expiration(secret)
        return DONE if when is None else again_after((when - now).total_seconds())


def _is_token(secret: SecretType) -> bool:
    return secret.type == BOOTSTRAP_TOKEN and secret.metadata.namespace == _NAMESPACE


def _text(secret: Secret, key: str) -> str:
    return secret.data.get(key, b"").decode("utf-8", "replace")


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
