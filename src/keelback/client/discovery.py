"""How everything that a server serves is asked for at once."""

from __future__ import annotations

from typing import Final

AGGREGATED: Final = ",".join(
    f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" for version in ("v2", "v2beta1")
)
"""The Accept header for aggregated discovery, of the same form in both versions: v2 is there from Kubernetes 1.30 on,
v2beta1 before (KEP-3352)."""
