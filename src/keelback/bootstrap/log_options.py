"""The flags of components that run alone about what they write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from keelback.component import logs
from keelback.component.flags import FlagError

_FORMS: Final[dict[str, Literal["text", "json"]]] = {"text": "text", "json": "json"}


@dataclass(frozen=True, kw_only=True)
class LogOptions:
    v: Annotated[int, "How much is written: details from 4 on. Also -v."] = 0
    logging_format: Annotated[str, "text, or json: one object a line."] = "text"

    def begin_logs(self) -> None:
        """Write as the flags say. Raises FlagError."""
        form = _FORMS.get(self.logging_format)
        if form is None:
            raise FlagError(
                f'--logging-format: Unsupported value: "{self.logging_format}": supported values: "json", "text"'
            )
        logs.configure(form=form)
        logs.set_verbosity(self.v)
