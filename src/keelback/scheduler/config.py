"""What a scheduler is told: a frozen value, made once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """The defaults are upstream's, where upstream has the setting."""

    scheduler_names: tuple[str, ...] = ("default-scheduler",)
    """The values of `spec.schedulerName` that this scheduler answers to."""
    binding_workers: int = 32
    """How many writes to the API are under way at once at most."""
    batch_size: int = 64
    """How many pods are decided before others get a turn on the event loop."""
    pod_initial_backoff_seconds: float = 1.0
    pod_max_backoff_seconds: float = 10.0
    pod_max_in_unschedulable_seconds: float = 300.0
    """After this a rejected pod is tried again, whatever happened or did not."""
    volume_binding_timeout_seconds: float = 600.0
    leader_elect: bool = False
