"""/statusz and /flagz, and the paths of the issuer of tokens: the methods and forms that they have."""

from __future__ import annotations

from keelback.component import metrics
from keelback.testing.requests import Ask, with_server

STATUSZ = "as=Statusz;v=v1beta1;g=config.k8s.io"
WARNING = (
    "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is "
    "for debugging purposes only.\n"
)


@with_server
async def test_people_read_the_status_as_text(ask: Ask) -> None:
    status, text = await ask("GET", "/statusz")
    assert (status, text.startswith(f"\nkube-apiserver statusz\n{WARNING}\nStarted")) == (200, True)
    lines = text.splitlines()
    assert [line.startswith(name) for name, line in zip(("Up", "Go version", "Binary"), lines[5:], strict=False)] == [
        True
    ] * 3
    assert "/healthz /livez /metrics /readyz /statusz /version" in lines[-1]
    # The delimiter is another one each time.
    assert (await ask("GET", "/statusz", accept="text/plain"))[1].splitlines()[4] != lines[4]
    assert (await ask("GET", "/flagz"))[1] == f"\nkube-apiserver flagz\n{WARNING}"


@with_server
async def test_programs_name_the_kind_they_want(ask: Ask) -> None:
    status, page = await ask("GET", "/statusz", accept=f"application/json;{STATUSZ}")
    assert (status, page["kind"], page["apiVersion"]) == (200, "Statusz", "config.k8s.io/v1beta1")
    assert page["metadata"] == {"name": "kube-apiserver"}
    assert set(page) == {
        *("kind", "apiVersion", "metadata", "startTime", "uptimeSeconds", "goVersion", "binaryVersion"),
        *("emulationVersion", "paths"),
    }
    status, page = await ask("GET", "/flagz", accept="application/json;as=Flagz;v=v1alpha1;g=config.k8s.io")
    assert (status, page["kind"], page["apiVersion"]) == (200, "Flagz", "config.k8s.io/v1alpha1")


@with_server
async def test_an_object_of_no_named_kind_is_not_given(ask: Ask) -> None:
    for accept in ("application/json", "application/json;as=Statusz;v=v2;g=config.k8s.io", "image/png"):
        status, refused = await ask("GET", "/statusz", accept=accept)
        assert (status, refused["reason"]) == (406, "NotAcceptable")
        assert refused["message"].startswith("only the following media types are accepted: application/json, ")


@with_server
async def test_what_verifiers_of_tokens_read_can_only_be_read(ask: Ask) -> None:
    for path, media_type in (
        ("/openid/v1/jwks", "application/jwk-set+json"),
        ("/.well-known/openid-configuration", "application/json"),
    ):
        for method in ("POST", "PUT", "HEAD", "OPTIONS", "DELETE"):
            status, refused = await ask(method, path)
            assert (method, path, status) == (method, path, 405)
        assert (await ask("GET", path, accept=f"{media_type};q=0.5, text/html"))[0] == 200
        status, refused = await ask("GET", path, accept="text/html")
        told = f"406: Not Acceptable\n\nAvailable representations: {media_type}"
        assert (status, refused["message"]) == (406, told)


@with_server
async def test_a_version_that_a_known_group_has_not_is_an_unknown_resource(ask: Ask) -> None:
    for path in ("/apis/apps/v2", "/apis/batch/v1beta1/"):
        status, refused = await ask("GET", path)
        assert (status, refused["message"]) == (404, "the server could not find the requested resource")
    assert await ask("GET", "/apis/none") == (404, "404 page not found\n")


@with_server
async def test_metrics_say_how_their_names_are_escaped(ask: Ask) -> None:
    status, text = await ask("GET", "/metrics")
    assert (status, text.startswith("# HELP ")) == (200, True)
    assert metrics.CONTENT_TYPE.endswith("; escaping=underscores")
