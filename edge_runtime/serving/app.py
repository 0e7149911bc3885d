"""The HTTP application of one device, made by a factory: nothing here exists at import time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from pydantic import SecretStr
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.completion_routes import Completions, completion_routes
from edge_runtime.serving.device_routes import device_routes
from edge_runtime.serving.error_codes import ERROR_CODES
from edge_runtime.serving.key_gate import KeyGate
from edge_runtime.serving.ollama_routes import ollama_routes
from edge_runtime.serving.openai import ErrorAnswer
from edge_runtime.serving.page import page_routes
from edge_runtime.serving.responses_routes import responses_routes
from edge_runtime.serving.schemas import MAX_BODY_BYTES
from edge_runtime.serving.slots import SlotTable
from edge_runtime.serving.status import ERROR_ANSWERS
from edge_runtime.serving.token_routes import token_routes
from edge_runtime.serving.view import DeviceView
from edge_runtime.telemetry import CompletionRecord, Telemetry
from loragen.web.application import make_application
from loragen.web.body_gate import BodyGate
from loragen.web.error_reference import error_routes
from loragen.web.head_gate import HeadGate
from loragen.web.hosts import LOOPBACK, AllowedHosts
from loragen.web.routes import include_routes
from loragen.web.scope import RequestScope
from loragen.web.translation import install_translation


@dataclass(frozen=True, slots=True)
class Front:
    """Whom a device answers, and with what besides the models.

    Attributes:
        hosts: What requests may be addressed to.
        api_key: What they must say; None for nothing.
        cors_origins: Whose pages may use the device from a browser, beside those of `hosts`.
        template_variables: Of the chat templates, where a request sets no others.
    """

    hosts: AllowedHosts = LOOPBACK
    api_key: SecretStr | None = None
    cors_origins: tuple[str, ...] = ()
    template_variables: Mapping[str, Any] = field(default_factory=dict)


LOCAL = Front()
"""Whoever is on the same machine."""


def create_app(slots: SlotTable, device: DeviceView, telemetry: Telemetry, front: Front = LOCAL) -> FastAPI:
    """All routes of one device."""
    app = make_application(
        "LoRA-Gen edge runtime",
        "OpenAI-compatible; `model` names a specialization, or `base`.",
        ErrorAnswer,
        [
            # Around all else, so that a page may read why it was refused.
            *([Middleware(CORSMiddleware, **_cors(front.cors_origins))] if front.cors_origins else []),
            Middleware(
                RequestScope,
                answers=ERROR_ANSWERS,
                finished=telemetry.request_finished,
                make_record=CompletionRecord,
            ),
            Middleware(HeadGate, hosts=front.hosts, origins=front.cors_origins),
            *([] if front.api_key is None else [Middleware(KeyGate, key=front.api_key)]),
            Middleware(BodyGate, max_bytes=MAX_BODY_BYTES, timeout_seconds=None),
        ],
    )
    # OpenAI's clients know one code for whatever is wrong with a request.
    install_translation(app, invalid=InvalidRequestError, malformed=InvalidRequestError)
    completions = Completions(slots, device, front.template_variables)
    include_routes(
        app,
        completion_routes(completions),
        responses_routes(completions),
        ollama_routes(completions, device),
        token_routes(completions, front.template_variables),
        device_routes(device, telemetry),
        page_routes(completions, device, telemetry),
        error_routes("device", ERROR_CODES),
    )
    return app


def _cors(origins: tuple[str, ...]) -> dict[str, Any]:
    return {
        "allow_origins": list(origins),
        "allow_methods": ["GET", "POST"],
        "allow_headers": ["*"],
        "expose_headers": ["x-request-id", "retry-after"],
    }
