"""JSON Web Tokens as far as service accounts need them: compact JWS with ES256 or RS256, and the key set in JSON."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

_COORDINATE_BYTES = 32


class InvalidToken(ValueError):
    """The text is not a token that one of the keys has signed."""


class _Header(msgspec.Struct):
    alg: str
    kid: str = ""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key and the name tokens call it by."""

    key_id: str
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey

    @classmethod
    def load(cls, pem: bytes) -> VerifyingKey:
        """From a public or private key or a certificate's key in PEM. Raises ValueError for other kinds of key."""
        if b"BEGIN CERTIFICATE" in pem:
            key: object = x509.load_pem_x509_certificate(pem).public_key()
        elif b"PRIVATE KEY" in pem:
            key = serialization.load_pem_private_key(pem, None).public_key()
        else:
            key = serialization.load_pem_public_key(pem)
        if isinstance(key, rsa.RSAPublicKey):
            return cls(key_id(key), key)
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            return cls(key_id(key), key)
        raise ValueError("service account keys are RSA or ECDSA P-256")

    @property
    def algorithm(self) -> str:
        """The name of the signature algorithm in a token's header."""
        return "RS256" if isinstance(self.key, rsa.RSAPublicKey) else "ES256"

    def verify(self, signature: bytes, signed: bytes) -> bool:
        """Whether this key made the signature."""
        try:
            if isinstance(self.key, rsa.RSAPublicKey):
                self.key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
                return True
            if len(signature) != 2 * _COORDINATE_BYTES:
                return False
            r = int.from_bytes(signature[:_COORDINATE_BYTES], "big")
            s = int.from_bytes(signature[_COORDINATE_BYTES:], "big")
            self.key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    def as_json(self) -> Mapping[str, str]:
        """The key as a member of a JSON Web Key Set."""
        numbers = self.key.public_numbers()
        if isinstance(numbers, rsa.RSAPublicNumbers):
            shape = {"kty": "RSA", "n": _integer(numbers.n), "e": _integer(numbers.e)}
        else:
            shape = {
                "kty": "EC",
                "crv": "P-256",
                "x": _encoded(numbers.x.to_bytes(_COORDINATE_BYTES, "big")),
                "y": _encoded(numbers.y.to_bytes(_COORDINATE_BYTES, "big")),
            }
        return {"use": "sig", "kid": self.key_id, "alg": self.algorithm, **shape}


class Signer:
    """Signs claims with one private key."""

    def __init__(self, key_pem: bytes) -> None:
        key = serialization.load_pem_private_key(key_pem, None)
        if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
            raise TypeError("service account keys are RSA or ECDSA P-256")
        self._key = key
        self.public = VerifyingKey.load(key_pem)
        header = {"alg": self.public.algorithm, "kid": self.public.key_id}
        self._header = _encoded(msgspec.json.encode(header)).encode()

    def sign(self, claims: Mapping[str, Any]) -> str:
        """The compact token."""
        signed = self._header + b"." + _encoded(msgspec.json.encode(claims)).encode()
        if isinstance(self._key, rsa.RSAPrivateKey):
            signature = self._key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        else:
            r, s = decode_dss_signature(self._key.sign(signed, ec.ECDSA(hashes.SHA256())))
            signature = r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")
        return f"{signed.decode()}.{_encoded(signature)}"


def unverified_payload(token: str) -> bytes:
    """The claims of a token as JSON, before anybody has checked the signature. Raises InvalidToken."""
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidToken("a compact token has three parts")
    return _decoded(parts[1])


def verified_payload(token: str, keys: Iterable[VerifyingKey]) -> bytes:
    """The claims of a token as JSON. Raises InvalidToken unless one of the keys has signed it."""
    signed, _, encoded_signature = token.rpartition(".")
    encoded_header, separator, encoded_payload = signed.partition(".")
    if not separator or "." in encoded_payload:
        raise InvalidToken("a compact token has three parts")
    try:
        header = msgspec.json.decode(_decoded(encoded_header), type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidToken("the header is not a JWS header") from error
    signature, message = _decoded(encoded_signature), signed.encode("utf-8", "surrogatepass")
    # The algorithm is the key's, never the token's choice.
    candidates = [key for key in keys if key.algorithm == header.alg and header.kid in ("", key.key_id)]
    if not any(key.verify(signature, message) for key in candidates):
        raise InvalidToken("no key verifies the signature")
    return _decoded(encoded_payload)


def key_id(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> str:
    """What tokens call the key: a hash of it."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return _encoded(hashlib.sha256(der).digest())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _integer(number: int) -> str:
    return _encoded(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _decoded(text: str) -> bytes:
    if "=" in text:
        # RFC 7515 has none; a token must not be written in two ways.
        raise InvalidToken("a part is padded")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidToken("a part is not base64url") from error
