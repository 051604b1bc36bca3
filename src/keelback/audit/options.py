"""The flags of auditing, by upstream's names and with its defaults. What they make is in `delivery`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from keelback.component.flags import Duration, FlagError

API_VERSION = "audit.k8s.io/v1"
BATCH = "batch"
BLOCKING = "blocking"
BLOCKING_STRICT = "blocking-strict"
MODES = (BATCH, BLOCKING, BLOCKING_STRICT)
FORMATS = ("legacy", "json")

_MODE = (
    "How events are sent: batch keeps them and sends them in the background, blocking lets each request wait, "
    "blocking-strict fails those whose reception cannot be noted."
)
_BUFFER_SIZE = "How many events are kept before further ones are lost; only in batch mode."
_MAX_SIZE = "How many events a batch has at most; only in batch mode."
_MAX_WAIT = "How long an event waits for its batch to become full; only in batch mode."
_THROTTLE = "Whether batches are sent at a limited rate; only in batch mode."
_QPS = "How many batches are sent per second in the long run; only in batch mode."
_BURST = "How many batches may be sent at once; only in batch mode."
_TRUNCATE = "Whether events and batches that are too large are cut: first the objects go, then the event."
_TRUNCATE_BATCH = "The bytes of a batch; a larger one is divided."
_TRUNCATE_EVENT = "The bytes of an event; a larger one loses its objects."
_VERSION = "The API version of the events; there is only this one."


FILE_FLAGS = frozenset(("audit-policy-file", "audit-webhook-config-file"))
"""Flags whose values are files."""
OUTPUT_FLAGS = frozenset(("audit-log-path",))
"""Flags whose values are files to be written; `-` is none."""


class AuditError(Exception):
    """Auditing cannot be set up as it is asked for; the message says why."""


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """How events are gathered. `burst` batches may leave at once, `queries_per_second` in the long run, where
    `is_throttled`."""

    buffer_size: int = 10_000
    max_batch_size: int = 400
    max_wait_seconds: float = 30.0
    is_throttled: bool = True
    queries_per_second: float = 10.0
    burst: int = 15


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """Without a policy file nothing is audited, whatever else is given."""

    audit_policy_file: Annotated[str, "A file with the audit policy (audit.k8s.io/v1 Policy)."] = ""

    audit_log_path: Annotated[str, "The file to write audit events to; - is what the server prints."] = ""
    audit_log_format: Annotated[str, "json, or legacy: one line of text for each event."] = "json"
    audit_log_maxage: Annotated[int, "For how many days old log files are kept; 0 for ever."] = 0
    audit_log_maxbackup: Annotated[int, "How many old log files are kept; 0 for all."] = 0
    audit_log_maxsize: Annotated[int, "After how many megabytes the file begins anew; 0 for 100."] = 0
    audit_log_compress: Annotated[bool, "Whether old log files are compressed with gzip."] = False
    audit_log_version: Annotated[str, _VERSION] = API_VERSION
    audit_log_mode: Annotated[str, _MODE] = BLOCKING
    audit_log_batch_buffer_size: Annotated[int, _BUFFER_SIZE] = 10_000
    audit_log_batch_max_size: Annotated[int, _MAX_SIZE] = 1
    audit_log_batch_max_wait: Annotated[Duration, _MAX_WAIT] = 0.0
    audit_log_batch_throttle_enable: Annotated[bool, _THROTTLE] = False
    audit_log_batch_throttle_qps: Annotated[float, _QPS] = 0.0
    audit_log_batch_throttle_burst: Annotated[int, _BURST] = 0
    audit_log_truncate_enabled: Annotated[bool, _TRUNCATE] = False
    audit_log_truncate_max_batch_size: Annotated[int, _TRUNCATE_BATCH] = 10 << 20
    audit_log_truncate_max_event_size: Annotated[int, _TRUNCATE_EVENT] = 100 << 10

    audit_webhook_config_file: Annotated[str, "A kubeconfig that names the server to send audit events to."] = ""
    audit_webhook_initial_backoff: Annotated[Duration, "How long to wait before a failed request is repeated."] = 10.0
    audit_webhook_version: Annotated[str, _VERSION] = API_VERSION
    audit_webhook_mode: Annotated[str, _MODE] = BATCH
    audit_webhook_batch_buffer_size: Annotated[int, _BUFFER_SIZE] = 10_000
    audit_webhook_batch_max_size: Annotated[int, _MAX_SIZE] = 400
    audit_webhook_batch_max_wait: Annotated[Duration, _MAX_WAIT] = 30.0
    audit_webhook_batch_throttle_enable: Annotated[bool, _THROTTLE] = True
    audit_webhook_batch_throttle_qps: Annotated[float, _QPS] = 10.0
    audit_webhook_batch_throttle_burst: Annotated[int, _BURST] = 15
    audit_webhook_truncate_enabled: Annotated[bool, _TRUNCATE] = False
    audit_webhook_truncate_max_batch_size: Annotated[int, _TRUNCATE_BATCH] = 10 << 20
    audit_webhook_truncate_max_event_size: Annotated[int, _TRUNCATE_EVENT] = 100 << 10

    def log(self) -> Delivery:
        """How events reach the log."""
        return Delivery(
            plugin="log",
            mode=self.audit_log_mode,
            batch=BatchConfig(
                buffer_size=self.audit_log_batch_buffer_size,
                max_batch_size=self.audit_log_batch_max_size,
                max_wait_seconds=self.audit_log_batch_max_wait,
                is_throttled=self.audit_log_batch_throttle_enable,
                queries_per_second=self.audit_log_batch_throttle_qps,
                burst=self.audit_log_batch_throttle_burst,
            ),
            version=self.audit_log_version,
            is_truncated=self.audit_log_truncate_enabled,
            max_event_bytes=self.audit_log_truncate_max_event_size,
            max_batch_bytes=self.audit_log_truncate_max_batch_size,
        )

    def webhook(self) -> Delivery:
        """How events reach the webhook."""
        return Delivery(
            plugin="webhook",
            mode=self.audit_webhook_mode,
            batch=BatchConfig(
                buffer_size=self.audit_webhook_batch_buffer_size,
                max_batch_size=self.audit_webhook_batch_max_size,
                max_wait_seconds=self.audit_webhook_batch_max_wait,
                is_throttled=self.audit_webhook_batch_throttle_enable,
                queries_per_second=self.audit_webhook_batch_throttle_qps,
                burst=self.audit_webhook_batch_throttle_burst,
            ),
            version=self.audit_webhook_version,
            is_truncated=self.audit_webhook_truncate_enabled,
            max_event_bytes=self.audit_webhook_truncate_max_event_size,
            max_batch_bytes=self.audit_webhook_truncate_max_batch_size,
        )

    def check_audit(self) -> None:
        """Raises FlagError for values that cannot be; those of a backend that is off are not looked at."""
        if self.audit_log_path:
            self.log().check()
            if self.audit_log_format not in FORMATS:
                raise FlagError(
                    f"invalid audit log format {self.audit_log_format}, allowed formats are {', '.join(FORMATS)}"
                )
            for name in ("maxage", "maxbackup", "maxsize"):
                if (value := getattr(self, f"audit_log_{name}")) < 0:
                    raise FlagError(f"--audit-log-{name} {value} can't be a negative number")
        if self.audit_webhook_config_file:
            self.webhook().check()


NOTHING_AUDITED = AuditOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What both backends have in common."""

    plugin: str
    mode: str
    batch: BatchConfig
    version: str
    is_truncated: bool
    max_event_bytes: int
    max_batch_bytes: int

    def check(self) -> None:
        """Raises FlagError."""
        name = self.plugin
        if self.mode not in MODES:
            raise FlagError(f"invalid audit {name} mode {self.mode}, allowed modes are {', '.join(MODES)}")
        if self.version != API_VERSION:
            raise FlagError(f"invalid group version {self.version} of --audit-{name}-version: it must be {API_VERSION}")
        if self.mode == BATCH:
            self._check_batch()
        if self.max_event_bytes <= 0:
            raise FlagError(
                f"invalid audit truncate {name} max event size {self.max_event_bytes}, must be a positive number"
            )
        if self.max_batch_bytes < self.max_event_bytes:
            raise FlagError(
                f"invalid audit truncate {name} max batch size {self.max_batch_bytes}, must be greater than max event "
                f"size ({self.max_event_bytes})"
            )

    def _check_batch(self) -> None:
        batch = self.batch
        positive: dict[str, float] = {"buffer size": batch.buffer_size, "max batch size": batch.max_batch_size}
        if batch.is_throttled:
            positive |= {"throttle QPS": batch.queries_per_second, "throttle burst": batch.burst}
        for what, value in positive.items():
            if value <= 0:
                raise FlagError(f"invalid audit batch {self.plugin} {what} {value}, must be a positive number")
