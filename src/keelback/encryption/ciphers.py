"""The ciphers: how a value becomes unreadable, and readable again, under one key.

`context` is the key in the store. Ciphers that can bind a value to it do, so that nobody can move one to another place.
"""

from __future__ import annotations

import os
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

_BLOCK_BYTES = 16
_NONCE_BYTES = 12
_INFO_BYTES = 32
SEED_BYTES = 32
ENCRYPTED_PREFIX = b"k8s:enc:"
"""What every encrypted value begins with, whatever the cipher."""
_TOO_SHORT = "the stored data was shorter than the required size"


class CannotTransform(Exception):
    """A value cannot be encrypted or decrypted; the message says why, in Kubernetes' words."""


class Cipher(Protocol):
    """One key."""

    def encrypt(self, plain: bytes, context: bytes) -> bytes: ...

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        """Raises CannotTransform."""
        ...


class Identity:
    """No encryption. What is encrypted is not taken for what it is not."""

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        return plain

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        if data.startswith(ENCRYPTED_PREFIX):
            raise CannotTransform("identity transformer tried to read encrypted data")
        return data


class CBC:
    """AES in CBC mode with a random vector. It notices no change of what is stored."""

    def __init__(self, key: bytes) -> None:
        self._algorithm = algorithms.AES(key)

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        vector = os.urandom(_BLOCK_BYTES)
        padding = _BLOCK_BYTES - len(plain) % _BLOCK_BYTES
        encryptor = BlockCipher(self._algorithm, modes.CBC(vector)).encryptor()
        return vector + encryptor.update(plain + bytes([padding]) * padding) + encryptor.finalize()

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        if len(data) < _BLOCK_BYTES:
            raise CannotTransform(_TOO_SHORT)
        vector, blocks = data[:_BLOCK_BYTES], data[_BLOCK_BYTES:]
        if len(blocks) % _BLOCK_BYTES:
            raise CannotTransform("the stored data is not a multiple of the block size")
        decryptor = BlockCipher(self._algorithm, modes.CBC(vector)).decryptor()
        padded = decryptor.update(blocks) + decryptor.finalize()
        padding = padded[-1] if padded else 0
        if not 0 < padding <= len(padded):
            raise CannotTransform("invalid PKCS7 data (empty or not padded)")
        if padded[-padding:] != bytes([padding]) * padding:
            raise CannotTransform("invalid padding on input")
        return padded[:-padding]


class GCM:
    """AES-GCM with a random nonce: the key must be changed before some hundred million writes."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plain, context)

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        if len(data) < _NONCE_BYTES:
            raise CannotTransform(_TOO_SHORT)
        try:
            return self._aead.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], context)
        except InvalidTag:
            raise CannotTransform("cipher: message authentication failed") from None


class SeededGCM:
    """AES-GCM under a key of its own for each value, derived from a seed: it may be used for any number of writes."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) < SEED_BYTES:
            raise CannotTransform(f"invalid seed length {len(seed)} used for key generation")
        self._seed = seed

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        info = os.urandom(_INFO_BYTES)
        return info + self._derived(info).encrypt(plain, context)

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        if len(data) < _INFO_BYTES:
            raise CannotTransform(_TOO_SHORT)
        return self._derived(data[:_INFO_BYTES]).decrypt(data[_INFO_BYTES:], context)

    def _derived(self, info: bytes) -> GCM:
        return GCM(HKDFExpand(SHA256(), 32, info).derive(self._seed))


class Secretbox:
    """XSalsa20 and Poly1305, as NaCl has them."""

    def __init__(self, key: bytes) -> None:
        # Few use it, and who does not need not wait for it.
        from nacl.secret import SecretBox

        self._box = SecretBox(key)

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        return bytes(self._box.encrypt(plain))

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        from nacl.exceptions import CryptoError

        if len(data) < self._box.NONCE_SIZE:
            raise CannotTransform(_TOO_SHORT)
        try:
            return bytes(self._box.decrypt(data))
        except CryptoError:
            raise CannotTransform("data was not encrypted by this key") from None
