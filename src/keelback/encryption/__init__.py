"""Encryption at rest: what is stored can be read only with keys that are not in the store (EncryptionConfiguration).

What is written is what Kubernetes writes around the same bytes, prefixes included, so that data can move.
"""
