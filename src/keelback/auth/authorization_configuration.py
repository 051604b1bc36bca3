"""AuthorizationConfiguration (apiserver.config.k8s.io): which authorizers are asked, in which order (KEP-3221).

Read and checked here, with upstream's words for what is wrong (k8s.io/apiserver/pkg/apis/apiserver/validation).
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from keelback.apimachinery import configuration_files, errors, names
from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.apimachinery.errors import FieldError
from keelback.apimachinery.meta import Value, named
from keelback.auth.access_conditions import AccessConditions
from keelback.component.flags import duration_text, parse_duration

TYPES: Final = ("ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook")
VERSIONS: Final = ("v1", "v1beta1", "v1alpha1")
_GROUP: Final = "apiserver.config.k8s.io"
_LONGEST_TIMEOUT_SECONDS: Final = 30
_MOST_CONDITIONS: Final = 64


class MatchCondition(Value):
    expression: str = ""


class ConnectionInfo(Value):
    type: str = ""
    kube_config_file: str | None = named("kubeConfigFile", None)


class WebhookConfiguration(Value):
    authorized_ttl: str = named("authorizedTTL", "5m")
    cache_authorized_requests: bool = True
    unauthorized_ttl: str = named("unauthorizedTTL", "30s")
    cache_unauthorized_requests: bool = True
    timeout: str = "0s"
    subject_access_review_version: str = ""
    match_condition_subject_access_review_version: str = ""
    failure_policy: str = ""
    connection_info: ConnectionInfo = ConnectionInfo()
    match_conditions: tuple[MatchCondition, ...] = ()


class AuthorizerConfiguration(Value):
    type: str = ""
    name: str = ""
    webhook: WebhookConfiguration | None = None


class AuthorizationConfiguration(Value):
    authorizers: tuple[AuthorizerConfiguration, ...] = ()

    @property
    def types(self) -> frozenset[str]:
        """The sorts of authorizers other than webhooks."""
        return frozenset(one.type for one in self.authorizers) - {"Webhook"}


def read(text: str) -> AuthorizationConfiguration:
    """What the file says. Raises ConfigurationError."""
    made = configuration_files.read(text, AuthorizationConfiguration, "AuthorizationConfiguration", _GROUP, VERSIONS)
    problems = list(validate(made))
    if problems:
        raise ConfigurationError.of(problems)
    for one in made.authorizers:
        if one.type != "Webhook" and one.name != one.type.lower():
            raise ConfigurationError(
                f"expected name {one.type.lower()} for authorizer {one.type} instead of {one.name}"
            )
    return made


def validate(configuration: AuthorizationConfiguration) -> Iterator[FieldError]:
    """Everything that is wrong with it."""
    if not configuration.authorizers:
        yield errors.required("authorizers", "at least one authorization mode must be defined")
    types: set[str] = set()
    taken: set[str] = set()
    for index, one in enumerate(configuration.authorizers):
        path = f"authorizers[{index}]"
        if not one.type:
            yield errors.required(f"{path}.type")
        elif one.type not in TYPES:
            yield errors.not_supported(f"{path}.type", one.type, TYPES)
        elif one.type in types and one.type != "Webhook":
            yield errors.duplicate(f"{path}.type", one.type)
        else:
            types.add(one.type)
            yield from _name(f"{path}.name", one.name, taken)
            taken.add(one.name)
            if one.type != "Webhook":
                if one.webhook is not None:
                    yield errors.invalid(f"{path}.webhook", "non-null", "may only be specified when type=Webhook")
            elif one.webhook is None:
                yield errors.required(f"{path}.webhook", "required when type=Webhook")
            else:
                yield from _webhook(path, one.webhook)


def _name(path: str, name: str, taken: set[str]) -> Iterator[FieldError]:
    if not name:
        yield errors.required(path)
    elif name in taken:
        yield errors.duplicate(path, name)
    elif complaints := names.dns1123_subdomain(name):
        yield errors.invalid(path, name, f"authorizer name is invalid: {', '.join(complaints)}")


def _webhook(path: str, given: WebhookConfiguration) -> Iterator[FieldError]:
    yield from _period(f"{path}.timeout", given.timeout, _LONGEST_TIMEOUT_SECONDS, "must be > 0s and <= 30s")
    yield from _period(f"{path}.authorizedTTL", given.authorized_ttl, None, "must be > 0s")
    yield from _period(f"{path}.unauthorizedTTL", given.unauthorized_ttl, None, "must be > 0s")
    yield from _choice(f"{path}.subjectAccessReviewVersion", given.subject_access_review_version, ("v1", "v1beta1"))
    version = given.match_condition_subject_access_review_version
    if version or given.match_conditions:
        what = f"{path}.matchConditionSubjectAccessReviewVersion"
        yield from _choice(what, version, ("v1",), "required if match conditions are specified")
    yield from _choice(f"{path}.failurePolicy", given.failure_policy, ("NoOpinion", "Deny"))
    yield from _connection(f"{path}.connectionInfo", given.connection_info)
    yield from _conditions(f"{path}.matchConditions", given.match_conditions)


def _period(path: str, text: str, most: float | None, rule: str) -> Iterator[FieldError]:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        yield errors.invalid(path, text, str(error))
        return
    if seconds == 0:
        yield errors.required(path)
    elif seconds < 0 or (most is not None and seconds > most):
        yield errors.invalid(path, duration_text(seconds), rule)


def _choice(path: str, value: str, known: Sequence[str], why: str = "") -> Iterator[FieldError]:
    if not value:
        yield errors.required(path, why)
    elif value not in known:
        yield errors.not_supported(path, value, known)


def _connection(path: str, given: ConnectionInfo) -> Iterator[FieldError]:
    file = given.kube_config_file
    match given.type:
        case "":
            yield errors.required(f"{path}.type")
        case "InClusterConfig":
            if file is not None:
                yield errors.invalid(f"{path}.kubeConfigFile", file, "can only be set when type=KubeConfigFile")
        case "KubeConfigFile":
            if not file:
                yield errors.required(f"{path}.kubeConfigFile")
            elif problem := _file_problem(Path(file)):
                yield errors.invalid(f"{path}.kubeConfigFile", file, problem)
        case _:
            yield errors.not_supported(f"{path}.type", given.type, ("InClusterConfig", "KubeConfigFile"))


def _file_problem(path: Path) -> str:
    if not path.is_absolute():
        return "must be an absolute path"
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"error loading file: stat {path}: {(error.strerror or str(error)).lower()}"
    return "" if stat.S_ISREG(mode) else "must be a regular file"


def _conditions(path: str, given: Sequence[MatchCondition]) -> Iterator[FieldError]:
    if len(given) > _MOST_CONDITIONS:
        yield errors.too_many(path, len(given), _MOST_CONDITIONS)
        return
    seen: set[str] = set()
    for index, one in enumerate(given):
        where = f"{path}[{index}].expression"
        if not one.expression.strip():
            yield errors.required(where)
        elif one.expression in seen:
            yield errors.duplicate(where, one.expression)
        else:
            seen.add(one.expression)
            problem = AccessConditions.problem(one.expression)
            if problem:
                yield errors.invalid(where, one.expression, problem)


Check = Callable[[AuthorizationConfiguration], None]


def unchanged_types(before: AuthorizationConfiguration) -> Check:
    """What a file that is read again must keep: all but webhooks is chosen when the server starts.

    Raises ConfigurationError.
    """

    def check(configuration: AuthorizationConfiguration) -> None:
        if missing := sorted(before.types - configuration.types):
            raise ConfigurationError(f"missing required types: [{' '.join(missing)}]")
        if extra := sorted(configuration.types - before.types):
            raise ConfigurationError(f"types that the server did not start with: [{' '.join(extra)}]")

    return check
