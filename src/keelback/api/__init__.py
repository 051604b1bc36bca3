"""The types of the API: one module per group and version, and one per kind for what is asked of it (`pods`, `taints`).

They are the one source for shapes, defaults and list keys; `builtin` lists the kinds.
"""
