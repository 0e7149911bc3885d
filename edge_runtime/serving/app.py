"""The HTTP application of one device, made by a factory: nothing here exists at import time."""

from fastapi import FastAPI
from starlette.middleware import Middleware

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.completion_routes import Completions, completion_routes
from edge_runtime.serving.device_routes import device_routes
from edge_runtime.serving.openai import ErrorAnswer
from edge_runtime.serving.page import page_routes
from edge_runtime.serving.schemas import MAX_BODY_BYTES
from edge_runtime.serving.slots import SlotTable
from edge_runtime.serving.status import ERROR_ANSWERS
from edge_runtime.serving.token_routes import token_routes
from edge_runtime.serving.view import DeviceView
from edge_runtime.telemetry import CompletionRecord, Telemetry
from loragen.version import package_version
from loragen.web.body_gate import BodyGate
from loragen.web.head_gate import HeadGate
from loragen.web.hosts import LOOPBACK, AllowedHosts
from loragen.web.routes import include_routes
from loragen.web.scope import RequestScope
from loragen.web.translation import install_translation


def create_app(slots: SlotTable, device: DeviceView, telemetry: Telemetry, hosts: AllowedHosts = LOOPBACK) -> FastAPI:
    """All routes of one device, for requests that are addressed to one of `hosts`."""
    app = FastAPI(
        title="LoRA-Gen edge runtime",
        description="OpenAI-compatible; `model` names a specialization, or `base`.",
        version=package_version(),
        redoc_url=None,
        redirect_slashes=False,
        responses={"default": {"model": ErrorAnswer, "description": "Every error has this body."}},
        middleware=[
            Middleware(
                RequestScope,
                answers=ERROR_ANSWERS,
                finished=telemetry.request_finished,
                make_record=CompletionRecord,
            ),
            Middleware(HeadGate, hosts=hosts),
            Middleware(BodyGate, max_bytes=MAX_BODY_BYTES, timeout_seconds=None),
        ],
    )
    # OpenAI's clients know one code for whatever is wrong with a request.
    install_translation(app, invalid=InvalidRequestError, malformed=InvalidRequestError)
    completions = Completions(slots, device)
    include_routes(
        app,
        completion_routes(completions),
        token_routes(slots, device),
        device_routes(device, telemetry),
        page_routes(completions, device, telemetry),
    )
    return app
