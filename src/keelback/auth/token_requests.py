"""TokenRequest: a service account's token, made when it is asked for and bound to what asks for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from keelback.api.authentication_v1 import BoundObjectReference, TokenRequest, TokenRequestStatus
from keelback.api.core_v1 import Node, Pod, PodSpec, Secret, ServiceAccount
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, ObjectMeta, narrow, replace, written
from keelback.auth.authentication import Reader
from keelback.auth.service_accounts import Binding, Reference, TokenIssuer

_MIN_SECONDS = 10 * 60
_MAX_SECONDS = 1 << 32


@narrow(Pod)
class _BoundPod(Object):
    """A pod, of which where it runs and as whom is of interest."""

    spec: PodSpec = written(PodSpec())


@narrow(Node)
class _BoundNode(Object):
    """A node, of which only the identity is of interest."""


@narrow(Secret)
class _BoundSecret(Object):
    """A secret, of which only the identity is of interest."""


class TokenRequests:
    """Answers requests for tokens."""

    def __init__(self, issuer: TokenIssuer, reader: Reader, max_seconds: int = 0) -> None:
        """`max_seconds` is how long a token is good at most; 0 for as long as is asked for."""
        self._issuer = issuer
        self._reader = reader
        self._max_seconds = max_seconds

    async def create(
        self,
        namespace: str,
        name: str,
        request: TokenRequest,
        *,
        now: datetime,
        token_id: str,
        warn: Callable[[str], None] = lambda text: None,
    ) -> TokenRequest:
        """The request with a token for the service account. Raises NotFound, Invalid, BadRequest or Conflict.

        `token_id` must be new each time.
        """
        _check_names(request, namespace, name)
        account = await self._reader.get(ServiceAccount, name, namespace)
        _validate(request)
        wanted = request.spec.expiration_seconds
        if 0 < self._max_seconds < wanted:
            warn(f"requested expiration of {wanted} seconds shortened to {self._max_seconds} seconds")
            request = replace(request, spec=replace(request.spec, expiration_seconds=self._max_seconds))
        bound = request.spec.bound_object_ref
        binding = Binding() if bound is None else await self._binding(account.metadata, bound)
        audiences = request.spec.audiences or self._issuer.api_audiences
        issued = self._issuer.issue(
            account.metadata,
            now=now,
            token_id=token_id,
            lifetime_seconds=request.spec.expiration_seconds,
            audiences=audiences,
            binding=binding,
        )
        return TokenRequest(
            metadata=replace(
                request.metadata, name=name, namespace=namespace, creation_timestamp=now.replace(microsecond=0)
            ),
            spec=replace(request.spec, audiences=audiences),
            status=TokenRequestStatus(token=issued.token, expiration_timestamp=issued.expires),
        )

    async def _binding(self, account: ObjectMeta, bound: BoundObjectReference) -> Binding:
        match (bound.api_version, bound.kind):
            case ("v1", "Pod"):
                pod = await self._reader.get(_BoundPod, bound.name, account.namespace)
                _check_uid(pod, bound)
                if pod.spec.service_account_name != account.name:
                    raise errors.BadRequest(
                        f'cannot bind token for serviceaccount "{account.name}" to pod running with different'
                        " serviceaccount name."
                    )
                return Binding(pod=_reference(pod), node=await self._node(pod.spec.node_name))
            case ("v1", "Secret"):
                secret = await self._reader.get(_BoundSecret, bound.name, account.namespace)
                _check_uid(secret, bound)
                return Binding(secret=_reference(secret))
            case ("v1", "Node"):
                node = await self._reader.get(_BoundNode, bound.name)
                _check_uid(node, bound)
                return Binding(node=_reference(node))
            case _:
                raise errors.BadRequest(f"cannot bind token to object of type {bound.api_version}, Kind={bound.kind}")

    async def _node(self, name: str) -> Reference | None:
        """The pod's node, which the token tells about but does not depend on."""
        if not name:
            return None
        try:
            return _reference(await self._reader.get(_BoundNode, name))
        except errors.NotFound:
            return Reference(name)


def _check_names(request: TokenRequest, namespace: str, name: str) -> None:
    for field, given, wanted in (
        ("name", request.metadata.name, name),
        ("namespace", request.metadata.namespace, namespace),
    ):
        if given and given != wanted:
            told = f"must match the service account {field} if specified"
            problem = errors.invalid(f"metadata.{field}", given, told)
            raise errors.Invalid.of(TokenRequest.__kind__, name, [problem])


def _validate(request: TokenRequest) -> None:
    seconds = request.spec.expiration_seconds
    detail = ""
    if seconds < _MIN_SECONDS:
        detail = "may not specify a duration less than 10 minutes"
    elif seconds > _MAX_SECONDS:
        detail = "may not specify a duration larger than 2^32 seconds"
    if detail:
        problem = errors.invalid("spec.expirationSeconds", seconds, detail)
        raise errors.Invalid.of(TokenRequest.__kind__, "", [problem])


def _check_uid(obj: Object, bound: BoundObjectReference) -> None:
    if bound.uid and bound.uid != obj.metadata.uid:
        raise errors.Conflict.of(
            obj.__kind__,
            bound.name,
            f"the UID in the bound object reference ({bound.uid}) does not match the UID in record."
            " The object might have been deleted and then recreated",
        )


def _reference(obj: Object) -> Reference:
    return Reference(obj.metadata.name, obj.metadata.uid)
