"""The HTTP interface of the cloud service."""

from cloud_service.http.app import create_app

__all__ = ["create_app"]
