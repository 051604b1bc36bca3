"""A kopf operator that shares its work with its peers: the one of the highest priority acts, the others wait."""

import os

import kopf

NAME = os.environ["PEER"]


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_):
    settings.peering.name = "ours"
    settings.peering.mandatory = True
    settings.peering.priority = int(os.environ["PRIORITY"])


@kopf.timer("configmaps", labels={"timed": "yes"}, interval=0.2)
def tick(patch, body, **_):
    patch.setdefault("data", {})[NAME] = str(int((body.get("data") or {}).get(NAME, "0")) + 1)
