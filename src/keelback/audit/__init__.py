"""Who did what, when, and how it went: the audit policy, the events, and where they are sent (audit.k8s.io/v1).

What a request is, the API server knows; here is only what is noted of it and how the notes are kept.
"""
