"""What is counted of encryption at rest, under upstream's names."""

from __future__ import annotations

from hashlib import sha256

from keelback.component.metrics import Registry
from keelback.concurrency.clock import Clock

_SECONDS = tuple(5e-6 * 2**power for power in range(25))
_KMS_SECONDS = tuple(0.0001 * 2**power for power in range(20))


def key_hash(text: str) -> str:
    """An identifier that says nothing of what it identifies; empty for nothing."""
    return f"sha256:{sha256(text.encode()).hexdigest()}" if text else ""


class EncryptionMetrics:
    """All of them. `server_id` names this server among several."""

    def __init__(self, metrics: Registry, clock: Clock, server_id: str = "") -> None:
        self._clock = clock
        self._server = key_hash(server_id)
        self._operations = metrics.counter(
            "apiserver_storage_transformation_operations_total",
            "Total number of transformations. Successful transformation will have a status 'OK' and a varied status "
            "string when the transformation fails.",
            ("resource", "status", "transformation_type", "transformer_prefix"),
        )
        self._durations = metrics.histogram(
            "apiserver_storage_transformation_duration_seconds",
            "Latencies in seconds of value transformation operations.",
            ("transformation_type", "transformer_prefix"),
            _SECONDS,
        )
        self.cache_misses = metrics.counter(
            "apiserver_storage_envelope_transformation_cache_misses_total",
            "Total number of cache misses while accessing key decryption key(KEK).",
        )
        self._cache_size = metrics.gauge(
            "apiserver_envelope_encryption_dek_source_cache_size",
            "Number of records in data encryption key (DEK) source cache. On a restart, this value is an approximation "
            "of the number of decrypt RPC calls the server will make to the KMS plugin.",
            ("provider_name",),
        )
        self._key_uses = metrics.counter(
            "apiserver_envelope_encryption_key_id_hash_total",
            "Number of times a keyID is used split by transformation type, provider, and apiserver identity.",
            ("transformation_type", "provider_name", "key_id_hash", "apiserver_id_hash"),
        )
        self._key_times = metrics.gauge(
            "apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds",
            "The last time in seconds when a keyID was used.",
            ("transformation_type", "provider_name", "key_id_hash", "apiserver_id_hash"),
        )
        self._key_status = metrics.gauge(
            "apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds",
            "The last time in seconds when a keyID was returned by the Status RPC call.",
            ("provider_name", "key_id_hash", "apiserver_id_hash"),
        )
        self._invalid_keys = metrics.counter(
            "apiserver_envelope_encryption_invalid_key_id_from_status_total",
            "Number of times an invalid keyID is returned by the Status RPC call split by error.",
            ("provider_name", "error"),
        )
        self._calls = metrics.histogram(
            "apiserver_envelope_encryption_kms_operations_latency_seconds",
            "KMS operation duration with gRPC error code status total.",
            ("provider_name", "method_name", "grpc_status_code"),
            _KMS_SECONDS,
        )
        self._reloads = metrics.counter(
            "apiserver_encryption_config_controller_automatic_reloads_total",
            "Total number of reload successes and failures of encryption configuration split by apiserver identity.",
            ("status", "apiserver_id_hash"),
        )
        self._last_reload = metrics.gauge(
            "apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds",
            "Timestamp of the last successful or failed automatic reload of encryption configuration split by "
            "apiserver identity.",
            ("status", "apiserver_id_hash"),
        )

    def now(self) -> float:
        """Where a transformation starts to be timed."""
        return self._clock.monotonic()

    def transformed(self, direction: str, prefix: bytes, resource: str, started: float, *, succeeded: bool) -> None:
        """Count one transformation, and time it where it succeeded."""
        shown = prefix.decode() or "identity"
        self._operations.inc(resource, "OK" if succeeded else "Unknown", direction, shown)
        if succeeded:
            self._durations.observe(self._clock.monotonic() - started, direction, shown)

    def key_used(self, direction: str, provider: str, key_id: str) -> None:
        """Count a value that was encrypted or decrypted under a plugin's key."""
        labels = direction, provider, key_hash(key_id), self._server
        self._key_uses.inc(*labels)
        self._key_times.set(self._clock.now().timestamp(), *labels)

    def key_is_current(self, provider: str, key_id: str) -> None:
        """Note which key a plugin says that it uses."""
        self._key_status.set(self._clock.now().timestamp(), provider, key_hash(key_id), self._server)

    def key_is_invalid(self, provider: str, why: str) -> None:
        """Count a name of a key that cannot be one: it is `empty` or `too_long`."""
        self._invalid_keys.inc(provider, why)

    def cached(self, provider: str, size: int) -> None:
        """Note how many of a plugin's seeds are known."""
        self._cache_size.set(size, provider)

    def called(self, provider: str, method: str, code: str, seconds: float) -> None:
        """Time a call to a plugin, by gRPC's code."""
        self._calls.observe(seconds, provider, method, code)

    def reloaded(self, *, succeeded: bool) -> None:
        """Count a change of the configuration file, followed or not."""
        status = "success" if succeeded else "failure"
        self._reloads.inc(status, self._server)
        self._last_reload.set(self._clock.now().timestamp(), status, self._server)
