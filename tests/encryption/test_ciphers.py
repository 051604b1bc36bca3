"""What is encrypted comes back, for its own key and place only, and is written as Kubernetes writes it."""

from __future__ import annotations

import hashlib
import hmac
import os

import pytest
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from keelback.encryption.ciphers import CBC, GCM, CannotTransform, Identity, Secretbox, SeededGCM

KEY = bytes(range(32))
PLACE = b"/registry/secrets/default/a"
ALL = [CBC(KEY), GCM(KEY), SeededGCM(KEY), Secretbox(KEY), Identity()]
SEALED = ALL[1:4]


@given(st.binary(max_size=100), st.sampled_from(ALL))
def test_what_is_encrypted_comes_back(plain: bytes, cipher: GCM) -> None:
    assert cipher.decrypt(cipher.encrypt(plain, PLACE), PLACE) == plain


@given(st.data(), st.sampled_from(SEALED))
def test_no_bit_can_be_changed(data: st.DataObject, cipher: GCM) -> None:
    stored = bytearray(cipher.encrypt(b"secret", PLACE))
    at = data.draw(st.integers(0, len(stored) * 8 - 1))
    stored[at // 8] ^= 1 << at % 8
    with pytest.raises(CannotTransform):
        cipher.decrypt(bytes(stored), PLACE)


@pytest.mark.parametrize("cipher", [GCM(KEY), SeededGCM(KEY)])
def test_a_value_cannot_be_moved_to_another_place(cipher: GCM) -> None:
    with pytest.raises(CannotTransform, match="message authentication failed"):
        cipher.decrypt(cipher.encrypt(b"secret", PLACE), b"/registry/secrets/default/b")


@pytest.mark.parametrize("cipher", ALL[:4])
def test_what_is_too_short_is_no_value(cipher: GCM) -> None:
    with pytest.raises(CannotTransform, match="shorter than the required size"):
        cipher.decrypt(b"short", PLACE)


def test_cbc_is_a_vector_and_padded_blocks() -> None:
    stored = CBC(KEY).encrypt(b"secret", PLACE)
    decryptor = BlockCipher(algorithms.AES(KEY), modes.CBC(stored[:16])).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    plain = unpadder.update(decryptor.update(stored[16:]) + decryptor.finalize()) + unpadder.finalize()
    assert plain == b"secret"
    with pytest.raises(CannotTransform, match="not a multiple of the block size"):
        CBC(KEY).decrypt(stored[:-1], PLACE)
    with pytest.raises(CannotTransform, match=r"empty or not padded"):
        CBC(KEY).decrypt(stored[:16], PLACE)


def test_gcm_is_a_nonce_and_what_is_sealed_for_the_place() -> None:
    stored = GCM(KEY).encrypt(b"secret", PLACE)
    assert AESGCM(KEY).decrypt(stored[:12], stored[12:], PLACE) == b"secret"


def test_a_seed_gives_each_value_a_key_of_its_own() -> None:
    stored = SeededGCM(KEY).encrypt(b"secret", PLACE)
    info, rest = stored[:32], stored[32:]
    # HKDF's expansion by hand (RFC 5869): one block is enough.
    key = hmac.new(KEY, info + b"\x01", hashlib.sha256).digest()
    assert AESGCM(key).decrypt(rest[:12], rest[12:], PLACE) == b"secret"


def test_another_key_does_not_open_it() -> None:
    other = os.urandom(32)
    for cipher, same in (
        (GCM(KEY), GCM(other)),
        (Secretbox(KEY), Secretbox(other)),
        (SeededGCM(KEY), SeededGCM(other)),
    ):
        with pytest.raises(CannotTransform):
            same.decrypt(cipher.encrypt(b"secret", PLACE), PLACE)


def test_identity_does_not_take_what_is_encrypted_for_what_it_is_not() -> None:
    with pytest.raises(CannotTransform, match="identity transformer tried to read encrypted data"):
        Identity().decrypt(b"k8s:enc:aescbc:v1:a:...", PLACE)
