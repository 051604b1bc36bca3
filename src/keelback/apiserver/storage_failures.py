"""What a client is told when the store could not do its part: whether to come again, and whether it may have happened.

Upstream passes etcd's errors on as InternalError; here they have the reasons that clients know to retry.
"""

from __future__ import annotations

from keelback.apimachinery import errors
from keelback.apimachinery.meta import StatusDetails
from keelback.storage.protocol import OutcomeUnknown, Overloaded, StorageError, TooLarge, TransformFailed

_RETRY_SECONDS = 1


def status(error: StorageError) -> errors.StatusError:
    """The answer to a request that the store has failed."""
    details = StatusDetails(retry_after_seconds=_RETRY_SECONDS)
    if isinstance(error, OutcomeUnknown):
        return errors.Timeout(f"the write may have happened or not: {error}", details=details)
    if isinstance(error, Overloaded):
        return errors.TooManyRequests(f"the store has too much to do: {error}", details=details)
    if isinstance(error, TransformFailed):
        # Nothing is gained by coming again: upstream's words, without a time to do so.
        return errors.InternalError(f"Internal error occurred: {error}")
    if isinstance(error, TooLarge):
        return errors.StatusError("etcdserver: request is too large")
    return errors.ServiceUnavailable(f"the store does not answer: {error}", details=details)
