"""The API server's flags about which requests are let in and how long they may take, by their upstream names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from keelback.component.flags import Duration, FlagError

if TYPE_CHECKING:
    from keelback.apiserver.request_limits import RequestLimits


@dataclass(frozen=True, kw_only=True)
class RequestOptions:
    enable_priority_and_fairness: Annotated[
        bool, "Order requests by FlowSchemas and PriorityLevelConfigurations. If false, only their number is limited."
    ] = True
    max_requests_inflight: Annotated[
        int, "How many reads may be in work; with priority and fairness, together with the writes, the server's seats."
    ] = 400
    max_mutating_requests_inflight: Annotated[int, "How many writes may be in work."] = 200
    request_timeout: Annotated[Duration, "How long a request may take that is not a watch or the like."] = 60.0
    min_request_timeout: Annotated[
        int, "How many seconds a watch lasts at least whose client does not say; up to twice that."
    ] = 1800

    def __post_init__(self) -> None:
        for flag, value in (
            ("max-requests-inflight", self.max_requests_inflight),
            ("max-mutating-requests-inflight", self.max_mutating_requests_inflight),
            ("request-timeout", self.request_timeout),
            ("min-request-timeout", self.min_request_timeout),
        ):
            if value < 0:
                raise FlagError(f"--{flag} can not be negative value")
        if self.enable_priority_and_fairness and not self.max_requests_inflight + self.max_mutating_requests_inflight:
            raise FlagError(
                "--max-requests-inflight and --max-mutating-requests-inflight can not both be 0 with "
                "--enable-priority-and-fairness"
            )

    def request_limits(self) -> RequestLimits:
        """What these flags say."""
        from keelback.apiserver.request_limits import RequestLimits

        return RequestLimits(
            enable_priority_and_fairness=self.enable_priority_and_fairness,
            max_requests_inflight=self.max_requests_inflight,
            max_mutating_requests_inflight=self.max_mutating_requests_inflight,
            request_timeout_seconds=self.request_timeout,
            min_request_timeout_seconds=float(self.min_request_timeout),
        )
