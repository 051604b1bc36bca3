"""Where the API server keeps objects: one protocol with etcd's promises, and the stores that keep them.

Only the API server's side imports this package. Values are bytes here; what they mean is decided above.
"""
