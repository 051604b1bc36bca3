"""What is wrong with an AuthorizationConfiguration is said in upstream's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.auth.authorization_configuration import read, unchanged_types
from keelback.testing.access_servers import authorization_configuration as text

RBAC = {"type": "RBAC", "name": "rbac"}
NODE = {"type": "Node", "name": "node"}


def hook(**more: Any) -> dict[str, Any]:
    webhook = {
        "timeout": "3s",
        "subjectAccessReviewVersion": "v1",
        "failurePolicy": "Deny",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": __file__},
        **more,
    }
    kept = {name: one for name, one in webhook.items() if one is not None}
    return {"type": "Webhook", "name": "hook", "webhook": kept}


def problem(*authorizers: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as raised:
        read(text(*authorizers))
    return str(raised.value)


def test_what_is_written_is_read() -> None:
    made = read(text(hook(authorizedTTL="1m", cacheUnauthorizedRequests=False), NODE, RBAC))
    assert [one.type for one in made.authorizers] == ["Webhook", "Node", "RBAC"]
    webhook = made.authorizers[0].webhook
    assert webhook is not None
    assert (webhook.authorized_ttl, webhook.unauthorized_ttl) == ("1m", "30s")
    assert (webhook.cache_authorized_requests, webhook.cache_unauthorized_requests) == (True, False)


@pytest.mark.parametrize(
    ("authorizers", "said"),
    [
        ((), "authorizers: Required value: at least one authorization mode must be defined"),
        (({"type": "", "name": "a"},), "authorizers[0].type: Required value"),
        (
            ({"type": "Any", "name": "a"},),
            'authorizers[0].type: Unsupported value: "Any": supported values: "ABAC", "AlwaysAllow", "AlwaysDeny", '
            '"Node", "RBAC", "Webhook"',
        ),
        ((RBAC, RBAC), 'authorizers[1].type: Duplicate value: "RBAC"'),
        (({"type": "RBAC"},), "authorizers[0].name: Required value"),
        ((hook(), hook()), 'authorizers[1].name: Duplicate value: "hook"'),
        (({"type": "RBAC", "name": "other"},), "expected name rbac for authorizer RBAC instead of other"),
        (
            ({**RBAC, "webhook": {}},),
            'authorizers[0].webhook: Invalid value: "non-null": may only be specified when type=Webhook',
        ),
        (({"type": "Webhook", "name": "a"},), "authorizers[0].webhook: Required value: required when type=Webhook"),
        ((hook(timeout=None),), "authorizers[0].timeout: Required value"),
        ((hook(timeout="31s"),), 'authorizers[0].timeout: Invalid value: "31s": must be > 0s and <= 30s'),
        ((hook(timeout="soon"),), 'authorizers[0].timeout: Invalid value: "soon": time: invalid duration "soon"'),
        ((hook(authorizedTTL="-1s"),), 'authorizers[0].authorizedTTL: Invalid value: "-1s": must be > 0s'),
        ((hook(unauthorizedTTL="0s"),), "authorizers[0].unauthorizedTTL: Required value"),
        ((hook(subjectAccessReviewVersion=None),), "authorizers[0].subjectAccessReviewVersion: Required value"),
        (
            (hook(subjectAccessReviewVersion="v2"),),
            'authorizers[0].subjectAccessReviewVersion: Unsupported value: "v2": supported values: "v1", "v1beta1"',
        ),
        (
            (hook(failurePolicy="Fail"),),
            'authorizers[0].failurePolicy: Unsupported value: "Fail": supported values: "Deny", "NoOpinion"',
        ),
        ((hook(connectionInfo=None),), "authorizers[0].connectionInfo.type: Required value"),
        (
            (hook(connectionInfo={"type": "KubeConfigFile"}),),
            "authorizers[0].connectionInfo.kubeConfigFile: Required value",
        ),
        (
            (hook(connectionInfo={"type": "KubeConfigFile", "kubeConfigFile": "a"}),),
            'authorizers[0].connectionInfo.kubeConfigFile: Invalid value: "a": must be an absolute path',
        ),
        (
            (hook(connectionInfo={"type": "KubeConfigFile", "kubeConfigFile": "/none"}),),
            'authorizers[0].connectionInfo.kubeConfigFile: Invalid value: "/none": error loading file: stat /none: no '
            "such file or directory",
        ),
        (
            (hook(connectionInfo={"type": "KubeConfigFile", "kubeConfigFile": "/"}),),
            'authorizers[0].connectionInfo.kubeConfigFile: Invalid value: "/": must be a regular file',
        ),
        (
            (hook(connectionInfo={"type": "InClusterConfig", "kubeConfigFile": "/a"}),),
            'authorizers[0].connectionInfo.kubeConfigFile: Invalid value: "/a": can only be set when '
            "type=KubeConfigFile",
        ),
        (
            (hook(matchConditions=[{"expression": "true"}]),),
            "authorizers[0].matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are "
            "specified",
        ),
        (
            (hook(matchConditionSubjectAccessReviewVersion="v1", matchConditions=[{"expression": "request.user"}]),),
            'authorizers[0].matchConditions[0].expression: Invalid value: "request.user": must evaluate to bool but '
            "got string",
        ),
        (
            (
                hook(
                    matchConditionSubjectAccessReviewVersion="v1", matchConditions=[{"expression": "request.who == ''"}]
                ),
            ),
            "authorizers[0].matchConditions[0].expression: Invalid value: \"request.who == ''\": compilation failed: "
            "ERROR: <input>:1:8: undefined field 'who'\n | request.who == ''\n | .......^",
        ),
        (
            (hook(matchConditionSubjectAccessReviewVersion="v1", matchConditions=[{"expression": "true"}] * 2),),
            'authorizers[0].matchConditions[1].expression: Duplicate value: "true"',
        ),
        (
            (hook(matchConditionSubjectAccessReviewVersion="v1", matchConditions=[{"expression": "true"}] * 65),),
            "authorizers[0].matchConditions: Too many: 65: must have at most 64 items",
        ),
    ],
)
def test_what_is_wrong_is_said(authorizers: tuple[dict[str, Any], ...], said: str) -> None:
    assert problem(*authorizers) == said


def test_what_a_server_begins_with_stays_but_for_webhooks(tmp_path: Path) -> None:
    check = unchanged_types(read(text(NODE, RBAC)))
    check(read(text(RBAC, hook(), NODE)))
    with pytest.raises(ConfigurationError, match=r"missing required types: \[Node\]"):
        check(read(text(RBAC)))
    with pytest.raises(ConfigurationError, match=r"did not start with: \[AlwaysAllow\]"):
        check(read(text(RBAC, NODE, {"type": "AlwaysAllow", "name": "alwaysallow"})))
