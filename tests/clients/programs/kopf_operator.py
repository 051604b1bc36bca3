"""A kopf operator of a custom resource: handlers, a timer, finalizers, and both kinds of webhooks."""

import os

import kopf


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_):
    settings.admission.server = kopf.WebhookServer(
        addr="127.0.0.1",
        host="127.0.0.1",
        certfile=os.environ["WEBHOOK_CERTIFICATE"],
        pkeyfile=os.environ["WEBHOOK_KEY"],
        cafile=os.environ["WEBHOOK_CA"],
    )
    settings.admission.managed = "auto.kopf.example.org"
    settings.posting.enabled = True


@kopf.on.mutate("kopf.example.org", "v1", "widgets", id="fill")
def fill(patch, spec, **_):
    if "color" not in spec:
        patch.spec["color"] = "blue"


@kopf.on.validate("kopf.example.org", "v1", "widgets", id="judge")
def judge(spec, warnings, **_):
    warnings.append("widgets are looked at closely")
    if spec.get("size", 0) > 10:
        raise kopf.AdmissionError("a widget of more than 10 does not fit", code=418)


@kopf.on.create("kopf.example.org", "v1", "widgets")
def created(spec, patch, **_):
    patch.status["seen"] = spec["size"]
    return {"color": spec["color"]}


@kopf.on.update("kopf.example.org", "v1", "widgets", field="spec.size")
def resized(old, new, patch, **_):
    patch.status["seen"] = new


@kopf.on.delete("kopf.example.org", "v1", "widgets")
def deleted(body, name, **_):
    kopf.info(body, reason="Farewell", message=f"farewell {name}")


@kopf.timer("kopf.example.org", "v1", "widgets", interval=0.2)
def tick(patch, status, **_):
    patch.status["ticks"] = status.get("ticks", 0) + 1
