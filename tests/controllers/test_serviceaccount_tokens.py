"""Secrets that ask for an account's token get one that signs in, and live no longer than the account."""

from __future__ import annotations

import asyncio
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keelback.api.core_v1 import ObjectReference, Secret, ServiceAccount
from keelback.apimachinery.meta import ObjectMeta
from keelback.auth.service_accounts import TokenIssuer
from keelback.controllers.serviceaccount_tokens import ACCOUNT_NAME, ACCOUNT_UID, ServiceAccountTokenReconciler

TYPE = "kubernetes.io/service-account-token"


def issuer() -> TokenIssuer:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return TokenIssuer(pem)


def secret(name: str, account: str, **annotations: str) -> Secret:
    metadata = ObjectMeta(name=name, namespace="default", annotations={ACCOUNT_NAME: account, **annotations})
    return Secret(metadata=metadata, type=TYPE)


def filled(secrets: list[Secret]) -> Secret | None:
    return next((one for one in secrets if one.type == TYPE and one.data.get("token")), None)


def test_a_secret_is_filled_for_its_account_and_goes_with_it(served_world: Any) -> None:
    async def play() -> None:
        async with served_world() as world:
            account = ServiceAccount(
                metadata=ObjectMeta(name="robot", namespace="default"),
                secrets=(ObjectReference(name="token"), ObjectReference(name="other")),
            )
            made = await world.client.create(account)
            context = world.context("kube-controller-manager")
            async with world.running(ServiceAccountTokenReconciler(context, "PEM", issuer())):
                await world.client.create(secret("token", "robot"))
                held = await world.until(Secret, filled)
                assert held.data["ca.crt"] == b"PEM"
                assert held.data["namespace"] == b"default"
                assert held.data["token"].count(b".") == 2
                assert held.metadata.annotations[ACCOUNT_UID] == made.metadata.uid
                # Without its Secret, the account refers to it no longer; what else it refers to stays.
                await world.client.delete(Secret, "token", "default")
                await world.until(
                    ServiceAccount,
                    lambda all: [
                        one
                        for one in all
                        if one.metadata.name == "robot" and [o.name for o in one.secrets] == ["other"]
                    ],
                )
                await world.client.create(secret("again", "robot"))
                await world.until(Secret, filled)
                await world.client.delete(ServiceAccount, "robot", "default")
                await world.until(Secret, lambda all: not [one for one in all if one.type == TYPE])

    asyncio.run(play())


def test_a_secret_of_nobody_or_of_a_namesake_is_deleted_and_others_are_left_alone(served_world: Any) -> None:
    async def play() -> None:
        async with served_world() as world:
            await world.client.create(ServiceAccount(metadata=ObjectMeta(name="robot", namespace="default")))
            context = world.context("kube-controller-manager")
            plain = Secret(metadata=ObjectMeta(name="plain", namespace="default"), data={"a": b"b"})
            await world.client.create(plain)
            await world.client.create(secret("nobody", "ghost"))
            await world.client.create(secret("namesake", "robot", **{ACCOUNT_UID: "another"}))
            async with world.running(ServiceAccountTokenReconciler(context, "PEM", issuer())):
                await world.until(Secret, lambda all: [one.metadata.name for one in all] == ["plain"])

    asyncio.run(play())
