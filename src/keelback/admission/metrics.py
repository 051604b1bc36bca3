"""What admission counts, under upstream's names: the phases, the plugins, the webhooks, the policies.

Plugins are timed one after the other, each from the end of the one before it. Of policies only what went wrong is
counted, or changed something (KEP-3488, KEP-3962).
"""

from __future__ import annotations

import time
from typing import Final, Literal

from keelback.component.metrics import Counter, Histogram, Registry, Series, Summary

Phase = Literal["admit", "validate"]

_SECONDS: Final = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5)
_CHECK_SECONDS: Final = (0.0000005, 0.001, 0.01, 0.1, 1.0)
_SUMMARY_SECONDS: Final = 5 * 3600.0
_STEP: Final = ("type", "operation", "rejected")
_PLUGIN: Final = ("name", *_STEP)
_CONDITION: Final = ("name", "kind", "type", "operation")
_POLICY: Final = ("policy", "policy_binding", "error_type")
_POD: Final = ("request_operation", "resource", "subresource")


class AdmissionMetrics:
    """All of them."""

    def __init__(self, registry: Registry) -> None:
        admission = "apiserver_admission_{}".format
        self.steps = registry.histogram(
            admission("step_admission_duration_seconds"),
            "Admission sub-step latency histogram in seconds, broken out for each operation and API resource and step "
            "type (validate or admit).",
            _STEP,
            _SECONDS,
        )
        self.steps_summary = registry.summary(
            admission("step_admission_duration_seconds_summary"),
            "Admission sub-step latency summary in seconds, broken out for each operation and API resource and step "
            "type (validate or admit).",
            _STEP,
            max_age_seconds=_SUMMARY_SECONDS,
            now=time.monotonic,
        )
        self.plugins = registry.histogram(
            admission("controller_admission_duration_seconds"),
            "Admission controller latency histogram in seconds, identified by name and broken out for each operation "
            "and API resource and type (validate or admit).",
            _PLUGIN,
            _SECONDS,
        )
        self.webhooks = registry.histogram(
            admission("webhook_admission_duration_seconds"),
            "Admission webhook latency histogram in seconds, identified by name and broken out for each operation and "
            "API resource and type (validate or admit).",
            _PLUGIN,
            (*_SECONDS, 10, 25),
        )
        self.pod_security_evaluations = registry.counter(
            "pod_security_evaluations_total",
            "Number of policy evaluations that occurred, not counting ignored or exempt requests.",
            ("decision", "mode", "policy_level", "policy_version", *_POD),
        )
        self.pod_security_exemptions = registry.counter(
            "pod_security_exemptions_total",
            "Number of exempt requests, not counting ignored or out of scope requests.",
            _POD,
        )
        self.pod_security_errors = registry.counter(
            "pod_security_errors_total",
            "Number of errors preventing normal evaluation. Non-fatal errors may result in the latest restricted "
            "profile being used for evaluation.",
            ("fatal", *_POD),
        )
        self.webhook_requests = registry.counter(
            admission("webhook_request_total"),
            "Admission webhook request total, identified by name and broken out for each admission type (validating or "
            "admit) and operation. Additional labels specify whether the request was rejected or not and an HTTP "
            "status code. Codes greater than 600 are truncated to 600, to keep the metrics cardinality bounded.",
            ("name", "type", "operation", "code", "rejected"),
        )
        self.webhook_rejections = registry.counter(
            admission("webhook_rejection_count"),
            "Admission webhook rejection count, identified by name and broken out for each admission type (validating "
            "or admit) and operation. Additional labels specify an error type (calling_webhook_error or "
            "apiserver_internal_error if an error occurred; no_error otherwise) and optionally a non-zero rejection "
            "code if the webhook rejects the request with an HTTP status code (honored by the apiserver when the code "
            "is greater or equal to 400). Codes greater than 600 are truncated to 600, to keep the metrics cardinality "
            "bounded.",
            ("name", "type", "operation", "error_type", "rejection_code"),
        )
        self.webhooks_failed_open = registry.counter(
            admission("webhook_fail_open_count"),
            "Admission webhook fail open count, identified by name and broken out for each admission type (validating "
            "or admit).",
            ("name", "type"),
        )
        self.condition_seconds = registry.histogram(
            admission("match_condition_evaluation_seconds"),
            "Admission match condition evaluation time in seconds, identified by name and broken out for each kind "
            "containing matchConditions (webhook or policy), operation and type (validate or admit).",
            _CONDITION,
            _SECONDS,
        )
        self.condition_errors = registry.counter(
            admission("match_condition_evaluation_errors_total"),
            "Admission match condition evaluation errors count, identified by name of resource containing the match "
            "condition and broken out for each kind containing matchConditions (webhook or policy), operation and "
            "admission type (validate or admit).",
            _CONDITION,
        )
        self.condition_exclusions = registry.counter(
            admission("match_condition_exclusions_total"),
            "Admission match condition evaluation exclusions count, identified by name of resource containing the "
            "match condition and broken out for each kind containing matchConditions (webhook or policy), operation "
            "and admission type (validate or admit).",
            _CONDITION,
        )
        self.validations = PolicyMeter(
            registry.counter(
                "apiserver_validating_admission_policy_check_total",
                "Validation admission policy check total, labeled by policy and further identified by binding and "
                "enforcement action taken.",
                (*_POLICY, "enforcement_action"),
            ),
            registry.histogram(
                "apiserver_validating_admission_policy_check_duration_seconds",
                "Validation admission latency for individual validation expressions in seconds, labeled by policy and "
                "further including binding and enforcement action taken.",
                (*_POLICY, "enforcement_action"),
                _CHECK_SECONDS,
            ),
        )
        self.mutations = PolicyMeter(
            registry.counter(
                "apiserver_mutating_admission_policy_check_total",
                "Mutation admission policy check total, labeled by policy and further identified by binding.",
                _POLICY,
            ),
            registry.histogram(
                "apiserver_mutating_admission_policy_check_duration_seconds",
                "Mutation admission latency for individual mutation expressions in seconds, labeled by policy and "
                "binding.",
                _POLICY,
                _CHECK_SECONDS,
            ),
        )

    def phase(self, phase: Phase, operation: str) -> PhaseMeter:
        """What one phase of an operation counts."""
        return PhaseMeter(self.steps, self.steps_summary, self.plugins, phase, operation)


class PhaseMeter:
    """One phase of one operation: all its plugins, and the whole."""

    def __init__(self, steps: Histogram, summary: Summary, plugins: Histogram, phase: Phase, operation: str) -> None:
        self._steps = steps
        self._summary = summary
        self._plugins = plugins
        self._labels = (phase, operation)
        self._passed = steps.series(*self._labels, "false")
        self._passed_lately = summary.window(*self._labels, "false")

    def plugin(self, name: str) -> Series:
        """Where a plugin's times go that has refused nothing."""
        return self._plugins.series(name, *self._labels, "false")

    def passed(self, seconds: float) -> None:
        """All plugins are through."""
        self._passed.observe(seconds)
        self._passed_lately.observe(seconds)

    def refused(self, name: str, plugin_seconds: float, seconds: float) -> None:
        """A plugin has refused."""
        self._plugins.observe(plugin_seconds, name, *self._labels, "true")
        self._steps.observe(seconds, *self._labels, "true")
        self._summary.window(*self._labels, "true").observe(seconds)


class PolicyMeter:
    """What the expressions of policies gave, by policy, binding and what kept them from giving anything."""

    def __init__(self, checks: Counter, seconds: Histogram) -> None:
        self._checks = checks
        self._seconds = seconds

    def checked(self, seconds: float, *labels: str) -> None:
        """Count one expression."""
        self._checks.inc(*labels)
        self._seconds.observe(seconds, *labels)
