"""Nobody has policies read parameters for them that they may not read themselves: no plugin upstream, as `Grants`."""

from __future__ import annotations

from typing import Any, Final

from keelback.admission.plugin import (
    AdmissionPlugin,
    AdmissionRequest,
    IsAllowed,
    NewestReader,
    Operation,
    Question,
    User,
)
from keelback.admission.resources import Resources
from keelback.api.admissionregistration_v1 import (
    MutatingAdmissionPolicy,
    ParamKind,
    ParamRef,
    ValidatingAdmissionPolicy,
)
from keelback.apimachinery import errors
from keelback.apimachinery.go_text import go_printed

_GROUP: Final = "admissionregistration.k8s.io"
_POLICIES: Final = ("mutatingadmissionpolicies", "validatingadmissionpolicies")
_POLICY_OF: Final[dict[str, type[MutatingAdmissionPolicy | ValidatingAdmissionPolicy]]] = {
    "mutatingadmissionpolicybindings": MutatingAdmissionPolicy,
    "validatingadmissionpolicybindings": ValidatingAdmissionPolicy,
}
_MASTERS: Final = "system:masters"


class ParamAccess(AdmissionPlugin):
    """Refuses policies whose kind of parameters, and bindings whose parameters, their writer may not get."""

    name = "ParamAccess"
    resources = frozenset(f"{_GROUP}/{plural}" for plural in (*_POLICIES, *_POLICY_OF))
    operations = frozenset({Operation.CREATE, Operation.UPDATE})

    def __init__(self, reader: NewestReader, is_allowed: IsAllowed, resources: Resources) -> None:
        self._reader = reader
        self._is_allowed = is_allowed
        self._resources = resources

    async def validate(self, request: AdmissionRequest) -> None:
        if _MASTERS in request.user.groups:
            return
        old = None if request.old_obj is None else request.old_obj.spec
        if request.kind.plural in _POLICIES:
            await self._check_policy(request, request.obj.spec.param_kind, None if old is None else old.param_kind)
        else:
            await self._check_binding(request, request.obj.spec, old)

    async def _check_policy(self, request: AdmissionRequest, new: ParamKind | None, old: ParamKind | None) -> None:
        if new is None or new == old:
            return
        group, resource = self._read_by(new)
        if not await self._is_allowed(Question(request.user, "get", group, resource, "*", "*")):
            raise _refusal(
                request,
                "spec.paramKind",
                f'user {_shown(request.user)} must have "get" permission on all objects of the referenced paramKind'
                f" (kind={new.kind}, apiVersion={new.api_version})",
            )

    async def _check_binding(self, request: AdmissionRequest, new: Any, old: Any) -> None:
        reference: ParamRef | None = new.param_ref
        if reference is None or (old is not None and (old.param_ref, old.policy_name) == (reference, new.policy_name)):
            return
        group, resource = await self._read_through(_POLICY_OF[request.kind.plural], new.policy_name)
        question = Question(request.user, "get", group, resource, reference.name, reference.namespace)
        if not await self._is_allowed(question):
            raise _refusal(
                request,
                "spec.paramRef",
                f'user {_shown(request.user)} does not have "get" permission on the object referenced by paramRef',
            )

    async def _read_through(
        self, kind: type[MutatingAdmissionPolicy | ValidatingAdmissionPolicy], name: str
    ) -> tuple[str, str]:
        """The group and resource that a policy reads; as long as there is none, it may become any."""
        try:
            policy = await self._reader.newest(kind, name)
        except errors.NotFound:
            return "*", "*"
        return ("*", "*") if policy.spec.param_kind is None else self._read_by(policy.spec.param_kind)

    def _read_by(self, param_kind: ParamKind) -> tuple[str, str]:
        """The group and resource of a kind; as long as none is served, it may become any of the group's."""
        kind = self._resources.kind_of(param_kind.api_version, param_kind.kind)
        return param_kind.api_version.rpartition("/")[0], "*" if kind is None else kind.plural


def _refusal(request: AdmissionRequest, field: str, why: str) -> errors.Invalid:
    return errors.Invalid.of(request.kind, request.name, [errors.forbidden(field, why)])


def _shown(user: User) -> str:
    """As Go's %v prints the user."""
    extra = {key: list(values) for key, values in user.extra.items()}
    return f"&{{{user.name} {user.uid} {go_printed(list(user.groups))} {go_printed(extra)}}}"
