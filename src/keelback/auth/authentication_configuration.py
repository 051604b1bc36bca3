"""AuthenticationConfiguration (apiserver.config.k8s.io): whose tokens are believed, what they mean (KEP-3331).

Read and checked here, with upstream's words for what is wrong (k8s.io/apiserver/pkg/apis/apiserver/validation).
"""

from __future__ import annotations

import ssl
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from keelback.apimachinery import configuration_files, errors, go_urls, names
from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.apimachinery.errors import FieldError
from keelback.apimachinery.meta import Value, named
from keelback.auth import claim_expressions
from keelback.auth.claim_expressions import CompiledExpression

VERSIONS: Final = ("v1", "v1beta1", "v1alpha1")
_GROUP: Final = "apiserver.config.k8s.io"
_MOST_AUTHENTICATORS: Final = 64
_BOTH: Final = "claim and expression can't both be set"
_RESERVED: Final = ("kubernetes.io", "k8s.io")
_EMAIL_UNVERIFIED: Final = (
    "claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression"
    " or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression"
)


class Issuer(Value):
    url: str = ""
    discovery_url: str = named("discoveryURL", "")
    certificate_authority: str = ""
    audiences: tuple[str, ...] = ()
    audience_match_policy: str = ""
    egress_selector_type: str = ""


class ClaimValidationRule(Value):
    claim: str = ""
    required_value: str = ""
    expression: str = ""
    message: str = ""


class PrefixedClaimOrExpression(Value):
    claim: str = ""
    prefix: str | None = None
    expression: str = ""


class ClaimOrExpression(Value):
    claim: str = ""
    expression: str = ""


class ExtraMapping(Value):
    key: str = ""
    value_expression: str = ""


class ClaimMappings(Value):
    username: PrefixedClaimOrExpression = PrefixedClaimOrExpression()
    groups: PrefixedClaimOrExpression = PrefixedClaimOrExpression()
    uid: ClaimOrExpression = ClaimOrExpression()
    extra: tuple[ExtraMapping, ...] = ()


class UserValidationRule(Value):
    expression: str = ""
    message: str = ""


class JWTAuthenticatorConfiguration(Value):
    issuer: Issuer = Issuer()
    claim_validation_rules: tuple[ClaimValidationRule, ...] = ()
    claim_mappings: ClaimMappings = ClaimMappings()
    user_validation_rules: tuple[UserValidationRule, ...] = ()


class AnonymousCondition(Value):
    path: str = ""


class AnonymousConfiguration(Value):
    enabled: bool = False
    conditions: tuple[AnonymousCondition, ...] = ()


class AuthenticationConfiguration(Value):
    jwt: tuple[JWTAuthenticatorConfiguration, ...] = ()
    anonymous: AnonymousConfiguration | None = None


def read(text: str, disallowed_issuers: Collection[str]) -> AuthenticationConfiguration:
    """What the file says, which may not name the issuers of service accounts' tokens. Raises ConfigurationError."""
    made = configuration_files.read(text, AuthenticationConfiguration, "AuthenticationConfiguration", _GROUP, VERSIONS)
    problems = list(validate(made, disallowed_issuers))
    if problems:
        raise ConfigurationError.of(problems)
    return made


def validate(configuration: AuthenticationConfiguration, disallowed_issuers: Collection[str]) -> Iterator[FieldError]:
    """Everything that is wrong with it."""
    if len(configuration.jwt) > _MOST_AUTHENTICATORS:
        yield errors.too_many("jwt", len(configuration.jwt), _MOST_AUTHENTICATORS)
        return
    urls: set[str] = set()
    discovery_urls: set[str] = set()
    for index, one in enumerate(configuration.jwt):
        path = f"jwt[{index}]"
        yield from _authenticator(path, one, disallowed_issuers)
        if one.issuer.url in urls:
            yield errors.duplicate(f"{path}.issuer.url", one.issuer.url)
        urls.add(one.issuer.url)
        if one.issuer.discovery_url:
            if one.issuer.discovery_url in discovery_urls:
                yield errors.duplicate(f"{path}.issuer.discoveryURL", one.issuer.discovery_url)
            discovery_urls.add(one.issuer.discovery_url)
    anonymous = configuration.anonymous
    if anonymous is not None and not anonymous.enabled and anonymous.conditions:
        shown = [{"Path": one.path} for one in anonymous.conditions]
        yield errors.invalid("anonymous.conditions", shown, "enabled should be set to true when conditions are defined")


def _authenticator(
    path: str, given: JWTAuthenticatorConfiguration, disallowed_issuers: Collection[str]
) -> Iterator[FieldError]:
    yield from _issuer(f"{path}.issuer", given.issuer, disallowed_issuers)
    verifying: list[CompiledExpression] = []
    yield from _validation_rules(f"{path}.claimValidationRules", given.claim_validation_rules, verifying)
    yield from _mappings(f"{path}.claimMappings", given.claim_mappings, verifying)
    yield from _user_rules(f"{path}.userValidationRules", given.user_validation_rules)


def _issuer(path: str, issuer: Issuer, disallowed: Collection[str]) -> Iterator[FieldError]:
    if issuer.url:
        yield from _url(f"{path}.url", issuer.url, disallowed)
    else:
        yield errors.required(f"{path}.url")
    if issuer.discovery_url:
        where = f"{path}.discoveryURL"
        if issuer.url and issuer.url.rstrip("/") == issuer.discovery_url.rstrip("/"):
            yield errors.invalid(where, issuer.discovery_url, "discoveryURL must be different from URL")
        yield from _url(where, issuer.discovery_url, ())
    yield from _audiences(path, issuer.audiences, issuer.audience_match_policy)
    if issuer.certificate_authority:
        try:
            ssl.create_default_context(cadata=issuer.certificate_authority)
        except (ssl.SSLError, ValueError):
            problem = "data does not contain any valid RSA or ECDSA certificates"
            yield errors.invalid(f"{path}.certificateAuthority", "<omitted>", problem)
    if issuer.egress_selector_type:
        problem = "egress selector is not supported: there is no egress to select"
        yield errors.invalid(f"{path}.egressSelectorType", issuer.egress_selector_type, problem)


def _url(path: str, text: str, disallowed: Collection[str]) -> Iterator[FieldError]:
    if text in disallowed:
        listed = " ".join(sorted(disallowed))
        yield errors.invalid(path, text, f"URL must not overlap with disallowed issuers: [{listed}]")
    try:
        url = go_urls.parse(text)
    except go_urls.UrlError as error:
        yield errors.invalid(path, text, str(error))
        return
    if url.scheme != "https":
        yield errors.invalid(path, text, "URL scheme must be https")
    if url.user_info is not None:
        yield errors.invalid(path, text, "URL must not contain a username or password")
    if url.raw_query:
        yield errors.invalid(path, text, "URL must not contain a query")
    if url.raw_fragment:
        yield errors.invalid(path, text, "URL must not contain a fragment")


def _audiences(path: str, audiences: Sequence[str], policy: str) -> Iterator[FieldError]:
    if not audiences:
        yield errors.required(f"{path}.audiences", f"at least one {path}.audiences is required")
        return
    for index, one in enumerate(audiences):
        if not one:
            yield errors.required(f"{path}.audiences[{index}]")
        if one in audiences[:index]:
            yield errors.duplicate(f"{path}.audiences[{index}]", one)
    if len(audiences) > 1 and policy != "MatchAny":
        problem = "audienceMatchPolicy must be MatchAny for multiple audiences"
        yield errors.invalid(f"{path}.audienceMatchPolicy", policy, problem)
    if len(audiences) == 1 and policy not in ("", "MatchAny"):
        problem = "audienceMatchPolicy must be empty or MatchAny for single audience"
        yield errors.invalid(f"{path}.audienceMatchPolicy", policy, problem)


def _validation_rules(
    path: str, rules: Sequence[ClaimValidationRule], verifying: list[CompiledExpression]
) -> Iterator[FieldError]:
    claims: set[str] = set()
    expressions: set[str] = set()
    for index, rule in enumerate(rules):
        where = f"{path}[{index}]"
        if rule.claim and rule.expression:
            yield errors.invalid(where, rule.claim, _BOTH)
        elif rule.claim:
            if rule.message:
                yield errors.invalid(f"{where}.message", rule.message, "may not be specified when claim is set")
            if rule.claim in claims:
                yield errors.duplicate(f"{where}.claim", rule.claim)
            claims.add(rule.claim)
        elif rule.expression:
            if rule.required_value:
                problem = "may not be specified when expression is set"
                yield errors.invalid(f"{where}.requiredValue", rule.required_value, problem)
            if rule.expression in expressions:
                yield errors.duplicate(f"{where}.expression", rule.expression)
                continue
            expressions.add(rule.expression)
            compiled = claim_expressions.of_claims(rule.expression, must_be_bool=True)
            yield from _compiled(f"{where}.expression", compiled, verifying)
        else:
            yield errors.required(where, "claim or expression is required")


def _compiled(
    path: str, compiled: CompiledExpression, verifying: list[CompiledExpression] | None = None
) -> Iterator[FieldError]:
    if compiled.problem:
        yield errors.invalid(path, compiled.text, compiled.problem)
    elif verifying is not None:
        verifying.append(compiled)


def _mappings(path: str, given: ClaimMappings, verifying: list[CompiledExpression]) -> Iterator[FieldError]:
    name: list[CompiledExpression] = []
    yield from _prefixed(f"{path}.username", given.username, name, is_required=True)
    yield from _prefixed(f"{path}.groups", given.groups, [], is_required=False)
    if given.uid.claim and given.uid.expression:
        yield errors.invalid(f"{path}.uid", "", _BOTH)
    elif given.uid.expression:
        yield from _compiled(f"{path}.uid.expression", claim_expressions.of_claims(given.uid.expression))
    yield from _extra(f"{path}.extra", given.extra, verifying)
    uses_email = any(one.selects("claims", "email") for one in name)
    if uses_email and not any(one.selects("claims", "email_verified") for one in (*name, *verifying)):
        yield errors.invalid(f"{path}.username.expression", given.username.expression, _EMAIL_UNVERIFIED)


def _prefixed(
    path: str, given: PrefixedClaimOrExpression, compiled: list[CompiledExpression], *, is_required: bool
) -> Iterator[FieldError]:
    if given.expression and given.claim:
        yield errors.invalid(path, "", _BOTH)
    elif given.expression:
        if given.prefix is not None:
            yield errors.invalid(f"{path}.prefix", given.prefix, "may not be specified when expression is set")
        yield from _compiled(f"{path}.expression", claim_expressions.of_claims(given.expression), compiled)
    elif given.claim:
        if given.prefix is None:
            problem = "prefix is required when claim is set. It can be set to an empty string to disable prefixing"
            yield errors.required(f"{path}.prefix", problem)
    elif is_required:
        yield errors.required(path, "claim or expression is required")


def _extra(path: str, given: Sequence[ExtraMapping], verifying: list[CompiledExpression]) -> Iterator[FieldError]:
    keys: set[str] = set()
    for index, one in enumerate(given):
        where = f"{path}[{index}]"
        yield from _domain_prefixed(f"{where}.key", one.key)
        if one.key != one.key.lower():
            yield errors.invalid(f"{where}.key", one.key, "must be lowercase")
        domain = one.key.partition("/")[0] if "/" in one.key else ""
        if any(domain == reserved or domain.endswith(f".{reserved}") for reserved in _RESERVED):
            problem = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"
            yield errors.invalid(f"{where}.key", one.key, problem)
        if one.key in keys:
            yield errors.duplicate(f"{where}.key", one.key)
            continue
        keys.add(one.key)
        if not one.value_expression:
            yield errors.required(f"{where}.valueExpression")
            continue
        yield from _compiled(f"{where}.valueExpression", claim_expressions.of_claims(one.value_expression), verifying)


def _domain_prefixed(path: str, value: str) -> Iterator[FieldError]:
    if not value:
        yield errors.required(path)
        return
    domain, _, rest = value.partition("/")
    if not domain or not rest:
        yield errors.invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')
        return
    for problem in names.dns1123_subdomain(domain):
        yield errors.invalid(path, domain, problem)
    for problem in names.url_path(rest):
        yield errors.invalid(path, rest, problem)


def _user_rules(path: str, rules: Sequence[UserValidationRule]) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, rule in enumerate(rules):
        where = f"{path}[{index}].expression"
        if not rule.expression:
            yield errors.required(where)
        elif rule.expression in seen:
            yield errors.duplicate(where, rule.expression)
        else:
            seen.add(rule.expression)
            yield from _compiled(where, claim_expressions.of_user(rule.expression))
