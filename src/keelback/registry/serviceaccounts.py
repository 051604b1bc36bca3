"""ServiceAccounts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from keelback.api.core_v1 import ObjectReference, ServiceAccount
from keelback.apimachinery.meta import replace
from keelback.registry.strategy import Strategy

_ENFORCE_MOUNTABLE_SECRETS: Final = "kubernetes.io/enforce-mountable-secrets"


class ServiceAccountStrategy(Strategy[ServiceAccount]):
    kind = ServiceAccount
    checks_metadata_as_new = True
    subresources = ("token",)
    counts_generations = False
    answers_deleted_object = True

    def prepare_for_create(self, new: ServiceAccount) -> ServiceAccount:
        return _with_names_only(new)

    def prepare_for_update(self, new: ServiceAccount, old: ServiceAccount) -> ServiceAccount:
        return _with_names_only(new)

    def warnings(self, new: ServiceAccount, old: ServiceAccount | None) -> Iterable[str]:
        had = old is not None and _ENFORCE_MOUNTABLE_SECRETS in old.metadata.annotations
        if not had and _ENFORCE_MOUNTABLE_SECRETS in new.metadata.annotations:
            yield (
                f"metadata.annotations[{_ENFORCE_MOUNTABLE_SECRETS}]: deprecated in v1.32+; "
                "prefer separate namespaces to isolate access to mounted secrets"
            )


def _with_names_only(account: ServiceAccount) -> ServiceAccount:
    """Its secrets are of its own namespace, so that a name is all there is to say."""
    secrets = tuple(ObjectReference(name=one.name) for one in account.secrets)
    return account if secrets == account.secrets else replace(account, secrets=secrets)
