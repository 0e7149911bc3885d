"""The console at `/console`: the service for people, as plain pages.

Each page calls the same services as the API. Pages work without a script; the one that is there shows progress by
itself, and says that something is being done.
"""

from cloud_service.http.console.console_routes import console_routes
from cloud_service.http.console.error_pages import ConsoleErrors

__all__ = ["ConsoleErrors", "console_routes"]
