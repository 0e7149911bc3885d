"""All pages of the console, put together."""

from collections.abc import Sequence

from fastapi import APIRouter

from cloud_service.access.control import AccessControl
from cloud_service.access.sessions import Sessions
from cloud_service.deletion import DeletionService
from cloud_service.http.channel_routes import Fleet
from cloud_service.http.console.audit_pages import audit_pages
from cloud_service.http.console.channel_pages import channel_pages
from cloud_service.http.console.deletion_pages import deletion_pages
from cloud_service.http.console.device_pages import device_pages
from cloud_service.http.console.download_pages import download_pages
from cloud_service.http.console.generation_pages import generation_pages
from cloud_service.http.console.job_pages import job_pages
from cloud_service.http.console.key_pages import key_pages
from cloud_service.http.console.pages import Pages
from cloud_service.http.console.session_pages import session_pages
from cloud_service.jobs import JobService
from cloud_service.service import LoraService


def console_routes(
    service: LoraService,
    deletion: DeletionService,
    fleet: Fleet,
    jobs: JobService,
    access: AccessControl,
    sessions: Sessions,
) -> Sequence[APIRouter]:
    """`/console`."""
    pages = Pages()
    return (
        session_pages(pages, sessions, access.usage),
        channel_pages(pages, fleet),
        device_pages(pages, fleet),
        generation_pages(pages, service, jobs),
        download_pages(service.artifacts),
        deletion_pages(pages, deletion),
        job_pages(pages, jobs, service),
        key_pages(pages, access.keys),
        audit_pages(pages, access.audit),
    )
