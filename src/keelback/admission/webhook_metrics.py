"""What is counted of one call of a webhook: how long it took, and how it ended."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Literal, Self

from keelback.admission.metrics import AdmissionMetrics
from keelback.admission.webhook_reviews import WebhookFailure
from keelback.apimachinery import errors

Kind = Literal["admit", "validating"]

_MOST: Final = 600
"""Webhooks can think of any code."""


class WebhookCall:
    """A call under way. Say `refuse` before what it refuses with is raised."""

    def __init__(self, metrics: AdmissionMetrics, name: str, kind: Kind, operation: str, *, fails_open: bool) -> None:
        self._metrics = metrics
        self._labels = (name, kind, operation)
        self._fails_open = fails_open
        self._refused_with = 0
        self._started = 0.0

    def refuse(self, code: int) -> None:
        """The webhook has said no."""
        self._refused_with = code

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._ended(200)
        elif isinstance(error, WebhookFailure):
            if self._fails_open:
                self._metrics.webhooks_failed_open.inc(*self._labels[:2])
                self._ended(error.code)
            else:
                self._ended(error.code, "calling_webhook_error")
        elif self._refused_with:
            self._ended(self._refused_with, "no_error")
        elif isinstance(error, errors.StatusError):
            self._ended(0, "apiserver_internal_error")

    def _ended(self, code: int, error_type: str = "") -> None:
        told, rejected = str(min(code, _MOST)), "true" if error_type else "false"
        if error_type:
            self._metrics.webhook_rejections.inc(*self._labels, error_type, told)
        self._metrics.webhook_requests.inc(*self._labels, told, rejected)
        self._metrics.webhooks.observe(time.perf_counter() - self._started, *self._labels, rejected)
