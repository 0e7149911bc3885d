"""The service over HTTP and gRPC; both call the same object and know the same limits and errors."""

from cloud_service.api.app import create_app
from cloud_service.api.grpc_server import GrpcServer

__all__ = ["GrpcServer", "create_app"]
