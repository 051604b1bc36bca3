"""The serviceaccount-token controller: fills Secrets that ask for a ServiceAccount's token, and ends them with it.

Such tokens do not expire; pods have had bound tokens instead since Kubernetes 1.24. https://kep.k8s.io/2799
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from keelback.api.core_v1 import Secret, ServiceAccount
from keelback.apimachinery import errors
from keelback.apimachinery.meta import replace
from keelback.client import Change
from keelback.controllers.config import TokenMaker
from keelback.controllers.observed import SERVICE_ACCOUNT_TOKEN, SecretType
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result

ACCOUNT_NAME = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"


def completed(secret: Secret, account: ServiceAccount, root_ca: bytes, make_token: Callable[[], str]) -> Secret:
    """The Secret with all that a client inside the cluster needs; itself if it has that."""
    data = dict(secret.data)
    if root_ca and data.get("ca.crt") != root_ca:
        data["ca.crt"] = root_ca
    if not data.get("namespace"):
        data["namespace"] = secret.metadata.namespace.encode()
    if not data.get("token"):
        data["token"] = make_token().encode()
    if data == secret.data:
        return secret
    whose = {ACCOUNT_NAME: account.metadata.name, ACCOUNT_UID: account.metadata.uid}
    metadata = replace(secret.metadata, annotations={**secret.metadata.annotations, **whose})
    return replace(secret, metadata=metadata, data=data)


def is_of(secret: SecretType, account: ServiceAccount) -> bool:
    """Whether the Secret is for this very account, and not for a namesake that is gone."""
    annotations = secret.metadata.annotations
    return (
        annotations.get(ACCOUNT_NAME) == account.metadata.name
        and (annotations.get(ACCOUNT_UID) or account.metadata.uid) == account.metadata.uid
    )


@dataclass(frozen=True, slots=True)
class ServiceAccountTokenReconciler:
    """Looks at Secrets of the type when they or their accounts change."""

    context: Context
    root_ca: str
    tokens: TokenMaker
    name: ClassVar = "serviceaccount-token-controller"
    # It makes what others sign in with, so that it acts as the manager itself.
    role: ClassVar = "kube-controller-manager"
    component: ClassVar = "serviceaccount-token-controller"
    kind: ClassVar = SecretType
    owns: ClassVar = ()
    reads: ClassVar = (ServiceAccount,)

    def sources(self) -> Sequence[Source]:
        return (Source(ServiceAccount, self._secrets_of, _came_or_went),)

    def is_relevant(self, change: Change[Any]) -> bool:
        return bool(change.object.type == SERVICE_ACCOUNT_TOKEN)

    async def reconcile(self, secret: SecretType) -> Result:
        if secret.type != SERVICE_ACCOUNT_TOKEN or secret.metadata.deletion_timestamp is not None:
            return DONE
        account = await self._account(secret)
        metadata = secret.metadata
        if account is None:
            await self.context.client.delete(Secret, metadata.name, metadata.namespace, uid=metadata.uid)
            return DONE
        try:
            whole = await self.context.client.get(Secret, metadata.name, metadata.namespace)
        except errors.NotFound:
            return DONE
        wanted = completed(
            whole, account, self.root_ca.encode(), lambda: self.tokens.issue_legacy(account.metadata, metadata.name)
        )
        if wanted is not whole:
            await self.context.client.update(wanted)
        return DONE

    async def reconcile_absence(self, namespace: str, name: str) -> Result:
        """No account refers to a Secret that is gone."""
        for held in self.context.caches.store(ServiceAccount).list(namespace):
            if not any(one.name == name for one in held.secrets):
                continue
            account = await self.context.client.get(ServiceAccount, held.metadata.name, namespace)
            left = tuple(one for one in account.secrets if one.name != name)
            if len(left) != len(account.secrets):
                await self.context.client.update(replace(account, secrets=left))
        return DONE

    async def _account(self, secret: SecretType) -> ServiceAccount | None:
        name, namespace = secret.metadata.annotations.get(ACCOUNT_NAME, ""), secret.metadata.namespace
        account = self.context.caches.store(ServiceAccount).get(namespace, name)
        if account is not None and is_of(secret, account):
            return account
        try:  # the Secret may be known before its account is
            account = await self.context.client.get(ServiceAccount, name, namespace)
        except errors.NotFound:
            return None
        return account if is_of(secret, account) else None

    def _secrets_of(self, account: ServiceAccount) -> list[tuple[str, str]]:
        held = self.context.caches.store(SecretType).list(account.metadata.namespace)
        name = account.metadata.name
        return [
            (one.metadata.namespace, one.metadata.name)
            for one in held
            if one.type == SERVICE_ACCOUNT_TOKEN and one.metadata.annotations.get(ACCOUNT_NAME) == name
        ]


def _came_or_went(change: Change[ServiceAccount]) -> bool:
    return change.old is None or change.new is None or change.old.metadata.uid != change.new.metadata.uid
