"""Bootstrap tokens sign what new nodes trust, for as long as they are good, and go when they are not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from keelback.api.core_v1 import ConfigMap, Secret
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.controllers.bootstrap_tokens import (
    BootstrapSignerReconciler,
    TokenCleanerReconciler,
    detached_signature,
    is_expired,
    signed,
    signing_tokens,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def token(id: str = "abcdef", **data: str) -> Secret:
    held = {"token-id": id, "token-secret": "0123456789abcdef", "usage-bootstrap-signing": "true", **data}
    return Secret(
        metadata=ObjectMeta(name=f"bootstrap-token-{id}", namespace="kube-system"),
        type="bootstrap.kubernetes.io/token",
        data={key: value.encode() for key, value in held.items()},
    )


def test_a_signature_is_the_one_kubeadm_checks() -> None:
    # RFC 7515, A.1, with an empty payload in its place.
    assert detached_signature("Hear me roar!", "joshua", "my-secret") == (
        "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..ac5a7cO490G_-Px4XmBFXtdgWwyAOGyc5X1CufoReaY"
    )


def test_tokens_sign_that_are_good_and_for_signing() -> None:
    tokens = [
        token("aaaaaa"),
        token("bbbbbb", expiration="2025-12-31T23:59:59Z"),
        token("cccccc", expiration="2026-01-01T00:00:01Z"),
        token("dddddd", **{"usage-bootstrap-signing": "false"}),
        token("eeeeee", **{"token-secret": "short"}),
        replace(token("ffffff"), metadata=ObjectMeta(name="other", namespace="kube-system")),
    ]
    assert list(signing_tokens(tokens, NOW)) == ["aaaaaa", "cccccc"]


def test_a_time_that_cannot_be_read_is_over() -> None:
    assert is_expired(token(expiration="tomorrow"), NOW)
    assert not is_expired(token(), NOW)


def test_signatures_of_other_tokens_are_taken_away_and_nothing_is_signed_that_is_not_there() -> None:
    info = ConfigMap(data={"kubeconfig": "K", "jws-kubeconfig-old": "x", "else": "y"})
    once = signed(info, {"abcdef": "0123456789abcdef"})
    assert sorted(once.data) == ["else", "jws-kubeconfig-abcdef", "kubeconfig"]
    assert signed(once, {"abcdef": "0123456789abcdef"}) is once
    empty = ConfigMap(data={"jws-kubeconfig-old": "x"})
    assert signed(empty, {"abcdef": "0123456789abcdef"}) is empty


def test_cluster_info_is_signed_anew_as_tokens_come_and_go(served_world: Any) -> None:
    async def play() -> None:
        async with served_world() as world:
            info = ConfigMap(
                metadata=ObjectMeta(name="cluster-info", namespace="kube-public"), data={"kubeconfig": "K"}
            )
            await world.client.create(info)
            signer = BootstrapSignerReconciler(world.context("bootstrap-signer"))
            cleaner = TokenCleanerReconciler(world.context("token-cleaner"))
            async with world.running(signer, cleaner):
                await world.client.create(token())
                await world.until(ConfigMap, lambda all: [one for one in all if "jws-kubeconfig-abcdef" in one.data])
                past = (world.clock.now() - timedelta(seconds=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
                held = await world.client.get(Secret, "bootstrap-token-abcdef", "kube-system")
                await world.client.update(replace(held, data={**held.data, "expiration": past.encode()}))
                await world.until(
                    ConfigMap,
                    lambda all: [
                        one for one in all if one.metadata.name == "cluster-info" and list(one.data) == ["kubeconfig"]
                    ],
                )
                await world.until(Secret, lambda all: not all)

    asyncio.run(play())
