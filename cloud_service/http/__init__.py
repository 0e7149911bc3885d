"""The HTTP interface of the cloud service."""

from cloud_service.http.app import create_app
from cloud_service.http.channel_routes import Fleet

__all__ = ["Fleet", "create_app"]
