"""ServiceAccounts."""

from __future__ import annotations

from keelback.api.core_v1 import ServiceAccount
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import number


class ServiceAccountStrategy(Strategy[ServiceAccount]):
    kind = ServiceAccount
    subresources = ("token",)
    counts_generations = False
    answers_deleted_object = True
    columns = (number("Secrets", lambda one: len(one.secrets)), AGE)
