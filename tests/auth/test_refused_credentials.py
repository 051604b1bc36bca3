"""Credentials that are not good, each in its own way: nobody is let in by them, not even as the anonymous user.

They go to one real server that believes an issuer, a webhook and proxies. What credentials are good for when nothing is
wrong with them is in `tests/apiserver/test_access.py`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keelback.apimachinery.meta import ObjectMeta
from keelback.auth.request_header import RequestHeaderSettings
from keelback.auth.service_accounts import TokenIssuer
from keelback.auth.settings import AuthenticationSettings
from keelback.auth.token_webhook import TokenWebhookSettings
from keelback.bootstrap.pki import ClusterPKI, issue_client
from keelback.component.http import Request, Response
from keelback.testing.access_servers import (
    OIDCIssuer,
    ReviewServer,
    TokenKey,
    authentication_configuration,
    authority,
    base64url,
    issuer_entry,
    serving,
    signed_by,
    webhook_kubeconfig,
)
from keelback.testing.api import api_server

SECRETS = "/api/v1/namespaces/kube-system/secrets"
KUBERNETES = "https://kubernetes.default.svc"


@dataclass(frozen=True)
class Scene:
    """Who is believed, and the keys of those who are not."""

    issuer: OIDCIssuer
    stranger: OIDCIssuer
    rsa: TokenKey
    elliptic: TokenKey
    pki: ClusterPKI
    foreign: ClusterPKI

    def signed(self, **header: Any) -> str:
        """A good token but for its header."""
        return self.elliptic.sign(self.issuer.claims(), **header)

    def claiming(self, **claims: Any) -> str:
        """A token that the issuer has signed, with these claims."""
        return self.elliptic.sign(self.issuer.claims(**claims))

    def symmetric(self, secret: bytes, key: TokenKey) -> str:
        """A token with a keyed hash where a signature should be."""
        header = {"alg": "HS256", "kid": key.key_id, "typ": "JWT"}
        message = ".".join(base64url(json.dumps(part).encode()) for part in (header, self.issuer.claims()))
        return f"{message}.{base64url(hmac.digest(secret, message.encode(), hashlib.sha256))}"


def altered(token: str, **claims: Any) -> str:
    """The token with other claims under the same signature."""
    header, _, signature = token.split(".")
    return f"{header}.{base64url(json.dumps(claims).encode())}.{signature}"


def public(key: TokenKey, encoding: Encoding, shape: PublicFormat) -> bytes:
    return key.key.public_key().public_bytes(encoding, shape)


def unsigned(scene: Scene, algorithm: str) -> str:
    parts = ({"alg": algorithm, "typ": "JWT"}, scene.issuer.claims())
    return ".".join(base64url(json.dumps(part).encode()) for part in parts) + "."


def account_token(scene: Scene, key: TokenKey) -> str:
    """A service account's token by somebody who is no service accounts' issuer."""
    now = int(datetime.now(UTC).timestamp())
    private = {"namespace": "kube-system", "serviceaccount": {"name": "default", "uid": "u"}}
    return key.sign(
        {
            "iss": KUBERNETES,
            "aud": [KUBERNETES],
            "sub": "system:serviceaccount:kube-system:default",
            "exp": now + 600,
            "iat": now,
            "nbf": now,
            "kubernetes.io": private,
        }
    )


def another_account_token(scene: Scene) -> str:
    account = ObjectMeta(name="default", namespace="kube-system", uid="u")
    issuer = TokenIssuer(scene.foreign.service_account.key_pem)
    return issuer.issue(account, now=datetime.now(UTC), token_id="i", lifetime_seconds=600).token


def long_ago(**delta: float) -> int:
    return int((datetime.now(UTC) - timedelta(**delta)).timestamp())


EMBEDDED = TokenKey.make("k-elliptic")
PEM, DER, INFO = Encoding.PEM, Encoding.DER, PublicFormat.SubjectPublicKeyInfo
TOKENS: Mapping[str, Callable[[Scene], str]] = {
    "signed by nobody": lambda scene: unsigned(scene, "none"),
    "signed by nobody, in capitals": lambda scene: unsigned(scene, "NONE"),
    "signed by nobody, mixed": lambda scene: unsigned(scene, "nOnE"),
    "of an empty algorithm": lambda scene: unsigned(scene, ""),
    "a real header without a signature": lambda scene: scene.signed().rpartition(".")[0] + ".",
    "a keyed hash with the RSA key in PEM": lambda scene: scene.symmetric(public(scene.rsa, PEM, INFO), scene.rsa),
    "a keyed hash with the RSA key in DER": lambda scene: scene.symmetric(public(scene.rsa, DER, INFO), scene.rsa),
    "a keyed hash with the PEM's last line": lambda scene: scene.symmetric(
        public(scene.rsa, PEM, INFO).strip(), scene.rsa
    ),
    "a keyed hash with the elliptic key": lambda scene: scene.symmetric(
        public(scene.elliptic, PEM, INFO), scene.elliptic
    ),
    "a keyed hash with nothing": lambda scene: scene.symmetric(b"", scene.elliptic),
    "another key of the same name": lambda scene: TokenKey.make("k-elliptic").sign(scene.issuer.claims()),
    "another RSA key of the same name": lambda scene: TokenKey.make("k-rsa", "RS256").sign(scene.issuer.claims()),
    "a key without a name": lambda scene: TokenKey.make("").sign(scene.issuer.claims()),
    "an unknown key": lambda scene: scene.signed(kid="other"),
    "the name of the other key": lambda scene: scene.signed(kid="k-rsa"),
    "a key's name that is a path": lambda scene: scene.signed(kid="../../../../dev/null"),
    "a key's name that is a query": lambda scene: scene.signed(kid="' or '1'='1"),
    "a key's name that is a URL": lambda scene: scene.signed(kid="https://127.0.0.1/keys"),
    "a key's name that is a number": lambda scene: scene.signed(kid=1),
    "a key's name that is a list": lambda scene: scene.signed(kid=["k-elliptic"]),
    "a key in the header": lambda scene: EMBEDDED.sign(scene.issuer.claims(), jwk=EMBEDDED.as_json(), kid="mine"),
    "keys elsewhere": lambda scene: EMBEDDED.sign(scene.issuer.claims(), jku=f"{scene.stranger.url}/keys", kid="mine"),
    "a certificate in the header": lambda scene: EMBEDDED.sign(scene.issuer.claims(), x5c=["MIIB"], kid="mine"),
    "an extension that must be understood": lambda scene: scene.signed(crit=["b64"], b64=False),
    "another algorithm than the key's": lambda scene: scene.signed(alg="RS256"),
    "a longer hash than the signature's": lambda scene: scene.signed(alg="ES384"),
    "another padding than the signature's": lambda scene: scene.rsa.sign(scene.issuer.claims(), alg="PS256"),
    "an algorithm that is a list": lambda scene: scene.signed(alg=["ES256"]),
    "other claims under a good signature": lambda scene: altered(scene.signed(), **scene.issuer.claims(sub="admin")),
    "a signature that is cut": lambda scene: scene.signed()[:-4],
    "a signature of zeros": lambda scene: scene.signed().rpartition(".")[0] + "." + base64url(bytes(64)),
    "padding in its parts": lambda scene: scene.signed() + "==",
    "two parts": lambda scene: scene.signed().rpartition(".")[0],
    "four parts": lambda scene: scene.signed() + ".e30",
    "five parts": lambda scene: scene.signed() + ".e30.e30",
    "claims that are a list": lambda scene: scene.elliptic.sign([]),  # type: ignore[arg-type]
    "a megabyte": lambda scene: scene.claiming(filler="x" * 1_000_000),
    "an issuer that is not known": lambda scene: scene.stranger.token(),
    "the issuer's name by a stranger": lambda scene: scene.stranger.token(iss=scene.issuer.url),
    "the issuer with a slash": lambda scene: scene.claiming(iss=scene.issuer.url + "/"),
    "the issuer in capitals": lambda scene: scene.claiming(iss=scene.issuer.url.upper()),
    "the issuer in a list": lambda scene: scene.claiming(iss=[scene.issuer.url]),
    "no issuer": lambda scene: scene.claiming(iss=None),
    "for somebody else": lambda scene: scene.claiming(aud="vault"),
    "for others": lambda scene: scene.claiming(aud=["vault", "clusters"]),
    "for no one": lambda scene: scene.claiming(aud=[]),
    "for whoever it may be": lambda scene: scene.claiming(aud="*"),
    "for the API server's own name": lambda scene: scene.claiming(aud=KUBERNETES),
    "without an audience": lambda scene: scene.claiming(aud=None),
    "for a mapping": lambda scene: scene.claiming(aud={"cluster": True}),
    "expired": lambda scene: scene.claiming(exp=long_ago(seconds=2)),
    "expired long ago": lambda scene: scene.claiming(exp=long_ago(days=4000)),
    "that never expires": lambda scene: scene.claiming(exp=None),
    "that expires when it says so in words": lambda scene: scene.claiming(exp="tomorrow"),
    "that expires at true": lambda scene: scene.claiming(exp=True),
    "that expires at infinity": lambda scene: scene.claiming(exp=math.inf),
    "that expires at minus one": lambda scene: scene.claiming(exp=-1),
    "not yet good": lambda scene: scene.claiming(nbf=long_ago(minutes=-10)),
    "good from some day on": lambda scene: scene.claiming(nbf="soon"),
    "without a subject": lambda scene: scene.claiming(sub=None),
    "of an empty subject": lambda scene: scene.claiming(sub=""),
    "of a subject that is a number": lambda scene: scene.claiming(sub=0),
    "of groups that are a number": lambda scene: scene.claiming(groups=7),
    "of groups that are mixed": lambda scene: scene.claiming(groups=["a", 7]),
    "of one whom a rule refuses": lambda scene: scene.claiming(sub="system:admin"),
    "a service account's by the issuer": lambda scene: account_token(scene, scene.elliptic),
    "a service account's by another cluster": another_account_token,
    "an opaque one that nobody knows": lambda scene: "nobody-knows-me",
    "one that the webhook refuses": lambda scene: "refused",
    "one at which the webhook fails": lambda scene: "broken",
    "one to which the webhook says nonsense": lambda scene: "nonsense",
    "one to which the webhook says another kind": lambda scene: "other-kind",
    "one that the webhook knows for others": lambda scene: "elsewhere",
    "one whose user the webhook does not name rightly": lambda scene: "misnamed",
    "a bootstrap token of no Secret": lambda scene: "abcdef.0123456789abcdef",
}
HEADERS: Mapping[str, Mapping[str, str]] = {
    "an empty scheme": {"authorization": "Bearer"},
    "another scheme": {"authorization": "Basic YWRtaW46YWRtaW4="},
    "a proxy's headers and no certificate": {"x-remote-user": "admin", "x-remote-group": "system:masters"},
    "a proxy's headers with underscores": {"x_remote_user": "admin", "x_remote_group": "system:masters"},
    "a forwarded user": {"x-forwarded-user": "admin", "x-forwarded-groups": "system:masters"},
    "a certificate in a header": {"x-client-cert": "MIIB", "x-ssl-client-s-dn": "CN=admin,O=system:masters"},
}


def webhook(review: dict[str, Any]) -> Any:
    match review["spec"]["token"]:
        case "refused":
            return {"authenticated": False, "error": "no", "user": {"username": "admin", "groups": ["system:masters"]}}
        case "broken":
            return Response(403)
        case "nonsense":
            return Response(200, {}, b"<html>")
        case "other-kind":
            return Response(200, {}, b'{"apiVersion":"v1","kind":"Status","status":{"authenticated":true}}')
        case "elsewhere":
            return {"authenticated": True, "user": {"username": "admin"}, "audiences": ["vault"]}
        case "misnamed":
            return {"authenticated": True, "user": {"username": 7}}
        case _:
            return {"authenticated": False}


def certificates(scene: Scene) -> Iterator[tuple[str, bytes, dict[str, str]]]:
    """What it is, the certificate, and what is said besides."""
    now = datetime.now(UTC)
    admin = {"x-remote-user": "admin", "x-remote-group": "system:masters"}
    expired = issue_client(scene.pki, "old", "front-proxy-client", (), now - timedelta(days=4000))
    pairs = {
        "an administrator of another cluster": (scene.foreign.admin, {}),
        "another cluster's proxy": (scene.foreign.front_proxy_client, admin),
        "another cluster's server": (scene.foreign.apiserver, {}),
        "a user of the proxies' cluster": (scene.pki.admin, admin),
        "a server as a proxy": (scene.pki.apiserver, admin),
        "a proxy's name by another authority": (issue_client(scene.pki, "p", "front-proxy-client", (), now), admin),
        "a proxy's certificate that is over": (expired, admin),
        "a proxy that names nobody": (scene.pki.front_proxy_client, {"x-remote-group": "system:masters"}),
        "a proxy that names an empty user": (scene.pki.front_proxy_client, {**admin, "x-remote-user": ""}),
    }
    proxies = scene.pki.front_proxy_ca
    yield "a proxy of another name", signed_by(proxies, "front-proxy-client2"), admin
    yield "a proxy's name in capitals", signed_by(proxies, "Front-Proxy-Client"), admin
    yield "a proxy without a name", signed_by(proxies, "", ["front-proxy-client"]), admin
    yield "an administrator by the proxies' authority", signed_by(proxies, "admin", ["system:masters"]), {}
    yield "what a proxy has signed", signed_by(scene.pki.front_proxy_client, "front-proxy-client"), admin
    for about, (pair, headers) in pairs.items():
        yield about, x509.load_pem_x509_certificate(pair.certificate_pem).public_bytes(DER), headers


@lru_cache(maxsize=1)
def answers() -> dict[str, int]:
    """How each was answered."""

    async def main(folder: Path) -> dict[str, int]:
        rsa, elliptic = TokenKey.make("k-rsa", "RS256"), TokenKey.make("k-elliptic")
        scene = Scene(
            OIDCIssuer([rsa, elliptic]),
            OIDCIssuer([TokenKey.make("k-elliptic")]),
            rsa,
            elliptic,
            authority(folder / "pki"),
            authority(folder / "foreign"),
        )
        server = ReviewServer(webhook)
        async with AsyncExitStack() as stack:
            for one in (scene.issuer, scene.stranger, server):
                await stack.enter_async_context(serving(one, scene.pki))
            path = folder / "authentication.yaml"
            rules = [{"expression": "!user.username.startsWith('system:')", "message": "reserved"}]
            entry = issuer_entry(scene.issuer, userValidationRules=rules)
            entry["claimMappings"]["groups"] = {"claim": "groups", "prefix": ""}
            path.write_text(authentication_configuration(entry))
            config = webhook_kubeconfig(folder / "webhook.conf", server.url, scene.pki)
            proxies = RequestHeaderSettings(
                ca_pem=scene.pki.front_proxy_ca.certificate_pem, allowed_names=("front-proxy-client",)
            )
            settings = AuthenticationSettings(
                configuration_file=path,
                token_webhook=TokenWebhookSettings(config, "v1"),
                request_header=proxies,
            )
            await stack.enter_async_context(asyncio.timeout(100))
            api = await stack.enter_async_context(api_server(authentication=settings))

            async def code(request: Request) -> int:
                answer = await api.handle(request)
                assert isinstance(answer, Response)
                return answer.status

            def bearing(token: str) -> Request:
                return Request("GET", SECRETS, headers={"authorization": f"Bearer {token}"})

            await answered(lambda: code(bearing(scene.issuer.token())))
            found = {"nothing is wrong": await code(bearing(scene.claiming(groups=["system:masters"])))}
            for about, make in TOKENS.items():
                found[about] = await code(bearing(make(scene)))
            for about, headers in HEADERS.items():
                found[about] = await code(Request("GET", SECRETS, headers=headers))
            der = b""
            for about, der, headers in certificates(scene):
                found[about] = await code(Request("GET", SECRETS, headers=headers, peer_certificate=der))
            assert der
            proxy = x509.load_pem_x509_certificate(scene.pki.front_proxy_client.certificate_pem).public_bytes(DER)
            good = {"x-remote-user": "admin", "x-remote-group": "system:masters"}
            request = Request("GET", SECRETS, headers=good, peer_certificate=proxy)
            found["nothing is wrong with the proxy"] = await code(request)
            assert (await code(replace_headers(request, {"authorization": "Bearer nobody"}))) == 401
            return found

    with TemporaryDirectory() as folder:
        return asyncio.run(main(Path(folder)))


async def answered(code: Callable[[], Awaitable[int]]) -> None:
    """Return when the issuer's provider has been asked: until then its tokens are nobody's."""
    while (await code()) == 401:  # noqa: ASYNC110 - each look takes real turns of the loop
        await asyncio.sleep(0)


def replace_headers(request: Request, headers: dict[str, str]) -> Request:
    return Request(request.method, request.path, headers=headers, peer_certificate=request.peer_certificate)


@pytest.mark.parametrize("about", TOKENS)
def test_a_token_is_nobodys(about: str) -> None:
    assert answers()[about] == 401


@pytest.mark.parametrize("about", HEADERS)
def test_headers_alone_make_nobody_known(about: str) -> None:
    """Without any credential one is anonymous, who may not read this."""
    assert answers()[about] == 403


def test_certificates_are_judged() -> None:
    found = answers()
    refused = {about for about, status in found.items() if status == 401} - set(TOKENS)
    assert refused == {
        "an administrator of another cluster",
        "another cluster's proxy",
        "another cluster's server",
        "a user of the proxies' cluster",
        "a server as a proxy",
        "a proxy's name by another authority",
        "a proxy's certificate that is over",
        "a proxy that names nobody",
        "a proxy that names an empty user",
        "a proxy of another name",
        "a proxy's name in capitals",
        "a proxy without a name",
        "an administrator by the proxies' authority",
        "what a proxy has signed",
    }


def test_what_is_good_is_let_in() -> None:
    """Were everything refused, the tables would prove nothing."""
    assert answers()["nothing is wrong"] == 200
    assert answers()["nothing is wrong with the proxy"] == 200
