"""What a component holds of the API server: a transport, a typed client, and what is built on them."""

from keelback.client.client import Client, ObjectList, WatchEvent
from keelback.client.events import EventRecorder
from keelback.client.https import HTTPSTransport, TokenFile, client_context
from keelback.client.informer import Change, Informer
from keelback.client.patches import ApplyPatch, JSONPatch, MergePatch, Patch, StrategicMergePatch
from keelback.client.store import Store
from keelback.client.transport import IN_PROCESS_WATCH_SECONDS, InProcessTransport, Transport

__all__ = [
    "ApplyPatch",
    "Change",
    "Client",
    "IN_PROCESS_WATCH_SECONDS",
    "InProcessTransport",
    "EventRecorder",
    "HTTPSTransport",
    "Informer",
    "JSONPatch",
    "MergePatch",
    "ObjectList",
    "Patch",
    "Store",
    "StrategicMergePatch",
    "TokenFile",
    "Transport",
    "WatchEvent",
    "client_context",
]
