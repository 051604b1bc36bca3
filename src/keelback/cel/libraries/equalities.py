"""What comparing values of Kubernetes' own types costs at most: little, since none of them is large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from keelback.cel.declarations import CallEstimate, Library, Operand, function, overload
from keelback.cel.equality import equal
from keelback.cel.estimates import MAXIMUM, ONE, Estimate
from keelback.cel.libraries import addresses, authorization, costs, named_formats, quantities, urls, versions
from keelback.cel.standard import equality_cost, equality_estimate
from keelback.cel.types import BOOL, parameter

_SMALL: Final = frozenset(
    {
        addresses.IP,
        addresses.CIDR,
        quantities.QUANTITY,
        versions.SEMVER,
        authorization.AUTHORIZER,
        authorization.PATH_CHECK,
        authorization.GROUP_CHECK,
        authorization.RESOURCE_CHECK,
        authorization.DECISION,
    }
)
_LONGEST_FORMAT: Final = 64


def _estimate(operands: Sequence[Operand]) -> CallEstimate:
    left, right = operands
    if left.type != right.type:
        return equality_estimate(operands)
    if left.type in _SMALL:
        return CallEstimate(ONE)
    if left.type == named_formats.FORMAT:
        return CallEstimate(Estimate(1, _LONGEST_FORMAT).scaled(costs.STRING_TRAVERSAL))
    if left.type == urls.URL:
        # Upstream looks at the right side alone, and takes a URL of unknown length for a short one.
        most = right.size.most if right.size.most != MAXIMUM else 1
        return CallEstimate(Estimate(1, most).scaled(costs.STRING_TRAVERSAL))
    return equality_estimate(operands)


_A = parameter("A")

LIBRARY = Library(
    "kubernetes.equality",
    functions=(
        function(
            "_==_",
            overload("equals", (_A, _A), BOOL, equal, runtime_cost=equality_cost, static_cost=_estimate),
        ),
    ),
)
