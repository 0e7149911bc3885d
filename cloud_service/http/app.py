"""The HTTP application, made by a factory: nothing here exists at import time."""

from fastapi import FastAPI
from starlette.middleware import Middleware

from cloud_service.access.control import AccessControl
from cloud_service.access.sessions import Sessions
from cloud_service.deletion import DeletionService
from cloud_service.errors import InvalidRequestError, MalformedBodyError
from cloud_service.http.access_gate import AccessGate
from cloud_service.http.access_routes import access_routes
from cloud_service.http.artifact_routes import artifact_routes
from cloud_service.http.channel_routes import Fleet, channel_routes
from cloud_service.http.compression import Compression
from cloud_service.http.console import ConsoleErrors, console_routes
from cloud_service.http.device_routes import device_routes
from cloud_service.http.error_codes import ERROR_CODES
from cloud_service.http.generation_routes import generation_routes, room_verifier
from cloud_service.http.history_routes import history_routes
from cloud_service.http.import_routes import BRING_PATH, import_routes
from cloud_service.http.job_routes import job_routes
from cloud_service.http.known_answers import AnswerMemory, KnownAnswers
from cloud_service.http.metadata_routes import metadata_routes
from cloud_service.http.operation_routes import operation_routes
from cloud_service.http.rollout_routes import rollout_routes
from cloud_service.http.status import ERROR_ANSWERS
from cloud_service.http.usage_routes import usage_routes
from cloud_service.importing import ImportService
from cloud_service.jobs import JobService
from cloud_service.limits import MAX_BODY_BYTES, MAX_UPLOAD_BYTES
from cloud_service.service import LoraService
from cloud_service.signing.port import MetadataSource
from cloud_service.telemetry import Metrics
from loragen.web.application import make_application
from loragen.web.body_gate import BodyGate
from loragen.web.error_answers import ErrorBody
from loragen.web.error_reference import error_routes
from loragen.web.head_gate import HeadGate
from loragen.web.hosts import LOOPBACK, AllowedHosts
from loragen.web.routes import include_routes
from loragen.web.scope import RequestRecord, RequestScope
from loragen.web.translation import install_translation


def create_app(
    service: LoraService,
    importing: ImportService,
    deletion: DeletionService,
    fleet: Fleet,
    jobs: JobService,
    metrics: Metrics,
    access: AccessControl,
    *,
    body_timeout_seconds: float,
    sessions: Sessions,
    hosts: AllowedHosts = LOOPBACK,
    signer: MetadataSource | None = None,
) -> FastAPI:
    """All routes over one service.

    Args:
        service: Generates.
        importing: Takes users' own LoRAs.
        deletion: Deletes bundles and recipes.
        fleet: Channels, rollouts and devices.
        jobs: Answers in the background.
        metrics: Counts.
        access: Knows who may do what.
        body_timeout_seconds: Longest time for a request body to arrive.
        sessions: Knows who is signed in to the console.
        hosts: Whom requests may be addressed to.
        signer: Signs channels; None signs none.
    """
    memory = AnswerMemory()
    app = make_application(
        "LoRA-Gen",
        "Turns task descriptions into LoRA weights for small on-device language models.",
        ErrorBody,
        [
            Middleware(
                RequestScope, answers=ERROR_ANSWERS, finished=metrics.request_finished, make_record=RequestRecord
            ),
            Middleware(ConsoleErrors),
            Middleware(HeadGate, hosts=hosts),
            Middleware(
                AccessGate,
                authenticator=access.authenticator,
                sessions=sessions,
                ownership=access.ownership,
                usage=access.usage,
                open_calls=access.open_calls,
            ),
            Middleware(
                BodyGate,
                max_bytes=MAX_BODY_BYTES,
                timeout_seconds=body_timeout_seconds,
                uploads={BRING_PATH: MAX_UPLOAD_BYTES},
            ),
            Middleware(Compression),
            Middleware(
                KnownAnswers,
                memory=memory,
                answered=lambda: metrics.answered(cached=True),
                find_digest=fleet.find_digest,
                cache_control=fleet.cache_control,
                verify_room=room_verifier(service),
            ),
        ],
        error_statuses=[422],
        openapi_url="/openapi.json" if access.docs else None,
    )
    install_translation(app, invalid=InvalidRequestError, malformed=MalformedBodyError)
    include_routes(
        app,
        generation_routes(service, jobs, memory),
        job_routes(jobs),
        import_routes(importing),
        artifact_routes(service.artifacts, deletion, service.catalog, memory),
        metadata_routes(signer),
        channel_routes(fleet),
        history_routes(fleet),
        rollout_routes(fleet),
        device_routes(fleet),
        *console_routes(service, deletion, fleet, jobs, access, sessions),
        access_routes(access.keys, access.audit),
        usage_routes(access, fleet),
        operation_routes(service, metrics),
        error_routes("cloud service", ERROR_CODES),
    )
    return app
