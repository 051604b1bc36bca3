"""What a scheduler is told: a frozen value, made once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from keelback.scheduler.configuration_types import ExtenderConfiguration
from keelback.scheduling import builtin
from keelback.scheduling.plugins import Plugins


@dataclass(frozen=True, slots=True)
class Profile:
    """How the pods of one scheduler name are placed."""

    plugins: Plugins = builtin.DEFAULT
    percentage_of_nodes_to_score: int = 100
    """Of the nodes that fit, a hundred at least; the rest is not compared."""


@dataclass(frozen=True, slots=True)
class LeaderElection:
    """Which Lease says who leads, and how long that is believed; durations are in seconds."""

    namespace: str = "kube-system"
    name: str = "kube-scheduler"
    lease_duration_seconds: int = 15
    renew_deadline_seconds: float = 10.0
    retry_period_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """The defaults are upstream's, where upstream has the setting."""

    scheduler_names: tuple[str, ...] = ("default-scheduler",)
    """The values of `spec.schedulerName` that this scheduler answers to."""
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    """By scheduler name; the default profile for names that are not here."""
    binding_workers: int = 32
    """How many writes to the API are under way at once at most."""
    batch_size: int = 64
    """How many pods are decided before others get a turn on the event loop."""
    pod_initial_backoff_seconds: float = 1.0
    pod_max_backoff_seconds: float = 10.0
    pod_max_in_unschedulable_seconds: float = 300.0
    """After this a rejected pod is tried again, whatever happened or did not."""
    leader_elect: bool = False
    leader_election: LeaderElection = LeaderElection()
    kubeconfig: str = ""
    """The connection that a configuration file names; a flag that names one goes before it."""
    without_effect: tuple[str, ...] = ()
    """What a configuration file says that means nothing here, each with the reason: to be told at the start."""
    extenders: tuple[ExtenderConfiguration, ...] = ()
    node_declared_features: bool = True
    """The feature gate NodeDeclaredFeatures: pods go only where a node declares what they need."""
    speaks_of_claims: bool = True
    """Whether each refusal has DynamicResources' words, as from 1.34 to 1.36."""
    pod_groups: bool = False
    """The feature gate GenericWorkload: pods of a group are placed in one cycle."""
    gang_scheduling: bool = False
    """The feature gate GangScheduling: a group's `minCount` holds."""
