"""Properties are judged by their outcome, never by the time a busy machine takes for an example."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("keelback", deadline=None)
settings.load_profile("keelback")
