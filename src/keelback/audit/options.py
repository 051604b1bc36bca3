"""The flags of auditing, by upstream's names and defaults, and the backends that they make."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from keelback.audit import log_backend
from keelback.audit.backends import AuditMetrics, Backend, Forgiving, Truncating, Union
from keelback.audit.buffered import BatchConfig, Buffered
from keelback.audit.log_backend import LogBackend
from keelback.audit.policy import API_VERSION, Policy, PolicyError, parse
from keelback.audit.webhook_backend import WebhookBackend
from keelback.client import kubeconfig
from keelback.component.flags import Duration, FlagError
from keelback.concurrency.clock import Clock

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


class AuditError(Exception):
    """Auditing cannot be set up as it is asked for; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
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

    def log(self) -> _Delivery:
        """How events reach the log."""
        return _Delivery(
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

    def webhook(self) -> _Delivery:
        """How events reach the webhook."""
        return _Delivery(
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
class _Delivery:
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

    def before(self, backend: Backend, clock: Clock, metrics: AuditMetrics) -> Backend:
        """The backend with what stands before it."""
        if self.mode == BATCH:
            backend = Buffered(backend, self.batch, clock, metrics)
        elif self.mode == BLOCKING:
            backend = Forgiving(backend)
        if self.is_truncated:
            backend = Truncating(backend, self.max_event_bytes, self.max_batch_bytes, metrics)
        return backend


def policy(options: AuditOptions) -> Policy | None:
    """The policy that is asked for; None where nothing is to be audited. Raises AuditError."""
    path = options.audit_policy_file
    if not path or not (options.audit_log_path or options.audit_webhook_config_file):
        return None
    try:
        return parse(Path(path).read_text())
    except OSError as error:
        raise AuditError(f"loading audit policy file: {path}: {error.strerror}") from error
    except (PolicyError, UnicodeDecodeError) as error:
        raise AuditError(f"loading audit policy file: {error}: from file {path}") from error


def backend(options: AuditOptions, clock: Clock, chance: random.Random, metrics: AuditMetrics) -> Union:
    """The backends that are asked for. Raises AuditError."""
    made: list[Backend] = []
    if options.audit_log_path:
        try:
            output = log_backend.output(
                options.audit_log_path,
                clock,
                max_megabytes=options.audit_log_maxsize,
                max_age_days=options.audit_log_maxage,
                max_backups=options.audit_log_maxbackup,
                compresses=options.audit_log_compress,
            )
        except OSError as error:
            raise AuditError(f"--audit-log-path: {error}") from error
        log = LogBackend(output, metrics, is_text=options.audit_log_format == "legacy")
        made.append(options.log().before(log, clock, metrics))
    if options.audit_webhook_config_file:
        webhook = _webhook(options, clock, chance, metrics)
        made.append(options.webhook().before(webhook, clock, metrics))
    return Union(made)


def _webhook(options: AuditOptions, clock: Clock, chance: random.Random, metrics: AuditMetrics) -> WebhookBackend:
    try:
        access = kubeconfig.load(Path(options.audit_webhook_config_file))
        transport = kubeconfig.transport(access, clock)
    except (kubeconfig.KubeconfigError, OSError, ValueError) as error:
        raise AuditError(f"initializing audit webhook: {error}") from error
    # The address is taken whole: what its path lacks is the root.
    path = "" if urlsplit(access.cluster.get("server", "")).path.strip("/") else "/"
    return WebhookBackend(transport, path, options.audit_webhook_initial_backoff, clock, chance, metrics)
