"""The policy and the backends that the flags of auditing ask for."""

from __future__ import annotations

import random
from pathlib import Path
from urllib.parse import urlsplit

from keelback.audit import log_backend
from keelback.audit.backends import AuditMetrics, Backend, Forgiving, Truncating, Union
from keelback.audit.buffered import Buffered
from keelback.audit.log_backend import LogBackend
from keelback.audit.options import BATCH, BLOCKING, AuditError, AuditOptions, Delivery
from keelback.audit.policy import Policy, PolicyError, parse
from keelback.audit.webhook_backend import WebhookBackend
from keelback.client import kubeconfig
from keelback.concurrency.clock import Clock


def policy(options: AuditOptions) -> Policy | None:
    """The policy that is asked for; None where nothing is to be audited. Raises AuditError."""
    path = options.audit_policy_file
    if not path:
        return None
    try:
        read = parse(Path(path).read_text())
    except OSError as error:
        raise AuditError(f"loading audit policy file: {path}: {error.strerror}") from error
    except (PolicyError, UnicodeDecodeError) as error:
        raise AuditError(f"loading audit policy file: {error}: from file {path}") from error
    # What is wrong with a policy is said though nobody would be told of anything.
    return read if options.audit_log_path or options.audit_webhook_config_file else None


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
        made.append(_before(log, options.log(), clock, metrics))
    if options.audit_webhook_config_file:
        webhook = _webhook(options, clock, chance, metrics)
        made.append(_before(webhook, options.webhook(), clock, metrics))
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


def _before(backend: Backend, delivery: Delivery, clock: Clock, metrics: AuditMetrics) -> Backend:
    """A backend with what stands before it."""
    if delivery.mode == BATCH:
        backend = Buffered(backend, delivery.batch, clock, metrics)
    elif delivery.mode == BLOCKING:
        backend = Forgiving(backend)
    if delivery.is_truncated:
        backend = Truncating(backend, delivery.max_event_bytes, delivery.max_batch_bytes, metrics)
    return backend
