"""The gRPC interface of the cloud service."""

from cloud_service.grpc.server import GrpcServer

__all__ = ["GrpcServer"]
