"""What an adapter of the store makes of a failure: an error for the client, and a line in the log for the operator.

The client's message does not name the cause. The log has it at once, and again every half a minute while it goes on.
"""

import structlog

from cloud_service.errors import StoreUnavailableError
from loragen.web.log_limit import LogLimit

_SECONDS = 30.0
"""Between two lines about one cause."""

_log = structlog.get_logger(__name__)


class StoreFailures:
    """Failures of one store.

    Args:
        store: What it is.
    """

    def __init__(self, store: str) -> None:
        self._store = store
        self._limit = LogLimit(_SECONDS)

    def unavailable(self, cause: Exception, reason: str | None = None) -> StoreUnavailableError:
        """What to raise for a failure.

        Args:
            cause: The failure.
            reason: For the log; by default the cause's own words.
        """
        name = type(cause).__name__
        if (left_out := self._limit.pass_line(name)) is not None:
            words = (reason or str(cause))[:300]
            _log.error("store_failed", store=self._store, cause=name, reason=words, left_out=left_out)
        return StoreUnavailableError("the store is not available", "ask again; the operator finds the cause in the log")
