"""What each resource means, apart from how it is served: one strategy per resource.

A strategy has the validation, the defaults that depend on other fields, what a status update may touch, the columns of
`kubectl get` and the fields one can select by. `builtin.py` lists them. Nothing here does I/O.
"""
