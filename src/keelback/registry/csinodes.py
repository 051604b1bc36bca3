"""CSINodes."""

from __future__ import annotations

from keelback.api.storage_v1 import CSINode
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import number


class CSINodeStrategy(Strategy[CSINode]):
    kind = CSINode
    answers_deleted_object = True
    counts_generations = False
    columns = (number("Drivers", lambda one: len(one.spec.drivers)), AGE)
