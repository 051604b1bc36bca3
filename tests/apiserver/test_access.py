"""Who calls and what they may do, asked of real counterparts: issuers, webhooks and a proxy, over TLS on loopback."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.apiserver.assembly import RunningAPIServer
from keelback.auth.authorizers import AuthorizationSettings
from keelback.auth.request_header import RequestHeaderSettings
from keelback.auth.settings import AuthenticationSettings
from keelback.auth.token_webhook import TokenWebhookSettings
from keelback.bootstrap.access_options import AccessOptions
from keelback.bootstrap.pki import ClusterPKI, KeyPair, issue_client
from keelback.component.http import Request, Response
from keelback.component.serving import Server, server_context
from keelback.testing.access_servers import (
    OIDCIssuer,
    ReviewServer,
    TokenKey,
    authentication_configuration,
    authority,
    authorization_configuration,
    issuer_entry,
    serving,
    webhook_kubeconfig,
)
from keelback.testing.api import api_server
from keelback.testing.clock import HandClock
from keelback.testing.requests import Ask, asking

SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
RULES_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
ISSUER = "https://kubernetes.default.svc"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> ClusterPKI:
    """The authority of those who are asked."""
    return authority(tmp_path_factory.mktemp("other"))


@asynccontextmanager
async def world(pki: ClusterPKI, *servers: OIDCIssuer | ReviewServer) -> AsyncIterator[None]:
    """All these servers, and an end to it all."""
    async with AsyncExitStack() as stack:
        for one in servers:
            await stack.enter_async_context(serving(one, pki))
        async with asyncio.timeout(60):
            yield


async def who(ask: Ask, token: str) -> dict[str, Any] | int:
    """Whom the server takes the bearer of a token for; the code if for nobody."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    status, answer = await ask("POST", SELF, review, token=token)
    if status != 201:
        return status
    user: dict[str, Any] = answer["status"]["userInfo"]
    return user


async def until(holds: Callable[[], Awaitable[bool]], clock: HandClock | None = None) -> None:
    """Return when it is so. Each look at it takes real turns of the loop; the clock, if there is one, goes on."""
    while not await holds():
        await asyncio.sleep(0)
        if clock is not None:
            clock.advance(1.0)


async def is_known(ask: Ask, token: str) -> None:
    """Return when the issuer's provider has been asked."""

    async def known() -> bool:
        return await who(ask, token) != 401

    await until(known)


async def token_review(ask: Ask, token: str, *audiences: str) -> dict[str, Any]:
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": list(audiences)},
    }
    status, answer = await ask("POST", TOKEN_REVIEWS, body)
    assert status == 201, answer
    said: dict[str, Any] = answer["status"]
    return said


def file_settings(folder: Path, text: str) -> AuthenticationSettings:
    path = folder / "authentication.yaml"
    path.write_text(text)
    return AuthenticationSettings(configuration_file=path)


def test_tokens_of_several_issuers_become_users_as_the_file_says(tmp_path: Path, other: ClusterPKI) -> None:
    plain = OIDCIssuer([TokenKey.make("k", "RS256")])
    rich = OIDCIssuer([TokenKey.make("k", "ES384")], discovery_path="/elsewhere")

    async def main() -> None:
        async with world(other, plain, rich):
            mappings = {
                "username": {"expression": "'rich:' + claims.login"},
                "groups": {"expression": "claims.roles.split(',').map(one, 'rich:' + one)"},
                "uid": {"claim": "sub"},
                "extra": [{"key": "example.com/team", "valueExpression": "claims.?team.orValue('')"}],
            }
            rules = [
                {"claim": "hd", "requiredValue": "example.com"},
                {"expression": "claims.exp - claims.iat <= 7200", "message": "lives too long"},
            ]
            user_rules = [{"expression": "!user.username.startsWith('rich:system:')", "message": "reserved"}]
            second = issuer_entry(
                rich,
                ["one", "two"],
                claimMappings=mappings,
                claimValidationRules=rules,
                userValidationRules=user_rules,
            )
            second["issuer"]["discoveryURL"] = f"{rich.url}/elsewhere"
            groups = {"claim": "groups", "prefix": "oidc:"}
            first = issuer_entry(plain)
            first["claimMappings"]["groups"] = groups
            text = authentication_configuration(first, second, version="v1beta1")
            async with api_server(authentication=file_settings(tmp_path, text)) as api:
                ask = asking(api.handle)
                await is_known(ask, plain.token())
                assert await who(ask, plain.token(groups=["a", "b"])) == {
                    "username": "jane",
                    "groups": ["oidc:a", "oidc:b", "system:authenticated"],
                }
                good = {"aud": ["x", "two"], "login": "joe", "roles": "dev,ops", "hd": "example.com", "team": "t"}
                assert await who(ask, rich.token(**good)) == {
                    "username": "rich:joe",
                    "uid": "jane",
                    "groups": ["rich:dev", "rich:ops", "system:authenticated"],
                    "extra": {"example.com/team": ["t"]},
                }
                said = await token_review(ask, rich.token(**good))
                assert (said["authenticated"], said["audiences"]) == (True, [ISSUER])
                assert "authenticated" not in await token_review(ask, rich.token(**good), "elsewhere")
                for changed, why in (
                    ({"hd": "example.org"}, "required claim hd value does not match. Got = example.org, want ="),
                    ({"hd": None}, "oidc: required claim hd not present in ID token"),
                    (
                        {"exp": 4_000_000_000},
                        "validation expression 'claims.exp - claims.iat <= 7200' failed: lives too",
                    ),
                    ({"login": "system:x"}, "validation expression '!user.username.startsWith('rich:system:')' failed"),
                    (
                        {"login": None},
                        "oidc: error evaluating username claim expression: expression ''rich:' + claims.l",
                    ),
                    ({"aud": "three"}, 'oidc: expected audience in ["one" "two"] got ["three"]'),
                ):
                    token = rich.token(**{**good, **changed})
                    assert await who(ask, token) == 401
                    assert why in (await token_review(ask, token))["error"]

    asyncio.run(main())


def test_keys_that_change_are_fetched_again(tmp_path: Path, other: ClusterPKI) -> None:
    issuer = OIDCIssuer()
    clock = HandClock(datetime.now(UTC))

    async def main() -> None:
        async with world(other, issuer):
            text = authentication_configuration(issuer_entry(issuer))
            async with api_server(clock, authentication=file_settings(tmp_path, text)) as api:
                ask = asking(api.handle)
                before = issuer.token()
                await is_known(ask, before)
                assert issuer.asked.count("/keys") == 1
                issuer.keys.append(TokenKey.make("k2"))
                # Within a second of the last time nobody is asked, whatever tokens come.
                assert await who(ask, issuer.token()) == 401
                assert issuer.asked.count("/keys") == 1
                clock.advance(2.0)
                assert await who(ask, issuer.token(sub="joe")) == {
                    "username": "joe",
                    "groups": ["system:authenticated"],
                }
                del issuer.keys[0]
                clock.advance(20.0)
                assert await who(ask, issuer.token(sub="ann")) != 401
                issuer.keys[0] = TokenKey.make("k2")
                clock.advance(20.0)
                assert await who(ask, issuer.token(sub="ann")) != 401
                assert await who(ask, before) == 401

    asyncio.run(main())


def test_the_file_is_read_again_when_it_changes(tmp_path: Path, other: ClusterPKI) -> None:
    first, second = OIDCIssuer(), OIDCIssuer()
    clock = HandClock(datetime.now(UTC))

    async def main() -> None:
        async with world(other, first, second):
            one, two = issuer_entry(first), issuer_entry(second)
            settings = file_settings(tmp_path, authentication_configuration(one))
            path = settings.configuration_file
            assert path is not None
            async with api_server(clock, authentication=settings) as api:
                ask = asking(api.handle)

                def says(token: str, code: int) -> Callable[[], Awaitable[bool]]:
                    async def holds() -> bool:
                        found = await who(ask, token)
                        return (found if isinstance(found, int) else 201) == code

                    return holds

                async def reloads(status: str) -> float:
                    _, metrics = await ask("GET", "/metrics")
                    counted = "apiserver_authentication_config_controller_automatic_reloads_total"
                    name = f'{counted}{{apiserver_id_hash="",status="{status}"}} '
                    return next((float(line[len(name) :]) for line in metrics.splitlines() if line.startswith(name)), 0)

                await is_known(ask, first.token())
                assert await who(ask, second.token()) == 401
                path.write_text(authentication_configuration(two))
                await until(says(second.token(), 201), clock)
                assert await who(ask, first.token(sub="new")) == 401
                for wrong in ("kind: [", authentication_configuration(two, two), ""):
                    failures = await reloads("failure")
                    path.write_text(wrong)

                    async def counted(failures: float = failures) -> bool:
                        return await reloads("failure") == failures + 1

                    await until(counted, clock)
                assert await who(ask, second.token(sub="new")) != 401
                assert await reloads("success") == 1
                assert (await api.handle(Request("GET", "/version"))).status == 200  # type: ignore[union-attr]
                anonymous = {"enabled": True, "conditions": [{"path": "/livez"}]}
                path.write_text(authentication_configuration(one, anonymous=anonymous))
                await until(says(first.token(), 201), clock)
                assert await codes(api, "/livez", "/version", "/livez/ping") == [200, 401, 401]

    asyncio.run(main())


def test_groups_may_be_told_elsewhere(tmp_path: Path, other: ClusterPKI) -> None:
    issuer, directory = OIDCIssuer(), OIDCIssuer([TokenKey.make("d", "PS384")])

    async def main() -> None:
        async with world(other, issuer, directory):
            entry = issuer_entry(issuer)
            entry["claimMappings"]["groups"] = {"claim": "groups", "prefix": "g:"}
            async with api_server(authentication=file_settings(tmp_path, authentication_configuration(entry))) as api:
                ask = asking(api.handle)
                await is_known(ask, issuer.token())
                told = directory.token(groups=["a", "b"])
                directory.elsewhere = {
                    "/groups": (told, "let-me"),
                    "/others": (directory.token(aud="others", groups=["a"]), "let-me"),
                    "/forged": (TokenKey.make("d").sign(directory.claims(groups=["a"])), "let-me"),
                    "/none": (directory.token(), "let-me"),
                    "/odd": ("what?", "let-me"),
                }

                def pointing(path: str, token: str = "let-me") -> str:
                    source = {"endpoint": f"{directory.url}{path}", "access_token": token}
                    names = {"groups": "src"}
                    return issuer.token(sub=path, _claim_names=names, _claim_sources={"src": source})

                groups = ["g:a", "g:b", "system:authenticated"]
                assert await who(ask, pointing("/groups")) == {"username": "/groups", "groups": groups}
                for token, why in (
                    (pointing("/groups", "no"), 'while getting distributed claim "groups": 403'),
                    (pointing("/others"), 'verify distributed claim token: oidc: expected audience in ["cluster"]'),
                    (pointing("/forged"), "verify distributed claim token: failed to verify signature"),
                    (pointing("/none"), "did not contain claim: groups"),
                    (pointing("/odd"), "getting untrusted issuer from endpoint"),
                    (issuer.token(_claim_names={"groups": "src"}), "oidc: no claim sources"),
                    (issuer.token(_claim_names=7, _claim_sources={}), "error parsing distributed claim names"),
                    (
                        issuer.token(_claim_names={"groups": "src"}, _claim_sources={}),
                        "id token _claim_names contained a source src missing in _claims_sources",
                    ),
                    (
                        issuer.token(
                            _claim_names={"groups": "src"}, _claim_sources={"src": {"endpoint": "file:///etc/passwd"}}
                        ),
                        "file:///etc/passwd is no https URL",
                    ),
                ):
                    assert await who(ask, token) == 401
                    said = (await token_review(ask, token))["error"]
                    assert "oidc: could not expand distributed claims: " in said
                    assert why in said

    asyncio.run(main())


async def codes(api: RunningAPIServer, *paths: str) -> list[int]:
    """How requests without any credential are answered."""
    answers = [await api.handle(Request("GET", path)) for path in paths]
    return [answer.status for answer in answers if isinstance(answer, Response)]


@pytest.mark.parametrize(
    ("anonymous", "expected"),
    [
        (None, [200, 200]),
        ({"enabled": False}, [401, 401]),
        ({"enabled": True, "conditions": [{"path": "/readyz"}]}, [200, 401]),
    ],
)
def test_who_is_anonymous_where(tmp_path: Path, anonymous: Mapping[str, Any] | None, expected: list[int]) -> None:
    more = {} if anonymous is None else {"anonymous": anonymous}

    async def main() -> None:
        settings = file_settings(tmp_path, authentication_configuration(**more))
        async with api_server(authentication=settings) as api:
            assert await codes(api, "/readyz", "/version") == expected
        if anonymous is not None:
            with pytest.raises(ConfigurationError, match="--anonymous-auth flag cannot be set when anonymous field"):
                async with api_server(authentication=replace(settings, configures_anonymous=False)):
                    pass
        async with api_server(authentication=AuthenticationSettings(anonymous_auth=False)) as api:
            assert await codes(api, "/readyz", "/version") == [401, 401]

    asyncio.run(main())


def test_flags_name_one_issuer(tmp_path: Path, other: ClusterPKI) -> None:
    issuer = OIDCIssuer([TokenKey.make("r", "RS256"), TokenKey.make("e", "ES256")])

    async def main() -> None:
        async with world(other, issuer):
            options = AccessOptions(
                oidc_issuer_url=issuer.url,
                oidc_client_id="cluster",
                oidc_ca_file=str(other.ca.certificate_path),
                oidc_groups_claim="role",
                oidc_groups_prefix="g:",
                oidc_required_claim={"hd": "x"},
            )
            settings = options.authentication(other.front_proxy_ca.certificate_pem)
            async with api_server(authentication=settings) as api:
                ask = asking(api.handle)
                rsa, elliptic = issuer.keys
                token = rsa.sign(issuer.claims(hd="x", role="one"))
                await is_known(ask, token)
                assert await who(ask, token) == {
                    "username": f"{issuer.url}#jane",
                    "groups": ["g:one", "system:authenticated"],
                }
                assert await who(ask, rsa.sign(issuer.claims())) == 401
                # Only RS256, unless told otherwise.
                assert await who(ask, elliptic.sign(issuer.claims(hd="x"))) == 401

    asyncio.run(main())


def test_a_webhook_knows_tokens(tmp_path: Path, other: ClusterPKI) -> None:
    def answer(review: dict[str, Any]) -> Any:
        match review["spec"]["token"]:
            case "good":
                user = {"username": "ann", "uid": "7", "groups": ["g"], "extra": {"k": ["v"]}}
                return {"authenticated": True, "user": user}
            case "elsewhere":
                return {"authenticated": True, "user": {"username": "ann"}, "audiences": ["vault"]}
            case "worded":
                return {"authenticated": False, "error": "it was stolen"}
            case "broken":
                return Response(403, {"content-type": "text/plain"}, b"not you")
            case _:
                return {"authenticated": False}

    server = ReviewServer(answer)

    async def main(version: str) -> None:
        async with world(other, server):
            path = webhook_kubeconfig(tmp_path / "webhook.conf", f"{server.url}/authenticate", other)
            settings = AuthenticationSettings(token_webhook=TokenWebhookSettings(path, version))
            async with api_server(authentication=settings) as api:
                ask = asking(api.handle)
                user = {
                    "username": "ann",
                    "uid": "7",
                    "groups": ["g", "system:authenticated"],
                    "extra": {"k": ["v"]},
                }
                assert [await who(ask, "good") for _ in range(3)] == [user] * 3
                assert server.asked == [
                    {
                        "apiVersion": f"authentication.k8s.io/{version}",
                        "kind": "TokenReview",
                        "spec": {"token": "good", "audiences": [ISSUER]},
                    }
                ]
                assert server.queries == ["timeout=30s"]
                assert (await token_review(ask, "good"))["user"] == user
                assert len(server.asked) == 1
                assert [await who(ask, "unknown"), await who(ask, "unknown")] == [401, 401]
                assert len(server.asked) == 2
                assert await who(ask, "elsewhere") == 401
                said = await token_review(ask, "elsewhere", "vault", "other")
                assert (said["authenticated"], said["audiences"]) == (True, ["vault"])
                assert "it was stolen" in (await token_review(ask, "worded"))["error"]
                assert "not you" in (await token_review(ask, "broken"))["error"]
                assert await who(ask, "broken") == 401
                # The server's own tokens are not shown to others.
                assert await who(ask, "admin-token") != 401
                assert all(one["spec"]["token"] != "admin-token" for one in server.asked)

    asyncio.run(main("v1"))
    server.asked.clear()
    server.queries.clear()
    asyncio.run(main("v1beta1"))


def webhook_entry(path: Path, name: str = "hook", **more: Any) -> dict[str, Any]:
    webhook = {
        "timeout": "3s",
        "subjectAccessReviewVersion": "v1",
        "failurePolicy": "NoOpinion",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": str(path)},
        **more,
    }
    return {"type": "Webhook", "name": name, "webhook": webhook}


NODE_AND_RBAC = ({"type": "Node", "name": "node"}, {"type": "RBAC", "name": "rbac"})


def by_user(review: dict[str, Any]) -> Any:
    """What the webhook says of the users of these tests."""
    match review["spec"]["user"]:
        case "jane":
            return {"allowed": True, "reason": "it is jane"}
        case "mallory":
            return {"denied": True, "reason": "it is mallory"}
        case "both":
            return {"allowed": True, "denied": True}
        case "broken":
            return Response(403, {"content-type": "text/plain"}, b"no")
        case _:
            return {}


async def review(ask: Ask, user: str, **attributes: str) -> dict[str, Any]:
    given = {"verb": "get", "resource": "pods", "namespace": "default", **attributes}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": given},
    }
    status, answer = await ask("POST", ACCESS_REVIEWS, body)
    assert status == 201, answer
    said: dict[str, Any] = answer["status"]
    return said


def authorization_file(folder: Path, *authorizers: Mapping[str, Any], version: str = "v1") -> AuthorizationSettings:
    path = folder / "authorization.yaml"
    path.write_text(authorization_configuration(*authorizers, version=version))
    return AuthorizationSettings(configuration_file=path)


def test_a_webhook_allows_denies_and_leaves_it_to_others(tmp_path: Path, other: ClusterPKI) -> None:
    server = ReviewServer(by_user)

    async def main() -> None:
        async with world(other, server):
            path = webhook_kubeconfig(tmp_path / "webhook.conf", server.url, other)
            settings = authorization_file(tmp_path, webhook_entry(path), *NODE_AND_RBAC)
            async with api_server(authorization=settings) as api:
                ask = asking(api.handle)
                assert (await ask("GET", CONFIG_MAPS, token="user-token"))[0] == 200
                assert server.asked == [
                    {
                        "apiVersion": "authorization.k8s.io/v1",
                        "kind": "SubjectAccessReview",
                        "spec": {
                            "user": "jane",
                            "groups": ["system:authenticated"],
                            "uid": "jane",
                            "resourceAttributes": {
                                "namespace": "default",
                                "verb": "list",
                                "version": "v1",
                                "resource": "configmaps",
                            },
                        },
                    }
                ]
                assert server.queries == ["timeout=3s"]
                # What was allowed is remembered, and system:masters is asked nobody about.
                assert (await ask("GET", CONFIG_MAPS, token="user-token"))[0] == 200
                assert (await ask("GET", CONFIG_MAPS))[0] == 200
                assert len(server.asked) == 1
                selected = f"{CONFIG_MAPS}?fieldSelector=metadata.name%3Da&labelSelector=a%20in%20(b,c),!d"
                assert (await ask("GET", selected, token="user-token"))[0] == 200
                asked = server.asked[-1]["spec"]["resourceAttributes"]
                assert asked["fieldSelector"]["requirements"] == [
                    {"key": "metadata.name", "operator": "In", "values": ["a"]}
                ]
                assert asked["labelSelector"]["requirements"] == [
                    {"key": "a", "operator": "In", "values": ["b", "c"]},
                    {"key": "d", "operator": "DoesNotExist"},
                ]
                assert await review(ask, "jane") == {"allowed": True, "reason": "it is jane"}
                assert await review(ask, "mallory") == {"allowed": False, "denied": True, "reason": "it is mallory"}
                assert await review(ask, "joe") == {"allowed": False}
                both = await review(ask, "both")
                assert (both["denied"], both["evaluationError"]) == (
                    True,
                    "webhook subject access review returned both allow and deny response",
                )
                assert await review(ask, "broken") == {"allowed": False, "evaluationError": "no"}
                as_mallory = {"impersonate_user": "mallory"}
                status, said = await ask("GET", CONFIG_MAPS, **as_mallory)
                assert (status, said["message"]) == (
                    403,
                    'configmaps is forbidden: User "mallory" cannot list resource "configmaps" in API group "" in the '
                    'namespace "default": it is mallory',
                )
                status, said = await ask("GET", f"{CONFIG_MAPS}?a=1&b", impersonate_user="broken")
                assert (status, said) == (500, f'Internal Server Error: "{CONFIG_MAPS}?a=1&amp;b": no\n')
                body = {
                    "apiVersion": "authorization.k8s.io/v1",
                    "kind": "SelfSubjectRulesReview",
                    "spec": {"namespace": "default"},
                }
                _, said = await ask("POST", RULES_REVIEWS, body)
                assert said["status"]["incomplete"] is True
                assert said["status"]["evaluationError"] == "webhook authorizer does not support user rule resolution"

    asyncio.run(main())


def test_conditions_decide_whether_a_webhook_is_asked(tmp_path: Path, other: ClusterPKI) -> None:
    server = ReviewServer(lambda review: {"denied": True})

    async def main() -> None:
        async with world(other, server):
            path = webhook_kubeconfig(tmp_path / "webhook.conf", server.url, other)
            conditions = [
                {"expression": "has(request.resourceAttributes)"},
                {"expression": "request.resourceAttributes.resource == 'secrets' || request.user == 'odd'"},
                {"expression": "request.user != 'odd' || request.extra['none'][0] == 'x'"},
            ]
            closed = webhook_entry(
                path,
                failurePolicy="Deny",
                matchConditionSubjectAccessReviewVersion="v1",
                matchConditions=conditions,
            )
            settings = authorization_file(tmp_path, closed, *NODE_AND_RBAC, version="v1beta1")
            async with api_server(authorization=settings) as api:
                ask = asking(api.handle)
                assert await review(ask, "joe") == {"allowed": False}
                assert server.asked == []
                assert await review(ask, "joe", resource="secrets") == {"allowed": False, "denied": True}
                said = await review(ask, "odd")
                assert said["denied"] is True
                assert said["evaluationError"] == (
                    "cel evaluation error: expression 'request.user != 'odd' || request.extra['none'][0] == 'x'' "
                    "resulted in error: no such key: none"
                )
                assert len(server.asked) == 1

    asyncio.run(main())


def test_a_webhook_that_does_not_answer_fails_open_or_closed(tmp_path: Path, other: ClusterPKI) -> None:
    server = ReviewServer(lambda review: None)

    async def main() -> None:
        async with world(other, server):
            path = webhook_kubeconfig(tmp_path / "webhook.conf", server.url, other)
            entries = [webhook_entry(path, "open", timeout="20ms"), *NODE_AND_RBAC]
            async with api_server(authorization=authorization_file(tmp_path, *entries)) as api:
                ask = asking(api.handle)
                said = await review(ask, "system:kube-scheduler", resource="pods", verb="list")
                assert said["allowed"] is True
                said = await review(ask, "joe")
                assert said["allowed"] is False
                assert "context deadline exceeded" in said["evaluationError"]
                _, metrics = await ask("GET", "/metrics")
                name = 'apiserver_authorization_webhook_evaluations_fail_open_total{result="timeout",name="open"} 2'
                assert name in metrics.splitlines()
            entries[0] = webhook_entry(path, "closed", timeout="20ms", failurePolicy="Deny")
            async with api_server(authorization=authorization_file(tmp_path, *entries)) as api:
                said = await review(asking(api.handle), "system:kube-scheduler", resource="pods", verb="list")
                assert (said["allowed"], said["denied"]) == (False, True)

    asyncio.run(main())


def test_authorizers_change_with_their_file_but_for_what_the_server_began_with(
    tmp_path: Path, other: ClusterPKI
) -> None:
    server = ReviewServer(by_user)
    clock = HandClock()

    async def main() -> None:
        async with world(other, server):
            kubeconfig = webhook_kubeconfig(tmp_path / "webhook.conf", server.url, other)
            settings = authorization_file(tmp_path, *NODE_AND_RBAC)
            path = settings.configuration_file
            assert path is not None
            async with api_server(clock, authorization=settings) as api:
                ask = asking(api.handle)
                assert await review(ask, "jane") == {"allowed": False}

                async def allowed() -> bool:
                    return bool((await review(ask, "jane"))["allowed"])

                async def failed() -> bool:
                    _, metrics = await ask("GET", "/metrics")
                    counted = "authorization_config_controller_automatic_reloads_total"
                    return f'{counted}{{apiserver_id_hash="",status="failure"}} 1' in metrics

                path.write_text(authorization_configuration(webhook_entry(kubeconfig), *NODE_AND_RBAC))
                await until(allowed, clock)
                path.write_text(authorization_configuration(webhook_entry(kubeconfig)))
                await until(failed, clock)
                assert await allowed()

                async def refused() -> bool:
                    return not await allowed()

                path.write_text(authorization_configuration(*NODE_AND_RBAC))
                await until(refused, clock)

    asyncio.run(main())


async def may_create_config_maps(ask: Ask, user: str) -> None:
    group = "rbac.authorization.k8s.io"
    made = {"apiVersion": f"{group}/v1", "metadata": {"name": "writer"}}
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}
    for plural, body in (
        ("roles", {"kind": "Role", "rules": [rule]}),
        (
            "rolebindings",
            {
                "kind": "RoleBinding",
                "roleRef": {"apiGroup": group, "kind": "Role", "name": "writer"},
                "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
            },
        ),
    ):
        status, answer = await ask("POST", f"/apis/{group}/v1/namespaces/default/{plural}", {**made, **body})
        assert status == 201, answer


def test_what_only_a_webhook_allows_counts_in_every_check(tmp_path: Path, other: ClusterPKI) -> None:
    """Expressions of policies, impersonation, escalation: they all ask the same authorizers."""

    def answer(review: dict[str, Any]) -> Any:
        return {"allowed": review["spec"]["user"] == "jane"}

    server = ReviewServer(answer)

    async def main() -> None:
        async with world(other, server):
            path = webhook_kubeconfig(tmp_path / "webhook.conf", server.url, other)
            options = AccessOptions(
                authorization_mode=("Node", "RBAC", "Webhook"),
                authorization_webhook_config_file=str(path),
                authorization_webhook_version="v1",
            )
            async with api_server(authorization=options.authorization()) as api:
                ask = asking(api.handle)
                group = "/apis/admissionregistration.k8s.io/v1"
                rule = {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE"],
                    "resources": ["configmaps"],
                }
                spec = {
                    "matchConstraints": {"resourceRules": [rule]},
                    "validations": [
                        {
                            "expression": "authorizer.group('').resource('flags').check('raise').allowed() && "
                            "!authorizer.serviceAccount('a', 'b').group('').resource('x').check('get').allowed()",
                            "message": "may not raise flags",
                        }
                    ],
                }
                kind = "ValidatingAdmissionPolicy"
                made = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "p"}}
                await ask("POST", f"{group}/validatingadmissionpolicies", {**made, "kind": kind, "spec": spec})
                bound = {"policyName": "p", "validationActions": ["Deny"]}
                binding = {**made, "kind": f"{kind}Binding", "spec": bound}
                assert (await ask("POST", f"{group}/validatingadmissionpolicybindings", binding))[0] == 201
                count = 0

                async def write(**headers: str) -> int:
                    nonlocal count
                    count += 1
                    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{count}"}}
                    return (await ask("POST", CONFIG_MAPS, body, **headers))[0]

                await may_create_config_maps(ask, "joe")

                async def refused() -> bool:
                    return await write(impersonate_user="joe") == 422

                await until(refused)
                jane = {"token": "user-token"}
                assert await write(**jane) == 201
                # Jane may act as others, and give rights she has by no role: the verbs are allowed by the webhook.
                assert await write(**jane, impersonate_user="joe") == 422
                assert (await ask("GET", "/version", **jane, impersonate_user="joe"))[0] == 200
                role = {
                    "apiVersion": "rbac.authorization.k8s.io/v1",
                    "kind": "Role",
                    "metadata": {"name": "strong"},
                    "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
                }
                roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"
                assert (await ask("POST", roles, role, **jane))[0] == 201

    asyncio.run(main())


def test_a_proxy_in_front_says_who_calls(tmp_path: Path, other: ClusterPKI) -> None:
    stranger = authority(tmp_path / "stranger")
    jane = issue_client(other, "jane", "jane", ("dev",), datetime.now(UTC))
    proxies = RequestHeaderSettings(ca_pem=other.front_proxy_ca.certificate_pem, allowed_names=("front-proxy-client",))
    masters = ("X-Remote-User: ann", "X-Remote-Group: system:masters")
    whole = (
        "X-Remote-User: ann",
        "X-Remote-Group: one, two",
        "x-remote-group: three",
        "X-Remote-Uid: 7",
        "X-Remote-Extra-Example.com%2fTeam: t",
    )
    ann = {
        "username": "ann",
        "uid": "7",
        "groups": ["one, two", "three", "system:authenticated"],
        "extra": {"example.com/team": ["t"]},
    }
    nobody = {"username": "system:anonymous", "groups": ["system:unauthenticated"]}
    cases: tuple[tuple[KeyPair | None, tuple[str, ...], object], ...] = (
        (other.front_proxy_client, whole, ann),
        # Nobody else is believed: not without a certificate, nor with one that is good for something else.
        (None, masters, nobody),
        (jane, masters, 401),
        (stranger.front_proxy_client, masters, 401),
        (other.apiserver, masters, 401),
        # A proxy that names nobody is nobody, whoever it is itself.
        (other.front_proxy_client, ("X-Remote-Group: system:masters",), 401),
        (other.front_proxy_client, ("X-Remote-User:",), 401),
    )

    async def main() -> None:
        async with api_server(authentication=AuthenticationSettings(request_header=proxies)) as api:
            pair = other.apiserver
            context = server_context(pair.certificate_path, pair.key_path, other.ca.certificate_path)
            server = Server(api.handle, context, "127.0.0.1", 0)
            await server.start()
            try:
                async with asyncio.timeout(60):
                    for certificate, lines, expected in cases:
                        assert await named(server.bound_port, other, certificate, lines) == expected, lines
            finally:
                await server.shutdown(0.1)

    asyncio.run(main())


async def named(port: int, other: ClusterPKI, pair: KeyPair | None, lines: tuple[str, ...]) -> object:
    """Who one is, over TLS with the certificate and these lines of headers; the code if nobody."""
    context = ssl.create_default_context(cadata=other.ca.certificate_pem.decode())
    if pair is not None:
        context.load_cert_chain(pair.certificate_path, pair.key_path)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    body = b'{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}'
    first = (f"POST {SELF} HTTP/1.1", "Host: a", "Connection: close", f"Content-Length: {len(body)}")
    writer.write("".join(f"{line}\r\n" for line in (*first, *lines, "")).encode() + body)
    head, _, content = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    code = int(head.split()[1])
    if code == 403:
        # Nobody in particular may not ask.
        return {"username": "system:anonymous", "groups": ["system:unauthenticated"]}
    return code if code != 201 else json.loads(content)["status"]["userInfo"]
