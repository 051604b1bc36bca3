"""The proxy's metrics, under upstream's names."""

from __future__ import annotations

from dataclasses import dataclass, field

from keelback.component.metrics import Counter, Gauge, Histogram, Registry

_BUCKETS = tuple(0.001 * 2**exponent for exponent in range(15))


@dataclass(frozen=True, slots=True)
class ProxyMetrics:
    """Made once for each proxy."""

    registry: Registry = field(default_factory=Registry)
    sync_seconds: Histogram = field(init=False)
    full_syncs: Counter = field(init=False)
    failed_syncs: Counter = field(init=False)
    last_sync: Gauge = field(init=False)
    last_queued: Gauge = field(init=False)

    def __post_init__(self) -> None:
        made = {
            "sync_seconds": self.registry.histogram(
                "kubeproxy_sync_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds", (), _BUCKETS
            ),
            "full_syncs": self.registry.counter(
                "kubeproxy_sync_full_proxy_rules_total", "Syncs that replaced the whole table"
            ),
            "failed_syncs": self.registry.counter(
                "kubeproxy_sync_proxy_rules_nftables_sync_failures_total", "Number of nftables sync failures"
            ),
            "last_sync": self.registry.gauge(
                "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
                "The last time proxy rules were successfully synced",
            ),
            "last_queued": self.registry.gauge(
                "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
                "The last time a sync of proxy rules was queued",
            ),
        }
        for name, metric in made.items():
            object.__setattr__(self, name, metric)
