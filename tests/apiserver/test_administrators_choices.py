"""What an administrator decides about tokens, ports, events and containers is so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from keelback.auth.service_account_settings import ServiceAccountSettings
from keelback.registry import runtime_config
from keelback.testing.api import api_server
from keelback.testing.clock import HandClock
from keelback.testing.requests import Ask, asking

DEFAULT = "/api/v1/namespaces/default"


def run(check: Callable[[Ask], Awaitable[None]], **decided: Any) -> None:
    async def main() -> None:
        async with api_server(decided=decided) as api, asyncio.timeout(30):
            await check(asking(api.handle))

    asyncio.run(main())


def test_tokens_are_from_the_issuer_and_no_longer_good_than_allowed() -> None:
    settings = ServiceAccountSettings(
        issuers=("https://new.example.com", "https://old.example.com"),
        api_audiences=("cluster",),
        jwks_uri="https://keys.example.com/jwks",
        max_token_seconds=3600,
    )

    async def check(ask: Ask) -> None:
        _, found = await ask("GET", "/.well-known/openid-configuration")
        assert (found["issuer"], found["jwks_uri"]) == ("https://new.example.com", "https://keys.example.com/jwks")
        assert (await ask("POST", f"{DEFAULT}/serviceaccounts", {"metadata": {"name": "a"}}))[0] == 201
        wanted = {"spec": {"expirationSeconds": 7200}}
        status, made = await ask("POST", f"{DEFAULT}/serviceaccounts/a/token", wanted)
        assert (status, made["spec"]["audiences"], made["spec"]["expirationSeconds"]) == (201, ["cluster"], 3600)
        token = made["status"]["token"]
        _, me = await ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, token=token)
        assert me["status"]["userInfo"]["username"] == "system:serviceaccount:default:a"
        review = {"spec": {"token": token}}
        _, reviewed = await ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
        assert reviewed["status"]["audiences"] == ["cluster"]

    run(check, service_accounts=settings)


def test_services_get_ports_of_the_range() -> None:
    async def check(ask: Ask) -> None:
        spec = {"type": "NodePort", "ports": [{"port": 80}]}
        _, made = await ask("POST", f"{DEFAULT}/services", {"metadata": {"name": "a"}, "spec": spec})
        assert made["spec"]["ports"][0]["nodePort"] == 31000
        spec["ports"] = [{"port": 80, "nodePort": 30000}]
        status, failure = await ask("POST", f"{DEFAULT}/services", {"metadata": {"name": "b"}, "spec": spec})
        assert (status, "The range of valid ports is 31000-31000" in failure["message"]) == (422, True)

    run(check, node_ports=(31000, 31000))


def test_containers_are_privileged_only_where_that_is_allowed() -> None:
    container = {"name": "c", "image": "i", "securityContext": {"privileged": True}}
    pod = {"initContainers": [container], "containers": [{"name": "d", "image": "i"}]}
    labels = {"a": "b"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}

    async def check(ask: Ask) -> None:
        metadata = {"name": "a"}
        status, failure = await ask("POST", f"{DEFAULT}/pods", {"metadata": metadata, "spec": pod})
        assert status == 422
        assert failure["message"] == (
            'Pod "a" is invalid: spec.initContainers[0].securityContext.privileged: Forbidden: disallowed by cluster'
            " policy"
        )
        spec = {"selector": {"matchLabels": labels}, "template": template}
        status, failure = await ask(
            "POST", "/apis/apps/v1/namespaces/default/deployments", {"metadata": metadata, "spec": spec}
        )
        field = failure["details"]["causes"][0]["field"]
        assert (status, field) == (422, "spec.template.spec.containers[0].securityContext.privileged")

    run(check, allows_privileged_containers=False)


def test_events_are_kept_for_as_long_as_is_wanted() -> None:
    async def main() -> None:
        clock = HandClock()
        async with api_server(clock, decided={"event_ttl_seconds": 10.0}) as api, asyncio.timeout(30):
            ask = asking(api.handle)
            about = {"kind": "Pod", "name": "p", "namespace": "default"}
            event = {"metadata": {"name": "e"}, "involvedObject": about}
            assert (await ask("POST", f"{DEFAULT}/events", event))[0] == 201
            clock.advance(9)
            assert (await ask("GET", f"{DEFAULT}/events/e"))[0] == 200
            clock.advance(2)
            while (await ask("GET", f"{DEFAULT}/events/e"))[0] != 404:  # noqa: ASYNC110
                await asyncio.sleep(0)

    asyncio.run(main())


def test_what_is_switched_off_is_not_there() -> None:
    async def check(ask: Ask) -> None:
        _, groups = await ask("GET", "/apis")
        names = {one["name"] for one in groups["groups"]}
        assert ("apps" in names, "batch" in names) == (False, True)
        _, listed = await ask("GET", "/apis/batch/v1")
        assert [one["name"] for one in listed["resources"]] == ["jobs", "jobs/status"]
        assert (await ask("GET", "/apis/apps/v1/deployments"))[0] == 404
        assert (await ask("GET", "/apis/batch/v1/cronjobs"))[0] == 404
        assert (await ask("GET", "/apis/batch/v1/jobs"))[0] == 200
        _, local = await ask("GET", "/apis/apiregistration.k8s.io/v1/apiservices")
        assert "v1.apps" not in {one["metadata"]["name"] for one in local["items"]}
        _, index = await ask("GET", "/openapi/v3")
        assert "apis/apps/v1" not in str(index)

    run(check, hidden=runtime_config.hidden({"apps/v1": "false", "batch/v1/cronjobs": "false"}))


def test_discovery_calls_the_server_by_the_name_it_has_outside() -> None:
    async def check(ask: Ask) -> None:
        _, found = await ask("GET", "/api")
        assert [one["serverAddress"] for one in found["serverAddressByClientCIDRs"]] == ["api.example.com:6443"]

    run(check, external_hostname="api.example.com")
