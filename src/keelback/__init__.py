"""Kubernetes in Python: API server, store, scheduler, controllers, node agent, service proxy, DNS and their cluster."""

__version__ = "0.1.0"
