"""The flags about what stands around all requests to an API server, by their upstream names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from keelback.component.flags import FlagError

if TYPE_CHECKING:
    from keelback.apiserver.filters import FilterSettings

_MOST_GOAWAY: Final = 0.02


@dataclass(frozen=True, kw_only=True)
class FilterOptions:
    cors_allowed_origins: Annotated[
        tuple[str, ...],
        "Regular expressions of the origins whose web pages may ask: //example\\.com(:|$). Each says where the host "
        "begins (^ or //) and where it ends ($ or :).",
    ] = ()
    strict_transport_security_directives: Annotated[
        tuple[str, ...],
        "What browsers are told of HTTPS in every answer: max-age=SECONDS, includeSubDomains, preload.",
    ] = ()
    goaway_chance: Annotated[
        float,
        "The share of requests, 0.02 at most, whose connection is closed with the answer, so that clients of a load "
        "balancer spread anew. Over HTTP/1.1, which is what this server speaks, that is `Connection: close`.",
    ] = 0.0

    def check_filters(self) -> None:
        """Raises FlagError."""
        if not 0 <= self.goaway_chance <= _MOST_GOAWAY:
            raise FlagError("--goaway-chance can not be less than 0 or greater than 0.02")
        problems = [*_origin_problems(self.cors_allowed_origins), *_directive_problems(self)]
        if problems:
            raise FlagError(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")

    def filters(self) -> FilterSettings:
        """What these flags say."""
        from keelback.apiserver.filters import FilterSettings

        return FilterSettings(
            cors_allowed_origins=self.cors_allowed_origins,
            strict_transport_security=self.strict_transport_security_directives,
            goaway_chance=self.goaway_chance,
        )


def _origin_problems(origins: tuple[str, ...]) -> Iterator[str]:
    if not origins:
        return
    from keelback.apimachinery import go_regexp

    for one in origins:
        if not one:
            yield "empty value in --cors-allowed-origins, see help for example"
            continue
        problem = ""
        try:
            go_regexp.compiled(one)
        except ValueError as error:
            problem = str(error)
        # Else https://example.com.evil.org would be an origin of example.com (CVE-2022-1996).
        if not problem and not (("^" in one or "//" in one) and ("$" in one or ":" in one)):
            problem = "regular expression does not pin to start/end of host in the origin header"
        if problem:
            yield f"--cors-allowed-origins has an invalid regular expression: {problem}, see help for example"


def _directive_problems(options: FilterOptions) -> Iterator[str]:
    for one in options.strict_transport_security_directives:
        name, is_given, value = one.partition("=")
        if not one.strip():
            yield "empty value in strict-transport-security-directives"
        elif one not in ("includeSubDomains", "preload") and not (name == "max-age" and is_given and "=" not in value):
            yield (
                "--strict-transport-security-directives invalid, allowed values: max-age=expireTime, "
                "includeSubDomains, preload. see https://tools.ietf.org/html/rfc6797#section-6.1 for more information"
            )
