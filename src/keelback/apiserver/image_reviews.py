"""Asking another server about images, for the plugin ImagePolicyWebhook: its answers are kept for a while."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from keelback.admission.image_policy_webhook import (
    API_VERSION,
    KIND,
    ImagePolicySettings,
    ImageReviewFailed,
    ImageReviewStatus,
)
from keelback.apimachinery import codecs
from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.auth.answer_cache import AnswerCache
from keelback.auth.review_webhook import RETRIES, ReviewFailed, ReviewWebhook
from keelback.client import kubeconfig
from keelback.client.kubeconfig import KubeconfigError
from keelback.concurrency.clock import Clock

_KEPT: Final = 1024


class ImageReviews:
    """Sends ImageReviews to the server that the settings name."""

    def __init__(self, settings: ImagePolicySettings, clock: Clock, chance: random.Random) -> None:
        """Raises ConfigurationError for a kubeconfig that cannot be used."""
        retries = replace(RETRIES, initial_seconds=settings.retry_backoff_seconds or RETRIES.initial_seconds)
        try:
            access = kubeconfig.load(settings.kubeconfig_file)
            self._webhook = ReviewWebhook(access, API_VERSION, KIND, clock, chance, retries=retries)
        except KubeconfigError as error:
            raise ConfigurationError(f"ImagePolicyWebhook: {error}") from error
        self._settings = settings
        self._cache: AnswerCache[ImageReviewStatus] = AnswerCache(clock, _KEPT)

    async def review(self, spec: Mapping[str, Any]) -> ImageReviewStatus:
        """The answer about these images, a kept one if there is one. Raises ImageReviewFailed."""

        async def ask() -> tuple[ImageReviewStatus, float]:
            try:
                status = codecs.convert(ImageReviewStatus, dict(await self._webhook.ask(spec)))
            except (ReviewFailed, codecs.DecodeError) as failure:
                raise ImageReviewFailed(str(failure)) from failure
            return status, self._settings.allow_seconds if status.allowed else self._settings.deny_seconds

        return await self._cache.shared(msgspec.json.encode(spec, order="sorted"), ask)

    async def close(self) -> None:
        """Close the connections that are kept."""
        await self._webhook.close()
