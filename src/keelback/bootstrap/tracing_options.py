"""The API server's flag about tracing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from keelback import __version__
from keelback.bootstrap.cluster_state import ClusterError
from keelback.component.http import Handler

if TYPE_CHECKING:
    from keelback.component.tracing import Tracing

FILE_FLAGS: Final = frozenset(("tracing-config-file",))
"""Flags whose values are files."""


@dataclass(frozen=True, kw_only=True)
class TracingOptions:
    tracing_config_file: Annotated[str, "A file that says where traces go (TracingConfiguration)."] = ""

    def tracing(self) -> Tracing | None:
        """What the file says; None without one. Raises ClusterError."""
        if not self.tracing_config_file:
            return None
        from keelback.component import tracing

        try:
            config = tracing.read(Path(self.tracing_config_file).read_text())
            return tracing.Tracing(config, "apiserver", __version__)
        except (OSError, ValueError) as error:
            raise ClusterError(f"--tracing-config-file {self.tracing_config_file}: {error}") from error


def traced(handler: Handler, tracing: Tracing | None) -> Handler:
    """The handler of an API server, traced where that is wanted."""
    if tracing is None:
        return handler
    from keelback.apiserver import span_names

    return tracing.around(handler, span_names.of_request)
