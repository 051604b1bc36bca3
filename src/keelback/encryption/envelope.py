"""Values encrypted under keys that a KMS plugin encrypts (KMS v2, KEP-3299).

One seed is made when the server starts, and anew whenever the plugin says that its key is another. Each value has a key
of its own, derived from the seed; beside it the seed is stored, encrypted by the plugin. So the plugin is asked once
for each seed, not once for each value.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any

from google.protobuf.message import DecodeError

from keelback.apimachinery import names
from keelback.apimachinery.go_text import aggregate, go_quoted
from keelback.apimachinery.uids import random_uid
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.encryption._proto import kms_pb2 as pb
from keelback.encryption.ciphers import GCM, SEED_BYTES, CannotTransform, Cipher, SeededGCM
from keelback.encryption.kms_client import KMSClient, KMSError
from keelback.encryption.metrics import EncryptionMetrics, key_hash
from keelback.encryption.providers import KeyNeeded, Opened

HEALTHY_SECONDS = 60.0
UNHEALTHY_SECONDS = 10.0
"""How often a plugin is asked how it is and which key it uses."""
_SEED_LIFE_SECONDS = 180.0
"""How long a plugin may be silent before nothing is encrypted any more under what it said last."""
_FORGOTTEN_SECONDS = 86_400.0
_REFUSED_SECONDS = 1.0
"""For how long a key that the plugin did not give is not asked for again."""
_MAX_KEY_ID = 1024
_MAX_SOURCE = 1024
_MAX_ANNOTATIONS = 32 * 1024
_VERSIONS = ("v2", "v2beta1")
_log = logger("kms")


@dataclass(frozen=True, slots=True)
class _Seed:
    """What values are encrypted under, until `expires`."""

    cipher: SeededGCM
    key_id: str
    encrypted: bytes
    annotations: Mapping[str, bytes]
    expires: float


class SeedNeeded(KeyNeeded):
    """A value was encrypted under a seed that the plugin must decrypt."""

    def __init__(self, envelope: Envelope, message: Any, known_as: bytes) -> None:
        super().__init__("the key of the value is not known yet")
        self._envelope = envelope
        self._message = message
        self._known_as = known_as

    async def fetch(self) -> None:
        await self._envelope.learn(self._message, self._known_as)


class Envelope:
    """One plugin as a provider. `poll` again and again; nothing can be encrypted before the first time."""

    def __init__(self, client: KMSClient, clock: Clock, chance: random.Random, metrics: EncryptionMetrics) -> None:
        self.client = client
        self.prefix = f"k8s:enc:kms:v2:{client.name}:".encode()
        self._clock = clock
        self._chance = chance
        self._metrics = metrics
        self._seed: _Seed | None = None
        self._known: dict[bytes, tuple[Cipher, float]] = {}
        self._refused: dict[bytes, tuple[str, float]] = {}
        self._problem = "the plugin was not asked yet"

    @property
    def has_key(self) -> bool:
        """Whether values can be encrypted."""
        return self._seed is not None

    # Values.

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        seed = self._seed
        if seed is None:
            raise CannotTransform(f"got unexpected nil transformer: {self._problem}")
        if (late := self._clock.monotonic() - seed.expires) > 0:
            now = self._clock.now()
            raise CannotTransform(
                f"encryptedDEKSource with keyID hash {go_quoted(key_hash(seed.key_id))} expired at "
                f"{now - timedelta(seconds=late):%Y-%m-%dT%H:%M:%SZ} (current time is {now:%Y-%m-%dT%H:%M:%SZ})"
            )
        self._metrics.key_used("to_storage", self.client.name, seed.key_id)
        message = pb.EncryptedObject(
            encrypted_data=seed.cipher.encrypt(plain, context),
            key_id=seed.key_id,
            encrypted_dek_source=seed.encrypted,
            annotations=seed.annotations,
            encrypted_dek_source_type=pb.HKDF_SHA256_XNONCE_AES_GCM_SEED,
        )
        return bytes(message.SerializeToString())

    def decrypt(self, data: bytes, context: bytes) -> Opened:
        try:
            message = pb.EncryptedObject.FromString(data)
        except DecodeError as error:
            raise CannotTransform(str(error)) from error
        _check(message)
        known_as = _known_as(message)
        known = self._known.get(known_as)
        if known is None:
            raise SeedNeeded(self, message, known_as)
        self._known[known_as] = known[0], self._clock.monotonic()
        plain = known[0].decrypt(message.encrypted_data, context)
        self._metrics.key_used("from_storage", self.client.name, message.key_id)
        seed = self._seed
        is_seeded = message.encrypted_dek_source_type == pb.HKDF_SHA256_XNONCE_AES_GCM_SEED
        return Opened(plain, is_stale=seed is not None and (message.key_id != seed.key_id or not is_seeded))

    async def learn(self, message: Any, known_as: bytes) -> None:
        """Have the plugin decrypt the key of a value. Raises CannotTransform."""
        now = self._clock.monotonic()
        refused = self._refused.get(known_as)
        if refused is not None and now < refused[1]:
            raise CannotTransform(refused[0])
        self._metrics.cache_misses.inc()
        try:
            key = await self.client.decrypt(
                message.encrypted_dek_source, self._uid(), message.key_id, dict(message.annotations)
            )
            is_seeded = message.encrypted_dek_source_type == pb.HKDF_SHA256_XNONCE_AES_GCM_SEED
            cipher: Cipher = SeededGCM(key) if is_seeded else GCM(key)
        except (KMSError, ValueError) as error:
            # One plugin that is away must not be waited for by each of many values.
            why = f"failed to decrypt DEK, error: {error}"
            self._refused = {one: kept for one, kept in self._refused.items() if kept[1] > now}
            self._refused[known_as] = why, self._clock.monotonic() + _REFUSED_SECONDS
            raise CannotTransform(why) from error
        self._remember(known_as, cipher)

    # The plugin.

    async def poll(self) -> float:
        """Ask the plugin how it is, follow it to another key, and say in how many seconds to ask again."""
        try:
            status = await self._status()
            await self._follow(status.key_id)
        except (KMSError, CannotTransform) as error:
            self._problem = str(error)
            _log.error("A KMS plugin is not well", provider=self.client.name, error=str(error))
            return UNHEALTHY_SECONDS
        self._problem = ""
        return HEALTHY_SECONDS * (1 + 0.1 * self._chance.random())

    async def problem(self) -> str:
        """What is wrong with the plugin now; empty where nothing is."""
        try:
            status = await self._status()
        except KMSError as error:
            return str(error)
        if self._seed is None or (self._problem and status.key_id != self._seed.key_id):
            return self._problem
        return ""

    async def _status(self) -> Any:
        name = self.client.name
        try:
            status = await self.client.status()
        except KMSError as error:
            raise KMSError(
                f"failed to perform status section of the healthz check for KMS Provider {name}, error: {error}"
            ) from error
        problems = []
        if status.healthz != "ok":
            problems.append(f"got unexpected healthz status: {status.healthz}")
        if status.version not in _VERSIONS:
            problems.append(f"expected KMSv2 API version v2, got {status.version}")
        if why := _key_id_problem(status.key_id):
            self._metrics.key_is_invalid(name, "empty" if not status.key_id else "too_long")
            problems.append(f"expected KMSv2 KeyID to be set, got {status.key_id}: {why}")
        if problems:
            raise KMSError(f"kmsv2 Provider {name} is not healthy, error: {aggregate(problems)}")
        self._metrics.key_is_current(name, status.key_id)
        return status

    async def _follow(self, key_id: str) -> None:
        """Go on with the seed there is while the key is the same, else make another."""
        seed = self._seed
        expires = self._clock.monotonic() + _SEED_LIFE_SECONDS
        if seed is not None and seed.key_id == key_id:
            self._seed = _Seed(seed.cipher, key_id, seed.encrypted, seed.annotations, expires)
            return
        secret = os.urandom(SEED_BYTES)
        answer = await self.client.encrypt(secret, self._uid())
        message = pb.EncryptedObject(
            encrypted_data=b"\0",
            key_id=answer.key_id,
            encrypted_dek_source=answer.ciphertext,
            annotations=answer.annotations,
            encrypted_dek_source_type=pb.HKDF_SHA256_XNONCE_AES_GCM_SEED,
        )
        _check(message)
        cipher = SeededGCM(secret)
        self._seed = _Seed(cipher, answer.key_id, answer.ciphertext, dict(answer.annotations), expires)
        self._remember(_known_as(message), cipher)
        _log.info("Values are encrypted under a new key", provider=self.client.name, key=key_hash(answer.key_id))

    def _remember(self, known_as: bytes, cipher: Cipher) -> None:
        now = self._clock.monotonic()
        self._known = {one: kept for one, kept in self._known.items() if now - kept[1] < _FORGOTTEN_SECONDS}
        self._known[known_as] = cipher, now
        self._metrics.cached(self.client.name, len(self._known))

    def _uid(self) -> str:
        return random_uid(self._chance)


def _known_as(message: Any) -> bytes:
    """What a seed is remembered by: all that the plugin would be told of it."""
    told = sha256()
    parts = [str(message.encrypted_dek_source_type).encode(), message.encrypted_dek_source, message.key_id.encode()]
    for key, value in sorted(message.annotations.items()):
        parts += [key.encode(), value]
    for part in parts:
        told.update(len(part).to_bytes(4) + part)
    return told.digest()


def _check(message: Any) -> None:
    """Raises CannotTransform for what no plugin may say and no server has stored."""
    kind = message.encrypted_dek_source_type
    if kind not in (pb.AES_GCM_KEY, pb.HKDF_SHA256_XNONCE_AES_GCM_SEED):
        raise CannotTransform(f"unknown encryptedDEKSourceType: {kind}")
    if not message.encrypted_data:
        raise CannotTransform("encrypted data is empty")
    source = len(message.encrypted_dek_source)
    if not source:
        raise CannotTransform("failed to validate encrypted DEK source: encrypted DEK source is empty")
    if source > _MAX_SOURCE:
        raise CannotTransform(
            f"failed to validate encrypted DEK source: encrypted DEK source is {source} bytes, which exceeds the max "
            f"size of {_MAX_SOURCE}"
        )
    if problem := _key_id_problem(message.key_id):
        raise CannotTransform(f"failed to validate key id: {problem}")
    size = sum(len(key) + len(value) for key, value in message.annotations.items())
    problems = [f"{key}: {'; '.join(found)}" for key in message.annotations if (found := names.dns1123_subdomain(key))]
    if size > _MAX_ANNOTATIONS:
        problems.append(f"total size of annotations is {size}, which exceeds the max size of {_MAX_ANNOTATIONS}")
    if problems:
        raise CannotTransform(f"failed to validate annotations: {aggregate(problems)}")


def _key_id_problem(key_id: str) -> str:
    if not key_id:
        return "keyID is empty"
    if len(key_id.encode()) > _MAX_KEY_ID:
        return f"keyID is {len(key_id.encode())} bytes, which exceeds the max size of {_MAX_KEY_ID}"
    return ""
