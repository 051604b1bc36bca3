"""The machinery of the API that knows no kind in particular: meta types, codecs, selectors, patches, server-side apply.

All of it is pure: no I/O, and time reaches it as an argument.
"""
