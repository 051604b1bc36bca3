"""Which libraries expressions have in Kubernetes 1.36 (k8s.io/apiserver/pkg/cel/environment, base.go).

All that was introduced by 1.35 is there: an API server takes new expressions only in the language that the release
before it knows too. Everywhere: `HomogeneousAggregateLiterals`, UTC as the default zone, numbers compared across types.
"""

from __future__ import annotations

from typing import Final

from keelback.cel.environment import Environment
from keelback.cel.libraries import (
    addresses,
    authorization,
    equalities,
    list_extension,
    lists,
    named_formats,
    quantities,
    regexes,
    sets,
    strings,
    urls,
    versions,
)

LIBRARIES: Final = (
    # Since 1.24.
    urls.LIBRARY,
    regexes.LIBRARY,
    lists.LIBRARY,
    # Since 1.27; the selectors since 1.31 (AuthorizeWithSelectors, locked on in 1.34).
    authorization.LIBRARY,
    authorization.SELECTORS_LIBRARY,
    # Since 1.28.
    quantities.LIBRARY,
    # Since 1.29, strings in version 2.
    strings.LIBRARY,
    sets.LIBRARY,
    # Since 1.30.
    addresses.IP_LIBRARY,
    addresses.CIDR_LIBRARY,
    # Since 1.31.
    named_formats.LIBRARY,
    # Since 1.33, with normalization.
    versions.LIBRARY,
    # Since 1.34, in version 3.
    list_extension.LIBRARY,
    # The costs of `==` between values of the libraries' types.
    equalities.LIBRARY,
)
"""What every field with expressions has. MutatingAdmissionPolicies have `json_patches.LIBRARY` beside these."""

_ENVIRONMENT = Environment(libraries=LIBRARIES)


def kubernetes() -> Environment:
    """The environment of every expression, without variables: those are for each field to add with `extend`."""
    return _ENVIRONMENT
