"""The API server: requests that may be become writes to the store, and its caches answer reads in stored bytes.

`assembly` puts it together; `server` is where a request comes in, `resource_handler` where it reaches its resource.
"""
