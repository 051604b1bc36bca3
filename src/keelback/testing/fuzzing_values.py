"""What requests are spoilt with: values, keys, parameters, headers, paths and texts that servers have stumbled over."""

from __future__ import annotations

from typing import Any, TypeAlias

Tree: TypeAlias = Any

NAMES: tuple[str, ...] = (
    "fuzz",
    "fuzz-1",
    "fuzz-2",
    "gone",
    "Bad_Name",
    "a" * 254,
    "..",
    "%2e",
    "é",
    "a\x00b",
    "-",
    "a/b",
    " ",
)
SUBRESOURCES: tuple[str, ...] = (
    "status",
    "scale",
    "eviction",
    "binding",
    "log",
    "token",
    "approval",
    "finalize",
    "ephemeralcontainers",
)
SUBRESOURCES += ("resize", "proxy", "proxy/a/b", "exec", "portforward", "attach", "nothing", "status/more")
DEEP_LIST: Tree = []
for _ in range(60):
    DEEP_LIST = [DEEP_LIST]
DEEP_OBJECT: Tree = {}
for _ in range(60):
    DEEP_OBJECT = {"properties": {"a": DEEP_OBJECT}, "items": DEEP_OBJECT} if _ > 50 else {"a": DEEP_OBJECT}

HOSTILE: tuple[Tree, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, -(2**31) - 1, 2**63, -(2**63), 2**64, 10**40, 1.5, -0.0, 1e308, 5e-324),
    *("", " ", "a" * 300, "\x00", "\ud800", "é", "\u202e", "../..", "%2e", "{{.}}", "$(A)", "\n", '"', "\\"),
    *("-1", "1e1000000", "1E400", "9" * 400, "99999999999999999999Ei", "1Ki1", "0x10", "²", "٣", "1_000", "+1", ".5"),
    *("100%", "-5%", "1000000000000%", "80", "http", "null", "true", "~", "0", "1.2.3.4", "::", "::ffff:1.2.3.4"),
    *("256.256.256.256", "10.0.0.0/33", "10.0.0.0/8", "2001:db8::/129", "fe80::1%eth0", "1.2.3", "010.1.1.1"),
    *("* * * * *", "@every 1s", "@every -1s", "TZ=../../etc/passwd * * * * *", "99 99 99 99 99", "*/0 * * * *"),
    *("2026-13-45T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-01-01T00:00:00+99:99", "x"),
    *("(a+)+$", "(?=a)", "[", "example.com/a", "a/b/c", "/", "a=b", "http://[::1", "https://u:p@h:99999/?q#f"),
    *(
        [],
        {},
        [[]],
        [None],
        [{}],
        {"": ""},
        {"a": None},
        {"$patch": "delete"},
        {"$patch": "replace"},
        {"$retainKeys": [1]},
    ),
    *({"$setElementOrder/containers": [{"name": 1}]}, {"$deleteFromPrimitiveList/finalizers": {}}, DEEP_LIST),
    DEEP_OBJECT,
)
KEYS = ("", "a", "\x00", "a/b", "$patch", "metadata", "spec", "name", "k" * 300, "é", "\ud800", "status", "__kind__")
QUERY = {
    "limit": ("-1", "abc", "0", "1", "9" * 30, "1.5", "²", "1_0", " 1", "٣"),
    "continue": (
        "x",
        "e30",
        "e30=",
        "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0",
        "%00",
        "W10",
        "bnVsbA",
        "MQ",
    ),
    "resourceVersion": ("abc", "-1", "0", "1", "9" * 30, "²", "1.0", "", " 1", "٣"),
    "resourceVersionMatch": ("Exact", "NotOlderThan", "bad", ""),
    "labelSelector": (
        "a=b",
        "a in (b",
        "=",
        "!!",
        "a" * 400,
        "a in (),b",
        "a>1",
        "a>x",
        "a notin (b),!c",
        "\x00",
        ",",
        "((",
    ),
    "fieldSelector": (
        "metadata.name=fuzz",
        "nope=1",
        "=",
        "metadata.name",
        "a\\",
        "status.phase!=x,",
        "metadata.name=é",
        ",",
    ),
    "watch": ("1", "true", "x", "", "0"),
    "timeoutSeconds": ("1", "-1", "abc", "9" * 30, "²", "0"),
    "sendInitialEvents": ("true", "x", ""),
    "allowWatchBookmarks": ("true", "x"),
    "dryRun": ("All", "bad", "", "All&dryRun=All"),
    "fieldValidation": ("Strict", "Warn", "Ignore", "bad", ""),
    "fieldManager": ("m", "", "a" * 200, "\x00", "é", "a\nb"),
    "force": ("true", "x", ""),
    "propagationPolicy": ("Foreground", "Background", "Orphan", "bad", ""),
    "orphanDependents": ("true", "x", ""),
    "gracePeriodSeconds": ("-5", "abc", "0", "9" * 30, "²", "1.5"),
    "pretty": ("true", "x"),
    "includeObject": ("Object", "None", "bad"),
    "container": ("main", "x"),
    "tailLines": ("-1", "x"),
}
ACCEPTS: tuple[str, ...] = (
    "",
    "*/*",
    "application/json",
    "application/yaml",
    "text/html",
    "application/vnd.kubernetes.protobuf",
    ";;;",
    ",",
)
ACCEPTS += (
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
)
ACCEPTS += (
    "application/json;as=Nope",
    "application/json;q=x",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
)
ACCEPTS += (
    "application/json;as=APIGroupDiscoveryList;v=v2;g=apidiscovery.k8s.io",
    "application/json;as=Table;v=v9;g=meta.k8s.io",
)
CONTENT_TYPES: tuple[str, ...] = (
    "",
    "application/json",
    "application/yaml",
    "application/xml",
    "application/json; charset=utf-16",
    ";",
    "*/*",
)
CONTENT_TYPES += (
    "application/vnd.kubernetes.protobuf",
    "application/apply-patch+yaml",
    "multipart/form-data",
    "text/plain",
)
JSON_PATCH, MERGE_PATCH = "application/json-patch+json", "application/merge-patch+json"
STRATEGIC, APPLY = "application/strategic-merge-patch+json", "application/apply-patch+yaml"
PATCHES = (JSON_PATCH, MERGE_PATCH, STRATEGIC, APPLY)
PATHS: tuple[str, ...] = (
    "/",
    "/api",
    "/apis",
    "/api/v1",
    "/apis/apps/v1",
    "/apis/nope",
    "/apis/apps/v9",
    "/api/v2/pods",
    "/version",
    "/x",
)
PATHS += (
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/apis/apps/v1",
    "/openapi/v3/x",
    "/healthz",
    "/livez/ping",
    "/readyz/x",
)
PATHS += (
    "/metrics",
    "/api/v1/../v1/pods",
    "//api//v1//pods",
    "/api/v1/namespaces//pods",
    "/api/v1/watch/pods",
    "/logs/",
    "/",
)
PATHS += (
    "/api/v1/watch/namespaces/default/pods/x",
    "/api/v1/proxy/x",
    "/api/v1/namespaces/default",
    "/api/v1/namespaces/é",
)
PATHS += (
    "/.well-known/openid-configuration",
    "/openid/v1/jwks",
    "/api/v1/componentstatuses",
    "/apis/apps/v1/namespaces/a/b/c/d/e",
)
PATHS += (
    "/apis/fuzz.example.com/v1/namespaces/default/fuzzs",
    "/apis/fuzz.example.com/v1/namespaces/default/fuzzs/fuzz",
)
REVIEWS = {
    "/apis/authorization.k8s.io/v1/subjectaccessreviews": ("authorization.k8s.io/v1", "SubjectAccessReview"),
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": ("authorization.k8s.io/v1", "SelfSubjectAccessReview"),
    "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews": ("authorization.k8s.io/v1", "SelfSubjectRulesReview"),
    "/apis/authentication.k8s.io/v1/tokenreviews": ("authentication.k8s.io/v1", "TokenReview"),
    "/apis/authentication.k8s.io/v1/selfsubjectreviews": ("authentication.k8s.io/v1", "SelfSubjectReview"),
    "/api/v1/namespaces/default/bindings": ("v1", "Binding"),
    "/api/v1/namespaces/default/serviceaccounts/fuzz/token": ("authentication.k8s.io/v1", "TokenRequest"),
    "/api/v1/namespaces/default/pods/fuzz/eviction": ("policy/v1", "Eviction"),
    "/api/v1/namespaces/default/pods/fuzz/binding": ("v1", "Binding"),
}
REVIEW_SPEC: Tree = {
    "user": "jane",
    "groups": ["a"],
    "token": "eyJhbGciOiJub25lIn0.e30.",
    "namespace": "default",
    "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"},
    "audiences": ["x"],
    "expirationSeconds": 600,
}

YAML_ODDITIES: tuple[bytes, ...] = (
    b"a: &a [x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b]\n"
    b"d: &d [*c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d]\nf: [*e, *e, *e, *e, *e, *e, *e]",
    b"a: &a {b: *a}",
    b"!!python/object/apply:os.system ['true']",
    b"? [a, b]\n: c",
    b"{1: a, 1.5: b, true: c, null: d}",
    b"a: 1\na: 2",
    b"<<: {a: b}",
    b"<<: 5",
    b"--- a\n--- b",
    b"\t- a",
    b"a: 0o17\nb: 1:30\nc: .inf\nd: .nan\ne: 2026-01-01\nf: =",
    b"%YAML 9.9\n---\na",
    b"&a a: !!binary x",
    b"a: !!set {x, y}",
    b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fuzz}\ndata: {a: .nan}",
    b"- " * 3000,
    b"\xff\xfea\x00",
)
