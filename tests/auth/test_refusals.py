"""Who may not is refused, whichever way they try: a table against one real server, where nothing of it may succeed."""

from __future__ import annotations

import asyncio
import base64
import json
from functools import lru_cache
from typing import Any, NamedTuple

import pytest

from keelback.api.certificates_v1 import CertificateSigningRequest
from keelback.auth.users import UserInfo
from keelback.component.http import Request, Response
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.fuzzing_samples import sample
from keelback.testing.requests import Ask, asking

API = "/api/v1/namespaces/default"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
CERTIFICATES = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
LEASES = "/apis/coordination.k8s.io/v1/namespaces"
STORAGE = "/apis/storage.k8s.io/v1"
REGISTRATION = "/apis/apiregistration.k8s.io/v1/apiservices"
ELSEWHERE = "wardle.example.com"
AUTHENTICATION = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
AS_ADMINISTRATOR = {"x-remote-user": "admin", "x-remote-group": "system:masters"}
JANE = UserInfo("jane", groups=("readers", "system:authenticated"))
BOB = UserInfo("bob", groups=("system:authenticated",))
CAROL = UserInfo("carol", groups=("system:authenticated",))
DAVE = UserInfo("dave", groups=("system:authenticated",))
ERIN = UserInfo("erin", groups=("system:authenticated",))
NODE = UserInfo("system:node:n1", groups=("system:nodes", "system:authenticated"))
GHOST = UserInfo("system:node:", groups=("system:nodes", "system:authenticated"))
ROBOT = UserInfo(
    "system:serviceaccount:default:r1",
    groups=("system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"),
)
ANONYMOUS = None
NO_RELATION = "no relationship found between node 'n1' and this object"
NOWHERE = "the server could not find the requested resource"


class Case(NamedTuple):
    """A request, and how it is refused: the code, and what the message has in it."""

    about: str
    user: UserInfo | None
    method: str
    target: str
    code: int
    message: str
    body: Any = None
    headers: dict[str, str] = {}


def denied(user: str, verb: str, resource: str, group: str = "", namespace: str = "default") -> str:
    """What RBAC's refusals say."""
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    return f'User "{user}" cannot {verb} resource "{resource}" in API group "{group}" {where}'


def rule(groups: str, resources: str, verbs: str, **more: Any) -> dict[str, Any]:
    return {"apiGroups": groups.split(","), "resources": resources.split(","), "verbs": verbs.split(","), **more}


def role(name: str, *rules: dict[str, Any], kind: str = "Role", **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "rules": list(rules),
        **more,
    }


def binding(name: str, role_kind: str, role_name: str, user: str, kind: str = "RoleBinding") -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": kind,
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": role_kind, "name": role_name},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }


def pod(name: str, node: str, number: int) -> dict[str, Any]:
    volumes = [
        {"name": "s", "secret": {"secretName": f"s{number}"}},
        {"name": "c", "configMap": {"name": f"c{number}"}},
        {"name": "d", "persistentVolumeClaim": {"claimName": f"d{number}"}},
    ]
    spec = {
        "nodeName": node,
        "serviceAccountName": f"r{number}",
        "containers": [{"name": "m", "image": "x:1"}],
        "volumes": volumes,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def simple(kind: str, name: str, version: str = "v1", **more: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **more}


def api_service(group: str, version: str = "v1") -> dict[str, Any]:
    """One whose server is in somebody's own hands."""
    spec = {"group": group, "version": version, "groupPriorityMinimum": 1000, "versionPriority": 15}
    service = {"name": "mine", "namespace": "default"}
    name, kind = f"{version}.{group}", "apiregistration.k8s.io/v1"
    return simple("APIService", name, kind, spec={**spec, "insecureSkipTLSVerify": True, "service": service})


async def prepare(ask: Ask) -> None:
    """Two nodes with a pod each, and users who may a little."""
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    made: list[tuple[str, dict[str, Any]]] = [("/api/v1/namespaces", simple("Namespace", "other"))]
    for number in (1, 2):
        made += [
            ("/api/v1/nodes", simple("Node", f"n{number}")),
            (f"{API}/secrets", simple("Secret", f"s{number}")),
            (f"{API}/configmaps", simple("ConfigMap", f"c{number}")),
            (f"{API}/persistentvolumeclaims", simple("PersistentVolumeClaim", f"d{number}", spec=claim)),
            (f"{API}/serviceaccounts", simple("ServiceAccount", f"r{number}")),
            (f"{API}/pods", pod(f"p{number}", f"n{number}", number)),
            (
                f"{LEASES}/kube-node-lease/leases",
                simple("Lease", f"n{number}", "coordination.k8s.io/v1", spec={"holderIdentity": f"n{number}"}),
            ),
            (f"{STORAGE}/csinodes", simple("CSINode", f"n{number}", "storage.k8s.io/v1", spec={"drivers": []})),
        ]
    rbac = "rbac.authorization.k8s.io"
    rules = {
        "jane": [
            rule("", "configmaps", "get,list,watch"),
            rule("", "secrets", "get", resourceNames=["s1"]),
            rule("", "pods", "get,list"),
            rule("", "serviceaccounts", "get,create,update"),
        ],
        "bob": [
            rule("", "configmaps", "get"),
            rule(rbac, "roles,rolebindings,clusterroles,clusterrolebindings", "get,create,update,patch,delete"),
        ],
        "carol": [
            rule("", "users", "impersonate", resourceNames=["joe"]),
            rule("", "groups", "impersonate", resourceNames=["readers"]),
            rule("authentication.k8s.io", "userextras/scope", "impersonate", resourceNames=["small"]),
        ],
        "dave": [
            rule("", "pods", "get,list,create"),
            rule("", "pods/exec", "get"),
            rule("", "pods/log", "list"),
            rule("", "nodes", "get"),
            rule("", "services", "get,proxy"),
            rule("certificates.k8s.io", "certificatesigningrequests", "get,create"),
            rule(
                "certificates.k8s.io",
                "certificatesigningrequests/approval,certificatesigningrequests/status",
                "update,patch",
            ),
        ],
        "erin": [{"nonResourceURLs": ["/metrics/*", "/logs/own"], "verbs": ["get"]}],
    }
    for user, own in rules.items():
        # Jane's rights end with her namespace.
        kind = "Role" if user == "jane" else "ClusterRole"
        path = f"{RBAC}/namespaces/default/" if user == "jane" else f"{RBAC}/cluster"
        made += [
            (f"{path}roles", role(user, *own, kind=kind)),
            (f"{path}rolebindings", binding(user, kind, user, user, kind.replace("Role", "RoleBinding"))),
        ]
    addresses = {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}
    made.append(("/api/v1/nodes", simple("Node", "here", status=addresses)))
    made += [(f"{API}/pods", pod(f"at-{number}", "n1", 1)) for number in range(len(HERE))]
    made.append((f"{RBAC}/clusterroles", role("strong", rule("*", "*", "*"), kind="ClusterRole")))
    made.append((CERTIFICATES, sample(CertificateSigningRequest, "csr")))
    made.append((REGISTRATION, api_service(ELSEWHERE)))
    for path, body in made:
        status, answer = await ask("POST", path, body)
        assert status == 201, (path, answer)
    for number, address in enumerate(HERE):
        patch = {"status": {"podIP": address, "podIPs": [{"ip": address}], "phase": "Running"}}
        path = f"{API}/pods/at-{number}/status"
        status, answer = await ask("PATCH", path, patch, kind="application/merge-patch+json")
        assert status == 200, answer


IMPERSONATIONS: tuple[tuple[str, dict[str, str]], ...] = (
    ("another user", {"impersonate-user": "admin"}),
    ("the administrators' group", {"impersonate-user": "joe", "impersonate-group": "system:masters"}),
    ("one group too many", {"impersonate-user": "joe", "impersonate-group": "readers, writers"}),
    ("a uid", {"impersonate-user": "joe", "impersonate-uid": "7"}),
    ("an extra", {"impersonate-user": "joe", "impersonate-extra-team": "a"}),
    ("another value of an extra", {"impersonate-user": "joe", "impersonate-extra-scope": "large"}),
    ("one value of an extra too many", {"impersonate-user": "joe", "impersonate-extra-scope": "small, large"}),
    ("a service account", {"impersonate-user": "system:serviceaccount:kube-system:default"}),
    ("a service account of that name", {"impersonate-user": "system:serviceaccount:joe:joe"}),
    ("a node", {"impersonate-user": "system:node:n1"}),
    ("nobody", {"impersonate-user": "system:anonymous"}),
    ("a controller", {"impersonate-user": "system:kube-controller-manager"}),
    ("a user that begins the same", {"impersonate-user": "joe2"}),
    ("a user in capitals", {"impersonate-user": "JOE"}),
)
HALF: tuple[tuple[str, dict[str, str]], ...] = (
    ("a group without a user", {"impersonate-group": "readers"}),
    ("a uid without a user", {"impersonate-uid": "7"}),
    ("an extra without a user", {"impersonate-extra-scope": "small"}),
)


def _subject_access(path: str) -> dict[str, Any]:
    return simple(path, "", "authorization.k8s.io/v1", spec={"user": "admin", "resourceAttributes": {"verb": "get"}})


TOKEN = simple("TokenRequest", "", "authentication.k8s.io/v1", spec={})
STRONG_RULE = rule("", "secrets", "*")
HERE = ("127.0.0.1", "127.9.9.9", "0.0.0.0", "169.254.169.254", "224.0.0.1", "::1", "fe80::1", "::")
MERGE = {"content-type": "application/merge-patch+json"}
MODIFY = 'node "n1" is not allowed to modify node "{}"'


def mirror(**more: Any) -> dict[str, Any]:
    """The pod that a kubelet makes of a file, but for what is changed."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u", "controller": True}
    metadata = {
        "name": "mirror",
        "annotations": {"kubernetes.io/config.mirror": "x"},
        "ownerReferences": [{**owner, **more.pop("owner", {})}],
        **more.pop("metadata", {}),
    }
    spec = {"nodeName": "n1", "containers": [{"name": "m", "image": "x:1"}], **more}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


MIRRORS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("that mirrors no file", {"metadata": {"annotations": {}}}, 'node "n1" can only create mirror pods'),
    ("for another node", {"nodeName": "n2"}, "can only create pods with spec.nodeName set to itself"),
    ("of nobody", {"metadata": {"ownerReferences": []}}, "can only create pods with an owner reference set to itself"),
    ("of another node", {"owner": {"name": "n2"}}, "can only create pods with an owner reference set to itself"),
    (
        "that it does not control",
        {"owner": {"controller": False}},
        "can only create pods with a controller owner reference set to itself",
    ),
    (
        "that holds up its own deletion",
        {"owner": {"blockOwnerDeletion": True}},
        "must not set blockOwnerDeletion on an owner reference",
    ),
    ("as an account", {"serviceAccountName": "r1"}, "can not create pods that reference a service account"),
    (
        "with a Secret",
        {"volumes": [{"name": "v", "secret": {"secretName": "s2"}}]},
        "can not create pods that reference secrets",
    ),
    (
        "with a ConfigMap",
        {"volumes": [{"name": "v", "configMap": {"name": "c2"}}]},
        "can not create pods that reference configmaps",
    ),
    (
        "with a claim",
        {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "d2"}}]},
        "can not create pods that reference persistentvolumeclaims",
    ),
)
NODE_PATCHES: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("which is another", "n2", {"metadata": {"labels": {"a": "b"}}}, MODIFY.format("n2")),
    (
        "its taints",
        "n1",
        {"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}},
        'node "n1" is not allowed to modify taints',
    ),
    (
        "a label that keeps pods apart",
        "n1",
        {"metadata": {"labels": {"node-restriction.kubernetes.io/team": "a"}}},
        "is not allowed to modify labels: node-restriction.kubernetes.io/team",
    ),
    (
        "a label of Kubernetes",
        "n1",
        {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}},
        "is not allowed to modify labels: node-role.kubernetes.io/control-plane",
    ),
    (
        "its owners",
        "n1",
        {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p1", "uid": "u"}]}},
        'node "n1" is not allowed to modify ownerReferences',
    ),
)
TOKENS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("bound to nothing", {}, "node requested token not bound to a pod"),
    (
        "bound to a Secret",
        {"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": "s1", "uid": "u"}},
        "node requested token not bound to a pod",
    ),
    (
        "bound to a pod of any uid",
        {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p1"}},
        "node requested token with a pod binding without a uid",
    ),
    (
        "bound to a pod of another uid",
        {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p1", "uid": "other"}},
        "does not match the UID in record",
    ),
    (
        "bound to no pod",
        {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "none", "uid": "u"}},
        'pods "none" not found',
    ),
)
CASES: tuple[Case, ...] = (
    # Beyond one's namespace, verbs, names and kinds.
    Case(
        "another namespace",
        JANE,
        "GET",
        "/api/v1/namespaces/other/configmaps",
        403,
        denied("jane", "list", "configmaps", "", "other"),
    ),
    Case("all namespaces", JANE, "GET", "/api/v1/configmaps", 403, denied("jane", "list", "configmaps", "", "")),
    Case("all namespaces, by an empty one", JANE, "GET", "/api/v1/namespaces//configmaps", 403, "forbidden"),
    Case("a verb not given", JANE, "DELETE", f"{API}/configmaps/c1", 403, denied("jane", "delete", "configmaps")),
    Case("all at once", JANE, "DELETE", f"{API}/configmaps", 403, denied("jane", "deletecollection", "configmaps")),
    Case("creating", JANE, "POST", f"{API}/configmaps", 403, denied("jane", "create", "configmaps"), b"not even JSON"),
    Case(
        "creating, dry",
        JANE,
        "POST",
        f"{API}/configmaps?dryRun=All",
        403,
        denied("jane", "create", "configmaps"),
        simple("ConfigMap", "x"),
    ),
    Case(
        "updating",
        JANE,
        "PUT",
        f"{API}/configmaps/c1",
        403,
        denied("jane", "update", "configmaps"),
        simple("ConfigMap", "c1"),
    ),
    Case("patching", JANE, "PATCH", f"{API}/configmaps/c1", 403, denied("jane", "patch", "configmaps"), {}),
    Case(
        "applying",
        JANE,
        "PATCH",
        f"{API}/configmaps/new?fieldManager=m",
        403,
        denied("jane", "patch", "configmaps"),
        simple("ConfigMap", "new"),
        {"content-type": "application/apply-patch+yaml"},
    ),
    Case("another name", JANE, "GET", f"{API}/secrets/s2", 403, denied("jane", "get", "secrets")),
    Case("a list where one name is given", JANE, "GET", f"{API}/secrets", 403, denied("jane", "list", "secrets")),
    Case(
        "a list of that name",
        JANE,
        "GET",
        f"{API}/secrets?fieldSelector=metadata.name%3Ds1",
        403,
        denied("jane", "list", "secrets"),
    ),
    Case(
        "a watch of that name",
        JANE,
        "GET",
        f"{API}/secrets?watch=1&fieldSelector=metadata.name%3Ds1",
        403,
        denied("jane", "watch", "secrets"),
    ),
    Case("a list by labels", JANE, "GET", f"{API}/secrets?labelSelector=a", 403, denied("jane", "list", "secrets")),
    Case(
        "a watch by labels",
        JANE,
        "GET",
        f"{API}/secrets?watch=true&labelSelector=a",
        403,
        denied("jane", "watch", "secrets"),
    ),
    Case("a watch by any word", JANE, "GET", f"{API}/secrets?watch=maybe", 403, denied("jane", "watch", "secrets")),
    Case(
        "a list that says it is no watch",
        JANE,
        "GET",
        f"{API}/secrets?watch=false",
        403,
        denied("jane", "list", "secrets"),
    ),
    Case(
        "the metadata alone",
        JANE,
        "GET",
        f"{API}/secrets",
        403,
        denied("jane", "list", "secrets"),
        None,
        {"accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"},
    ),
    Case(
        "a table",
        JANE,
        "GET",
        f"{API}/secrets?includeObject=Object",
        403,
        denied("jane", "list", "secrets"),
        None,
        {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"},
    ),
    Case(
        "the legacy watch",
        JANE,
        "GET",
        "/api/v1/watch/namespaces/default/secrets",
        403,
        denied("jane", "watch", "secrets"),
    ),
    Case(
        "the legacy watch of one",
        JANE,
        "GET",
        "/api/v1/watch/namespaces/default/secrets/s1",
        403,
        denied("jane", "watch", "secrets"),
    ),
    Case("the legacy proxy", JANE, "GET", "/api/v1/proxy/namespaces/default/services/x", 403, "cannot proxy resource"),
    Case("an unknown kind", JANE, "GET", f"{API}/nothings", 403, denied("jane", "list", "nothings")),
    Case("an unknown group", JANE, "GET", "/apis/nope.example.com/v1/things", 403, "forbidden"),
    Case(
        "another group of the same resource",
        JANE,
        "GET",
        "/apis/apps/v1/namespaces/default/configmaps",
        403,
        denied("jane", "list", "configmaps", "apps"),
    ),
    Case("a missing object", JANE, "GET", f"{API}/secrets/none", 403, denied("jane", "get", "secrets")),
    # Subresources are resources of their own.
    Case(
        "the status of what one reads", JANE, "GET", f"{API}/pods/p1/status", 403, denied("jane", "get", "pods/status")
    ),
    Case("the log of what one reads", JANE, "GET", f"{API}/pods/p1/log", 403, denied("jane", "get", "pods/log")),
    Case("a command in it", JANE, "POST", f"{API}/pods/p1/exec?command=id", 403, denied("jane", "create", "pods/exec")),
    Case("attaching to it", JANE, "GET", f"{API}/pods/p1/attach", 403, denied("jane", "get", "pods/attach")),
    Case("its ports", JANE, "POST", f"{API}/pods/p1/portforward", 403, denied("jane", "create", "pods/portforward")),
    Case("its proxy", JANE, "GET", f"{API}/pods/p1/proxy/", 403, denied("jane", "get", "pods/proxy")),
    Case(
        "its eviction",
        JANE,
        "POST",
        f"{API}/pods/p1/eviction",
        403,
        denied("jane", "create", "pods/eviction"),
        simple("Eviction", "p1", "policy/v1"),
    ),
    Case("its binding", JANE, "POST", f"{API}/pods/p1/binding", 403, denied("jane", "create", "pods/binding"), {}),
    Case(
        "its ephemeral containers",
        JANE,
        "PATCH",
        f"{API}/pods/p1/ephemeralcontainers",
        403,
        denied("jane", "patch", "pods/ephemeralcontainers"),
        {},
    ),
    Case("its size", JANE, "PATCH", f"{API}/pods/p1/resize", 403, denied("jane", "patch", "pods/resize"), {}),
    Case(
        "a token of an account one writes",
        JANE,
        "POST",
        f"{API}/serviceaccounts/r1/token",
        403,
        denied("jane", "create", "serviceaccounts/token"),
        TOKEN,
    ),
    Case(
        "a token of another namespace's account",
        JANE,
        "POST",
        "/api/v1/namespaces/kube-system/serviceaccounts/default/token",
        403,
        denied("jane", "create", "serviceaccounts/token", "", "kube-system"),
        TOKEN,
    ),
    Case(
        "create exec with the right to get it",
        DAVE,
        "POST",
        f"{API}/pods/p1/exec?command=id",
        403,
        denied("dave", "create", "pods/exec"),
    ),
    Case(
        "a command over WebSocket with the right to get it",
        DAVE,
        "GET",
        f"{API}/pods/p1/exec?command=id",
        403,
        'pods "p1" is forbidden: ',
    ),
    Case(
        "get logs with the right to list them",
        DAVE,
        "GET",
        f"{API}/pods/p1/log",
        403,
        denied("dave", "get", "pods/log"),
    ),
    Case(
        "a node's proxy", DAVE, "GET", "/api/v1/nodes/n1/proxy/pods", 403, denied("dave", "get", "nodes/proxy", "", "")
    ),
    Case(
        "a node's proxy by its port",
        DAVE,
        "GET",
        "/api/v1/nodes/https:n1:10250/proxy/pods",
        403,
        denied("dave", "get", "nodes/proxy", "", ""),
    ),
    Case(
        "a service's proxy with the old verb",
        DAVE,
        "GET",
        f"{API}/services/x/proxy/",
        403,
        denied("dave", "get", "services/proxy"),
    ),
    Case(
        "a namespace's end",
        DAVE,
        "PUT",
        "/api/v1/namespaces/default/finalize",
        403,
        denied("dave", "update", "namespaces/finalize"),
        simple("Namespace", "default"),
    ),
    # Paths that are not what they seem.
    Case("up and down", JANE, "GET", f"{API}/configmaps/../secrets", 403, "forbidden"),
    Case(
        "up and down to another namespace",
        JANE,
        "GET",
        "/api/v1/namespaces/default/../other/configmaps",
        403,
        "forbidden",
    ),
    Case("up from an allowed object", JANE, "GET", f"{API}/configmaps/c1/../../secrets/s2", 403, "forbidden"),
    Case("two slashes", JANE, "GET", "/api/v1/namespaces/default//secrets", 403, "forbidden"),
    Case("two slashes first", JANE, "GET", "//api/v1/namespaces/default/secrets", 403, "forbidden"),
    Case("a slash at the end", JANE, "GET", f"{API}/secrets/", 403, denied("jane", "list", "secrets")),
    Case("capitals", JANE, "GET", "/API/v1/namespaces/default/secrets", 403, "forbidden"),
    Case("a kind in capitals", JANE, "GET", f"{API}/Secrets", 403, denied("jane", "list", "Secrets")),
    Case("an object in capitals", JANE, "GET", f"{API}/secrets/S1", 403, denied("jane", "get", "secrets")),
    Case(
        "a namespace in capitals",
        JANE,
        "GET",
        "/api/v1/namespaces/DEFAULT/configmaps",
        403,
        denied("jane", "list", "configmaps", "", "DEFAULT"),
    ),
    Case("a zero byte", JANE, "GET", f"{API}/configmaps\x00/../secrets", 403, "forbidden"),
    Case("a semicolon", JANE, "GET", f"{API}/secrets;configmaps", 403, "forbidden"),
    Case("a blank", JANE, "GET", f"{API}/configmaps /c1", 403, "forbidden"),
    Case(
        "a name that looks like more", JANE, "GET", f"{API}/secrets/s1/../s2", 403, denied("jane", "get", "secrets/..")
    ),
    Case("what is still encoded", JANE, "GET", f"{API}/secrets/%73%32", 403, denied("jane", "get", "secrets")),
    Case(
        "a method for another one",
        JANE,
        "POST",
        f"{API}/configmaps/c1",
        403,
        denied("jane", "create", "configmaps"),
        None,
        {"x-http-method-override": "GET"},
    ),
    Case("a method of one's own", JANE, "BREW", f"{API}/configmaps/c1", 403, "forbidden"),
    Case(
        "another user by a header of proxies",
        JANE,
        "GET",
        f"{API}/secrets",
        403,
        denied("jane", "list", "secrets"),
        None,
        {"x-remote-user": "admin", "x-remote-group": "system:masters"},
    ),
    Case(
        "another user by certificate headers",
        JANE,
        "GET",
        f"{API}/secrets",
        403,
        denied("jane", "list", "secrets"),
        None,
        {"x-ssl-client-cn": "admin", "x-forwarded-client-cert": "Subject=admin"},
    ),
    Case("outside of a wildcard's path", ERIN, "GET", "/metrics", 403, 'User "erin" cannot get path "/metrics"'),
    Case(
        "what begins like a wildcard's path", ERIN, "GET", "/metricsx", 403, 'User "erin" cannot get path "/metricsx"'
    ),
    Case("beside a path", ERIN, "GET", "/logs/other", 403, 'User "erin" cannot get path "/logs/other"'),
    Case("below a path", ERIN, "GET", "/logs/own/more", 403, 'User "erin" cannot get path "/logs/own/more"'),
    Case("another verb on a path", ERIN, "POST", "/metrics/x", 403, 'User "erin" cannot post path "/metrics/x"'),
    Case("a resource by a path", ERIN, "GET", "/api/v1/namespaces", 403, denied("erin", "list", "namespaces", "", "")),
    *(
        Case(f"nobody at {path}", ANONYMOUS, "GET", path, 403, 'User "system:anonymous" cannot')
        for path in ("/api", "/apis", "/api/v1/namespaces", "/metrics", "/openapi/v2", "/openapi/v3", "/logs/", "/")
    ),
    *(
        Case(
            f"nobody with {name}",
            ANONYMOUS,
            "GET",
            f"{API}/secrets",
            401,
            "Unauthorized",
            None,
            {"authorization": value},
        )
        for name, value in (
            ("a forged token", "Bearer forged"),
            ("a token of one letter", "Bearer x"),
            ("three points", "Bearer ..."),
            ("the head of a token", "Bearer eyJhbGciOiJub25lIn0.e30."),
            ("a bootstrap token", "Bearer abcdef.0123456789abcdef"),
            ("a token and more", "Bearer user-token, Bearer admin-token"),
            ("a token's beginning", "Bearer admin-toke"),
            ("a token with a tail", "Bearer admin-token\x00"),
        )
    ),
    *(
        # Not a bearer token at all: nobody in particular.
        Case(
            f"nobody with {name}",
            ANONYMOUS,
            "GET",
            f"{API}/secrets",
            403,
            'User "system:anonymous" cannot',
            None,
            {"authorization": value},
        )
        for name, value in (
            ("a password", "Basic " + base64.b64encode(b"admin:admin").decode()),
            ("no token", "Bearer "),
            ("another scheme", "Token admin-token"),
        )
    ),
    Case(
        "a token in the query",
        ANONYMOUS,
        "GET",
        f"{API}/secrets?access_token=admin-token&token=admin-token",
        403,
        'User "system:anonymous" cannot',
    ),
    Case(
        "a forged token in a subprotocol",
        ANONYMOUS,
        "GET",
        f"{API}/pods/p1/exec",
        401,
        "Unauthorized",
        None,
        {
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-version": "13",
            "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "sec-websocket-protocol": "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io."
            + base64.urlsafe_b64encode(b"forged").decode().rstrip("="),
        },
    ),
    # More rights than one's own.
    Case(
        "a role with more",
        BOB,
        "POST",
        f"{RBAC}/namespaces/default/roles",
        403,
        "is attempting to grant RBAC permissions not currently held",
        role("x", STRONG_RULE),
    ),
    Case(
        "a role with everything",
        BOB,
        "POST",
        f"{RBAC}/clusterroles",
        403,
        "is attempting to grant RBAC permissions not currently held",
        role("x", rule("*", "*", "*"), kind="ClusterRole"),
    ),
    Case(
        "a role with more of the same",
        BOB,
        "POST",
        f"{RBAC}/clusterroles",
        403,
        "is attempting to grant RBAC permissions not currently held",
        role("x", rule("", "configmaps", "get,list"), kind="ClusterRole"),
    ),
    Case(
        "a role with paths",
        BOB,
        "POST",
        f"{RBAC}/clusterroles",
        403,
        "is attempting to grant RBAC permissions not currently held",
        role("x", {"nonResourceURLs": ["*"], "verbs": ["*"]}, kind="ClusterRole"),
    ),
    Case(
        "a role to escalate",
        BOB,
        "POST",
        f"{RBAC}/clusterroles",
        403,
        "is attempting to grant RBAC permissions not currently held",
        role("x", rule("rbac.authorization.k8s.io", "clusterroles", "escalate,bind"), kind="ClusterRole"),
    ),
    Case(
        "a role to impersonate",
        BOB,
        "POST",
        f"{RBAC}/clusterroles",
        403,
        "is attempting to grant RBAC permissions not currently held",
        role("x", rule("", "users,groups", "impersonate"), kind="ClusterRole"),
    ),
    Case(
        "one's own role made stronger",
        BOB,
        "PUT",
        f"{RBAC}/clusterroles/bob",
        403,
        "is attempting to grant RBAC permissions not currently held",
        role("bob", STRONG_RULE, kind="ClusterRole"),
    ),
    Case(
        "the same by a patch",
        BOB,
        "PATCH",
        f"{RBAC}/clusterroles/bob",
        403,
        "is attempting to grant RBAC permissions not currently held",
        {"rules": [STRONG_RULE]},
        {"content-type": "application/merge-patch+json"},
    ),
    Case(
        "the same by a JSON patch",
        BOB,
        "PATCH",
        f"{RBAC}/clusterroles/bob",
        403,
        "is attempting to grant RBAC permissions not currently held",
        [{"op": "add", "path": "/rules/-", "value": STRONG_RULE}],
        {"content-type": "application/json-patch+json"},
    ),
    Case(
        "the same by an apply",
        BOB,
        "PATCH",
        f"{RBAC}/clusterroles/bob?fieldManager=m&force=true",
        403,
        "is attempting to grant RBAC permissions not currently held",
        role("bob", STRONG_RULE, kind="ClusterRole"),
        {"content-type": "application/apply-patch+yaml"},
    ),
    Case(
        "an update that creates",
        BOB,
        "PUT",
        f"{RBAC}/clusterroles/x",
        403,
        "is attempting to grant RBAC permissions not currently held",
        role("x", STRONG_RULE, kind="ClusterRole"),
    ),
    Case(
        "a role that gathers others",
        BOB,
        "POST",
        f"{RBAC}/clusterroles",
        403,
        "must have cluster-admin privileges to use the aggregationRule",
        role("x", kind="ClusterRole", aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}),
    ),
    Case(
        "one's own role made to gather",
        BOB,
        "PATCH",
        f"{RBAC}/clusterroles/bob",
        403,
        "must have cluster-admin privileges to use the aggregationRule",
        {"aggregationRule": {"clusterRoleSelectors": [{}]}},
        {"content-type": "application/merge-patch+json"},
    ),
    Case(
        "a binding to a stronger role",
        BOB,
        "POST",
        f"{RBAC}/clusterrolebindings",
        403,
        "is attempting to grant RBAC permissions not currently held",
        binding("x", "ClusterRole", "strong", "bob", "ClusterRoleBinding"),
    ),
    Case(
        "a binding to cluster-admin",
        BOB,
        "POST",
        f"{RBAC}/clusterrolebindings",
        403,
        "is attempting to grant RBAC permissions not currently held",
        binding("x", "ClusterRole", "cluster-admin", "bob", "ClusterRoleBinding"),
    ),
    Case(
        "that in one namespace",
        BOB,
        "POST",
        f"{RBAC}/namespaces/default/rolebindings",
        403,
        "is attempting to grant RBAC permissions not currently held",
        binding("x", "ClusterRole", "cluster-admin", "bob"),
    ),
    Case(
        "a binding to a role there is not",
        BOB,
        "POST",
        f"{RBAC}/clusterrolebindings",
        404,
        'clusterrolebindings.rbac.authorization.k8s.io "none" not found',
        binding("x", "ClusterRole", "none", "bob", "ClusterRoleBinding"),
    ),
    Case(
        "more subjects of a strong binding",
        BOB,
        "PATCH",
        f"{RBAC}/clusterrolebindings/cluster-admin",
        403,
        "is attempting to grant RBAC permissions not currently held",
        {"subjects": [{"kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"}]},
        {"content-type": "application/merge-patch+json"},
    ),
    # Others' names.
    *(
        Case(f"as {name}", CAROL, "GET", f"{API}/configmaps", 403, "cannot impersonate", None, headers)
        for name, headers in IMPERSONATIONS
    ),
    *(
        Case(f"as {name}", CAROL, "GET", f"{API}/configmaps", 400, "without impersonating a user", None, headers)
        for name, headers in HALF
    ),
    Case(
        "as a user who may no more",
        CAROL,
        "GET",
        f"{API}/secrets",
        403,
        denied("joe", "list", "secrets"),
        None,
        {"impersonate-user": "joe"},
    ),
    Case(
        "as a user of a group that may no more",
        CAROL,
        "GET",
        f"{API}/secrets",
        403,
        denied("joe", "list", "secrets"),
        None,
        {"impersonate-user": "joe", "impersonate-group": "readers"},
    ),
    Case(
        "as anybody, by who may nothing",
        JANE,
        "GET",
        f"{API}/configmaps",
        403,
        "cannot impersonate",
        None,
        {"impersonate-user": "joe"},
    ),
    Case(
        "as anybody, by a node",
        NODE,
        "GET",
        f"{API}/configmaps",
        403,
        "cannot impersonate",
        None,
        {"impersonate-user": "admin"},
    ),
    Case(
        "as anybody, by nobody",
        ANONYMOUS,
        "GET",
        "/version",
        403,
        "cannot impersonate",
        None,
        {"impersonate-user": "admin"},
    ),
    # A node, and what is not its own.
    Case("another node's Secret", NODE, "GET", f"{API}/secrets/s2", 403, NO_RELATION),
    Case("another node's ConfigMap", NODE, "GET", f"{API}/configmaps/c2", 403, NO_RELATION),
    Case("another node's claim", NODE, "GET", f"{API}/persistentvolumeclaims/d2", 403, NO_RELATION),
    Case("another node's pod", NODE, "GET", f"{API}/pods/p2", 403, NO_RELATION),
    Case("a Secret of no pod", NODE, "GET", f"{API}/secrets/none", 403, NO_RELATION),
    Case("its Secret in another namespace", NODE, "GET", "/api/v1/namespaces/other/secrets/s1", 403, NO_RELATION),
    Case("all Secrets", NODE, "GET", f"{API}/secrets", 403, "forbidden"),
    Case("all Secrets of the cluster", NODE, "GET", "/api/v1/secrets", 403, "forbidden"),
    Case("a watch of all Secrets", NODE, "GET", f"{API}/secrets?watch=1", 403, "forbidden"),
    Case(
        "a watch of another's Secret",
        NODE,
        "GET",
        f"{API}/secrets?watch=1&fieldSelector=metadata.name%3Ds2",
        403,
        NO_RELATION,
    ),
    Case(
        "a list of another's Secret", NODE, "GET", f"{API}/secrets?fieldSelector=metadata.name%3Ds2", 403, NO_RELATION
    ),
    Case(
        "its Secret and another's",
        NODE,
        "GET",
        f"{API}/secrets?fieldSelector=metadata.name%3Ds1,metadata.name%3Ds2",
        403,
        "forbidden",
    ),
    Case("writing its Secret", NODE, "PUT", f"{API}/secrets/s1", 403, "forbidden", simple("Secret", "s1")),
    Case("another account's token", NODE, "POST", f"{API}/serviceaccounts/r2/token", 403, NO_RELATION, TOKEN),
    Case("all pods", NODE, "GET", f"{API}/pods", 403, "forbidden"),
    Case("another node's pods", NODE, "GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2", 403, "forbidden"),
    Case("another node", NODE, "GET", "/api/v1/nodes/n2", 403, "forbidden"),
    Case(
        "another node's lease",
        NODE,
        "PUT",
        f"{LEASES}/kube-node-lease/leases/n2",
        403,
        "can only access node lease with the same name as the requesting node",
        simple("Lease", "n2", "coordination.k8s.io/v1"),
    ),
    Case(
        "a lease elsewhere",
        NODE,
        "GET",
        f"{LEASES}/kube-system/leases/n1",
        403,
        'can only access leases in the "kube-node-lease" system namespace',
    ),
    Case(
        "another node's drivers",
        NODE,
        "GET",
        f"{STORAGE}/csinodes/n2",
        403,
        "can only access CSINode with the same name as the requesting node",
    ),
    Case("a role", NODE, "POST", f"{RBAC}/clusterroles", 403, "forbidden", role("x", kind="ClusterRole")),
    # What a node may write by its role, but not everything in it (NodeRestriction).
    *(
        Case(
            f"a pod of its own making, {about}",
            NODE,
            "POST",
            f"{API}/pods",
            403,
            message,
            mirror(**more),
        )
        for about, more, message in MIRRORS
    ),
    *(
        Case(f"its own node, {about}", NODE, "PATCH", f"/api/v1/nodes/{name}", 403, message, patch, MERGE)
        for about, name, patch, message in NODE_PATCHES
    ),
    Case("making another node", NODE, "POST", "/api/v1/nodes", 403, MODIFY.format("n3"), simple("Node", "n3")),
    Case(
        "another node's status",
        NODE,
        "PATCH",
        "/api/v1/nodes/n2/status",
        403,
        MODIFY.format("n2"),
        {"status": {"phase": "x"}},
        MERGE,
    ),
    Case(
        "the status of another node's pod",
        NODE,
        "PATCH",
        f"{API}/pods/p2/status",
        403,
        'node "n1" can only update pod status for pods with spec.nodeName set to itself',
        {"status": {"phase": "Failed"}},
        MERGE,
    ),
    Case(
        "labels by a pod's status",
        NODE,
        "PATCH",
        f"{API}/pods/p1/status",
        403,
        'node "n1" cannot update labels through pod status',
        {"metadata": {"labels": {"a": "b"}}},
        MERGE,
    ),
    Case(
        "deleting another node's pod",
        NODE,
        "DELETE",
        f"{API}/pods/p2",
        403,
        'node "n1" can only delete pods with spec.nodeName set to itself',
    ),
    Case(
        "evicting another node's pod",
        NODE,
        "POST",
        f"{API}/pods/p2/eviction",
        403,
        'node "n1" can only evict pods with spec.nodeName set to itself',
        simple("Eviction", "p2", "policy/v1"),
    ),
    *(
        Case(
            f"a token for its pod's account, {about}",
            NODE,
            "POST",
            f"{API}/serviceaccounts/r1/token",
            403,
            message,
            simple("TokenRequest", "", "authentication.k8s.io/v1", spec=spec),
        )
        for about, spec, message in TOKENS
    ),
    Case(
        "drivers of another node",
        NODE,
        "POST",
        f"{STORAGE}/csinodes",
        403,
        "can only access CSINode with the same name as the requesting node",
        simple("CSINode", "n3", "storage.k8s.io/v1", spec={"drivers": []}),
    ),
    Case(
        "a lease for another node",
        NODE,
        "POST",
        f"{LEASES}/kube-node-lease/leases",
        403,
        "can only access node lease with the same name as the requesting node",
        simple("Lease", "n3", "coordination.k8s.io/v1", spec={"holderIdentity": "n1"}),
    ),
    Case("a node without a name", GHOST, "GET", f"{API}/secrets/s1", 403, "forbidden"),
    # Signing and reviewing.
    Case(
        "approving for a signer one has no right to",
        DAVE,
        "PUT",
        f"{CERTIFICATES}/csr/approval",
        403,
        "user not permitted to approve requests with signerName",
        "CSR",
    ),
    Case(
        "signing for such a signer",
        DAVE,
        "PUT",
        f"{CERTIFICATES}/csr/status",
        403,
        "user not permitted to sign requests with signerName",
        "CSR SIGNED",
    ),
    Case(
        "asking about others",
        JANE,
        "POST",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        403,
        'cannot create resource "subjectaccessreviews"',
        _subject_access("SubjectAccessReview"),
    ),
    Case(
        "asking about others here",
        JANE,
        "POST",
        "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews",
        403,
        'cannot create resource "localsubjectaccessreviews"',
        _subject_access("LocalSubjectAccessReview"),
    ),
    Case(
        "whose a token is",
        JANE,
        "POST",
        "/apis/authentication.k8s.io/v1/tokenreviews",
        403,
        'cannot create resource "tokenreviews"',
        simple("TokenReview", "", "authentication.k8s.io/v1", spec={"token": "x"}),
    ),
    # Addresses of the control plane's own machine and link, whoever asks.
    *(
        Case(
            f"a pod at {address}",
            ADMINISTRATOR,
            "GET",
            f"{API}/pods/at-{number}:8080/proxy/",
            400,
            "address not allowed",
        )
        for number, address in enumerate(HERE)
    ),
    Case("a pod at an odd port", ADMINISTRATOR, "GET", f"{API}/pods/p1:99999/proxy/", 400, "address not allowed"),
    Case(
        "another port of a node that is here",
        ADMINISTRATOR,
        "GET",
        "/api/v1/nodes/here:6443/proxy/",
        400,
        "address not allowed",
    ),
    Case("that by its scheme", ADMINISTRATOR, "GET", "/api/v1/nodes/http:here:8080/proxy/", 400, "address not allowed"),
    Case(
        "a node by another scheme",
        ADMINISTRATOR,
        "GET",
        "/api/v1/nodes/file:here:80/proxy/",
        400,
        "invalid node request",
    ),
    # Other servers answer for a group: who may not ask here may not ask them, whoever they say they are.
    Case(
        "a resource of another server",
        BOB,
        "GET",
        f"/apis/{ELSEWHERE}/v1/flunders",
        403,
        denied("bob", "list", "flunders", ELSEWHERE, ""),
    ),
    Case(
        "a resource of another server, in one's namespace",
        JANE,
        "POST",
        f"/apis/{ELSEWHERE}/v1/namespaces/default/flunders",
        403,
        denied("jane", "create", "flunders", ELSEWHERE),
        {},
    ),
    Case(
        "a resource of another server, as if from a proxy",
        BOB,
        "GET",
        f"/apis/{ELSEWHERE}/v1/flunders",
        403,
        denied("bob", "list", "flunders", ELSEWHERE, ""),
        headers=AS_ADMINISTRATOR,
    ),
    Case(
        "a resource of another server, by nobody as if from a proxy",
        ANONYMOUS,
        "GET",
        f"/apis/{ELSEWHERE}/v1/flunders",
        403,
        denied("system:anonymous", "list", "flunders", ELSEWHERE, ""),
        headers=AS_ADMINISTRATOR,
    ),
    Case("Secrets, as if from a proxy", ANONYMOUS, "GET", f"{API}/secrets", 403, "forbidden", headers=AS_ADMINISTRATOR),
    Case(
        "a server for a group",
        JANE,
        "POST",
        REGISTRATION,
        403,
        denied("jane", "create", "apiservices", "apiregistration.k8s.io", ""),
        api_service("mine.example.com"),
    ),
    Case(
        "a server in place of this one",
        BOB,
        "PUT",
        f"{REGISTRATION}/v1.apps",
        403,
        denied("bob", "update", "apiservices", "apiregistration.k8s.io", ""),
        api_service("apps"),
    ),
    Case(
        "that a server is well",
        JANE,
        "PATCH",
        f"{REGISTRATION}/v1.{ELSEWHERE}/status",
        403,
        denied("jane", "patch", "apiservices/status", "apiregistration.k8s.io", ""),
        {"status": {}},
    ),
    Case(
        "whom aggregated servers believe",
        JANE,
        "PATCH",
        AUTHENTICATION,
        403,
        denied("jane", "patch", "configmaps", "", "kube-system"),
        {"data": {}},
    ),
    # A pod's account has no rights but what it is given.
    Case("an account's own Secrets", ROBOT, "GET", f"{API}/secrets", 403, denied(ROBOT.name, "list", "secrets")),
    Case("an account's own pod", ROBOT, "GET", f"{API}/pods/p1", 403, denied(ROBOT.name, "get", "pods")),
    Case(
        "a token for itself",
        ROBOT,
        "POST",
        f"{API}/serviceaccounts/r1/token",
        403,
        denied(ROBOT.name, "create", "serviceaccounts/token"),
        TOKEN,
    ),
)


@lru_cache(maxsize=1)
def answers() -> dict[str, tuple[int, str]]:
    """How each case was answered, by what it is about."""

    async def main() -> dict[str, tuple[int, str]]:
        async with asyncio.timeout(120), api_server() as api:
            ask = asking(api.handle)
            await prepare(ask)
            _, request = await ask("GET", f"{CERTIFICATES}/csr")
            condition = {"type": "Approved", "status": "True", "reason": "r", "message": "m"}
            bodies = {
                "CSR": {**request, "status": {"conditions": [condition]}},
                "CSR SIGNED": {**request, "status": {"conditions": [{**condition, "type": "Failed"}]}},
            }
            _, before = await ask("GET", f"{API}/configmaps")
            found = {}
            for case in CASES:
                body = bodies.get(case.body, case.body) if isinstance(case.body, str) else case.body
                path, _, query = case.target.partition("?")
                content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
                headers = {"content-type": "application/json", **case.headers}
                identity = case.user
                answer = await api.handle(Request(case.method, path, query, headers, content, identity=identity))
                text = answer.content().decode() if isinstance(answer, Response) else "a stream"
                message = json.loads(text)["message"] if text.startswith('{"kind":"Status"') else text
                found[case.about] = (int(getattr(answer, "status", 101)), message)
            _, after = await ask("GET", f"{API}/configmaps")
            assert after["items"] == before["items"]
            return found

    return asyncio.run(main())


def test_there_are_enough_cases_and_each_has_its_name() -> None:
    assert len(CASES) == len({case.about for case in CASES})
    assert len(CASES) >= 100


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.about)
def test_it_is_refused(case: Case) -> None:
    status, message = answers()[case.about]
    assert (status, case.message in message) == (case.code, True), message


def test_what_they_may_do_they_can() -> None:
    """Were everything refused, the table would prove nothing."""

    async def main() -> list[int]:
        async with asyncio.timeout(60), api_server() as api:
            await prepare(asking(api.handle))
            allowed = (
                (JANE, "GET", f"{API}/configmaps", {}),
                (JANE, "GET", f"{API}/secrets/s1", {}),
                (JANE, "GET", f"{API}/pods/p1", {}),
                (BOB, "GET", f"{RBAC}/clusterroles/bob", {}),
                (CAROL, "GET", "/api", {"impersonate-user": "joe", "impersonate-group": "readers"}),
                (NODE, "GET", f"{API}/secrets/s1", {}),
                (NODE, "GET", f"{API}/configmaps/c1", {}),
                (NODE, "GET", f"{API}/persistentvolumeclaims/d1", {}),
                (NODE, "GET", f"{API}/pods/p1", {}),
                (NODE, "GET", f"{LEASES}/kube-node-lease/leases/n1", {}),
                (NODE, "GET", f"{STORAGE}/csinodes/n1", {}),
                (ADMINISTRATOR, "GET", f"{API}/secrets", {"impersonate-user": "admin"}),
            )
            found = []
            for user, method, path, headers in allowed:
                answer = await api.handle(Request(method, path, "", headers, identity=user))
                assert isinstance(answer, Response)
                found.append(int(answer.status))
            return found

    # The last one is nobody in particular, whoever asks for it.
    assert asyncio.run(main()) == [200] * 11 + [403]
