"""The servers that an API server asks who calls and what they may do, as others run them: HTTPS on loopback.

An OpenID Connect issuer with keys of its own, and a webhook that answers TokenReviews and SubjectAccessReviews.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keelback.bootstrap.pki import ClusterPKI, KeyPair, ensure_cluster_pki
from keelback.component.http import AnyResponse, Request, Response
from keelback.component.serving import Server, server_context

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Review: TypeAlias = dict[str, Any]
_CURVES: Mapping[str, tuple[str, type[ec.EllipticCurve]]] = {
    "ES256": ("P-256", ec.SECP256R1),
    "ES384": ("P-384", ec.SECP384R1),
    "ES512": ("P-521", ec.SECP521R1),
}
_HASHES: Mapping[str, type[hashes.HashAlgorithm]] = {
    "256": hashes.SHA256,
    "384": hashes.SHA384,
    "512": hashes.SHA512,
}


def authority(folder: Path) -> ClusterPKI:
    """An authority and certificates for 127.0.0.1, which no cluster has."""
    return ensure_cluster_pki(folder, datetime.now(UTC), addresses=("127.0.0.1",))


def signed_by(signer: KeyPair, common_name: str, organizations: Sequence[str] = ()) -> bytes:
    """A client's certificate of these names, in DER, signed by an authority of the folder's or by whoever else."""
    key = load_pem_private_key(signer.key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    named = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    named += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, one) for one in organizations]
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(named))
        .issuer_name(x509.load_pem_x509_certificate(signer.certificate_pem).subject)
        .public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.DER)


def base64url(data: bytes) -> str:
    """As tokens are written."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key that signs tokens by one algorithm."""

    key_id: str
    algorithm: str
    key: PrivateKey

    @classmethod
    def make(cls, key_id: str, algorithm: str = "ES256") -> TokenKey:
        if algorithm in _CURVES:
            return cls(key_id, algorithm, ec.generate_private_key(_CURVES[algorithm][1]()))
        return cls(key_id, algorithm, rsa.generate_private_key(65537, 2048))

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        """The token; members of its header may be others than they should."""
        whole = {"alg": self.algorithm, "kid": self.key_id, "typ": "JWT", **header}
        signed = ".".join(base64url(json.dumps(part).encode()) for part in (whole, claims))
        return f"{signed}.{base64url(self._signature(signed.encode()))}"

    def _signature(self, message: bytes) -> bytes:
        digest = _HASHES[self.algorithm[2:]]()
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            size = (self.key.curve.key_size + 7) // 8
            r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(digest)))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        if self.algorithm.startswith("PS"):
            return self.key.sign(message, padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH), digest)
        return self.key.sign(message, padding.PKCS1v15(), digest)

    def as_json(self) -> dict[str, str]:
        """The public key as a member of a JSON Web Key Set."""
        known = {"kid": self.key_id, "use": "sig", "alg": self.algorithm}
        if isinstance(self.key, rsa.RSAPrivateKey):
            public = self.key.public_key().public_numbers()
            return {"kty": "RSA", "n": _integer(public.n), "e": _integer(public.e), **known}
        numbers = self.key.public_key().public_numbers()
        size = (self.key.curve.key_size + 7) // 8
        x, y = (base64url(one.to_bytes(size, "big")) for one in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": _CURVES[self.algorithm][0], "x": x, "y": y, **known}


def _integer(number: int) -> str:
    return base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))


@dataclass(slots=True)
class OIDCIssuer:
    """An issuer whose keys may be changed while it runs. `url` is set once it listens."""

    keys: list[TokenKey] = field(default_factory=lambda: [TokenKey.make("k1")])
    url: str = ""
    ca_pem: str = ""
    discovery_path: str = "/.well-known/openid-configuration"
    named: str = ""
    """The issuer that its document names, if not its own."""
    elsewhere: dict[str, tuple[str, str]] = field(default_factory=dict)
    """What is at further paths, for those who show the bearer token beside it."""
    asked: list[str] = field(default_factory=list)
    """The paths, in order."""

    async def handle(self, request: Request) -> AnyResponse:
        self.asked.append(request.path)
        if request.path == self.discovery_path:
            body = {"issuer": self.named or self.url, "jwks_uri": f"{self.url}/keys"}
        elif request.path == "/keys":
            body = {"keys": [key.as_json() for key in self.keys]}  # type: ignore[dict-item]
        elif request.path in self.elsewhere:
            content, token = self.elsewhere[request.path]
            is_shown = request.headers.get("authorization") == f"Bearer {token}"
            return Response(200, {}, content.encode()) if is_shown else Response(403)
        else:
            return Response(404)
        return Response(200, {"content-type": "application/json"}, json.dumps(body).encode())

    def claims(self, **more: Any) -> dict[str, Any]:
        """Claims that are good for an hour for the audience `cluster`."""
        now = int(datetime.now(UTC).timestamp())
        made = {"iss": self.url, "aud": "cluster", "sub": "jane", "iat": now, "exp": now + 3600, **more}
        return {name: one for name, one in made.items() if one is not None}

    def token(self, **more: Any) -> str:
        """Such a token, by the newest key."""
        return self.keys[-1].sign(self.claims(**more))


@dataclass(slots=True)
class ReviewServer:
    """Answers reviews: `answer` gives the status for a review, or a whole response; None is never to answer."""

    answer: Callable[[Review], Any]
    url: str = ""
    asked: list[Review] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    bearers: list[str] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: Request) -> AnyResponse:
        review = json.loads(request.body)
        self.asked.append(review)
        self.queries.append(request.query)
        self.bearers.append(request.headers.get("authorization", ""))
        given = self.answer(review)
        if given is None:
            await self.ended.wait()
            return Response(503)
        if isinstance(given, Response):
            return given
        answer = {"apiVersion": review["apiVersion"], "kind": review["kind"], "status": given}
        return Response(200, {"content-type": "application/json"}, json.dumps(answer).encode())


@asynccontextmanager
async def serving(one: OIDCIssuer | ReviewServer, pki: ClusterPKI) -> AsyncIterator[None]:
    """Listen on loopback, with a certificate of the authority."""
    pair: KeyPair = pki.apiserver
    server = Server(one.handle, server_context(pair.certificate_path, pair.key_path), "127.0.0.1", 0)
    await server.start()
    one.url = f"https://127.0.0.1:{server.bound_port}"
    if isinstance(one, OIDCIssuer):
        one.ca_pem = pki.ca.certificate_pem.decode()
    try:
        yield
    finally:
        if isinstance(one, ReviewServer):
            one.ended.set()
        await server.shutdown(0.1)


def webhook_kubeconfig(path: Path, url: str, pki: ClusterPKI, **user: Any) -> Path:
    """A file that says where a webhook is and whom to trust there."""
    tree = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "webhook",
                "cluster": {"server": url, "certificate-authority": str(pki.ca.certificate_path)},
            }
        ],
        "users": [{"name": "api-server", "user": user}],
        "contexts": [{"name": "webhook", "context": {"cluster": "webhook", "user": "api-server"}}],
        "current-context": "webhook",
    }
    path.write_text(yaml.safe_dump(tree))
    return path


def authentication_configuration(*jwt: Mapping[str, Any], version: str = "v1", **more: Any) -> str:
    """The text of such a file."""
    tree = {"apiVersion": f"apiserver.config.k8s.io/{version}", "kind": "AuthenticationConfiguration", **more}
    return yaml.safe_dump({**tree, "jwt": list(jwt)})


def authorization_configuration(*authorizers: Mapping[str, Any], version: str = "v1") -> str:
    """The text of such a file."""
    tree = {"apiVersion": f"apiserver.config.k8s.io/{version}", "kind": "AuthorizationConfiguration"}
    return yaml.safe_dump({**tree, "authorizers": list(authorizers)})


def issuer_entry(issuer: OIDCIssuer, audiences: Sequence[str] = ("cluster",), **more: Any) -> dict[str, Any]:
    """An entry that believes the issuer, and calls its users by their subject."""
    given = {"url": issuer.url, "certificateAuthority": issuer.ca_pem, "audiences": list(audiences)}
    if len(audiences) > 1:
        given["audienceMatchPolicy"] = "MatchAny"
    mappings = {"username": {"claim": "sub", "prefix": ""}}
    return {"issuer": given, "claimMappings": mappings, **more}
