"""The device's page, `GET /`: what serves, how fast, what failed, and a form to try a prompt.

One page rendered here, without scripts and without anything from elsewhere, so that it works on a device that has no
network. Names and messages come from a network: every value is escaped, and the page's own policy lets a browser run
and load nothing at all. The form is sent to the page itself, and no other page may send it. The answer comes the same
way as every answer (`completion_routes`).
"""

import asyncio
import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from string import Template
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.completion_routes import Completions, answer_completion
from edge_runtime.serving.schemas import ChatCompletionBody
from edge_runtime.serving.status import ERROR_ANSWERS
from edge_runtime.serving.view import DeviceView
from edge_runtime.telemetry import Telemetry
from loragen.device_answers import DeviceStatus, ServedModel
from loragen.web.errors import ServiceError
from loragen.web.own_page import verify_own_page

MAX_PROMPT_CHARS = 32_768
_MAX_ANSWER_TOKENS = 256
_FAILURES = 10

_STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --text: #1b1f24; --soft: #57606a; --line: #d5dae1;
--main: #2452a6; --on: #fff; --good: #17722d; --bad: #a40e26; }
@media (prefers-color-scheme: dark) { :root { --page: #14171c; --card: #1d2229; --text: #e6e9ee; --soft: #a4adb9;
--line: #363d48; --main: #8fb6ff; --on: #0e1726; --good: #7bd88f; --bad: #ff9d94; } }
* { box-sizing: border-box; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0; background: var(--page); color: var(--text); }
main { margin: 0 auto; max-width: 72rem; padding: 1rem 1.5rem 3rem; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; background: var(--card); }
th, td { text-align: left; vertical-align: top; padding: .35rem .7rem; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); } tbody th { min-width: 8rem; overflow-wrap: anywhere; }
td { white-space: nowrap; unicode-bidi: isolate; }
td:last-child { white-space: normal; min-width: 12rem; overflow-wrap: anywhere; }
label { display: block; margin-bottom: .2rem; }
textarea, select, button { font: inherit; color: inherit; background: var(--card); padding: .4rem .6rem;
border: 1px solid var(--soft); border-radius: .35rem; max-width: 100%; } textarea { width: 100%; }
button { background: var(--main); border-color: var(--main); color: var(--on); padding: .4rem .9rem; }
:focus-visible { outline: 3px solid var(--main); outline-offset: 2px; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--card); border-left: 4px solid var(--good);
padding: .7rem; margin: .5rem 0; unicode-bidi: isolate; } pre.bad { border-color: var(--bad); }
.good { color: var(--good); } .bad { color: var(--bad); } .id { font-family: ui-monospace, monospace; }
"""

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="icon" href="data:,">
<style>$style</style>
</head>
<body>
<main>
<h1 id="device">$title</h1>
$facts
<h2 id="models">Models</h2>
$models
<h2>Try a prompt</h2>
$form
$answer
<h2 id="failures">Last failures</h2>
$failures
</main>
</body>
</html>
""")

_FORM = Template("""<form method="post" action="/#answer">
<p><label for="model">Model</label><select id="model" name="model">$options</select></p>
<p><label for="prompt">Prompt</label>
<textarea id="prompt" name="prompt" rows="5" maxlength="$longest" required>$prompt</textarea></p>
<p><button>Answer</button></p>
</form>""")

_POLICY = (
    "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page_routes(completions: Completions, device: DeviceView, telemetry: Telemetry) -> APIRouter:
    """`/`, to look at and to try."""
    router = APIRouter(tags=["operation"], include_in_schema=False)

    async def show(model: str = "", prompt: str = "", answer: str = "", status: int = 200) -> HTMLResponse:
        failures = await asyncio.to_thread(device.failures, _FAILURES)
        page = render_page(device.status(), telemetry.speeds(), failures, model=model, prompt=prompt, answer=answer)
        return HTMLResponse(page, status, _HEADERS)

    @router.get("/")
    async def page() -> Response:
        return await show()

    @router.post("/")
    async def ask(request: Request) -> Response:
        verify_own_page(request)
        model = prompt = ""
        try:
            model, prompt = _parse_form(request.headers.get("content-type", ""), await request.body())
            return await show(model, prompt, _answer(await _complete(completions, request, model, prompt)))
        except ServiceError as error:
            known = ERROR_ANSWERS.known(error)
            hint = f"\n{known.hint}" if known.hint else ""
            return await show(model, prompt, _box(f"{known}{hint}", "bad"), ERROR_ANSWERS.status(known))

    return router


async def _complete(completions: Completions, request: Request, model: str, prompt: str) -> str:
    """What a model answers: its text, or the calls that it makes."""
    body = ChatCompletionBody.model_validate(
        {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": _MAX_ANSWER_TOKENS,
        }
    )
    answer = await answer_completion(completions, request, body, "chat")
    message = json.loads(bytes(answer.body))["choices"][0]["message"]
    calls = [f"{call['function']['name']} {call['function']['arguments']}" for call in message.get("tool_calls") or ()]
    return "\n".join([message["content"] or "", *calls]).strip()


def _parse_form(content_type: str, body: bytes) -> tuple[str, str]:
    """Model and prompt.

    Raises:
        InvalidRequestError: It is no form of this page.
    """
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise InvalidRequestError("expected the form of this page", "programs use /v1/chat/completions")
    try:
        form = parse_qs(body.decode("utf-8"), max_num_fields=8, keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise InvalidRequestError("expected the form of this page") from error
    model, prompt = (form.get(name, [""])[0] for name in ("model", "prompt"))
    prompt = prompt.replace("\r\n", "\n")  # forms are sent with these line ends, whatever was typed
    if not 0 < len(model) <= 256 or not 0 < len(prompt) <= MAX_PROMPT_CHARS:
        raise InvalidRequestError(f"expected a model and a prompt of 1 to {MAX_PROMPT_CHARS} characters")
    return model, prompt


def render_page(
    status: DeviceStatus,
    speeds: Mapping[str, float],
    failures: Sequence[Mapping[str, Any]],
    *,
    model: str = "",
    prompt: str = "",
    answer: str = "",
) -> str:
    """The page.

    Args:
        status: What the device says of itself.
        speeds: Tokens per second by name of a model.
        failures: What failed, the newest last; fields as in the history.
        model: The one to choose in the form.
        prompt: What stands in the form.
        answer: HTML of the answer.
    """
    serving = [each for each in status.models if each.state not in ("pending", "failed")]
    form = _FORM.substitute(
        options="".join(_option(each.id, each.id == model) for each in serving),
        longest=MAX_PROMPT_CHARS,
        prompt=escape(prompt),
    )
    return _PAGE.substitute(
        title=escape(f"{status.device_id}: LoRA-Gen device"),
        style=_STYLE,
        facts=_table("device", (), [(escape(name), _shown(name, value)) for name, value in _facts(status)]),
        models=_table(
            "models",
            ("model", "state", "revision", "tokens/s", "retained delta", "agreement", "loaded", "message"),
            [_row(each, _speed(each, speeds)) for each in status.models],
        )
        if status.models
        else "<p>None yet.</p>",
        form=form if serving else "<p>Nothing serves yet.</p>",
        answer=answer,
        failures=_table(
            "failures",
            ("at (UTC)", "step", "model", "outcome", "message"),
            [
                [_time(each.get("at")), *(_escaped(each.get(key)) for key in ("step", "name", "outcome", "message"))]
                for each in reversed(failures)
            ],
        )
        if failures
        else "<p>None.</p>",
    )


def _facts(status: DeviceStatus) -> Sequence[tuple[str, object]]:
    polled = status.last_poll_at and datetime.fromtimestamp(status.last_poll_at, UTC).isoformat(" ", "seconds")
    facts: list[tuple[str, object]] = [
        ("state", "ready" if status.ready else status.reason),
        ("runtime", status.version),
        ("edge model", f"{status.edge_model_id}, {status.quantization}"),
        ("channel", f"{status.channel}, version {status.channel_version or 'not known yet'}"),
        ("signatures", status.trust),
        ("last poll", " ".join(str(each) for each in (status.last_poll, polled, status.last_poll_message) if each)),
        ("memory", _megabytes(status.memory_bytes)),
        ("serving mode", status.serving_mode),
        ("loaded at most", status.max_resident),
        ("threads", status.threads),
        ("answers now", f"{status.sequences_in_use} of {status.sequences} at a time" if status.sequences else ""),
        ("requests that wait", status.requests_waiting or ""),
        ("problem", status.problem),
    ]
    return [(name, value) for name, value in facts if value not in ("", None)]


def _shown(name: str, value: object) -> str:
    is_bad = name == "problem" or (name == "state" and value != "ready")
    kind = "bad" if is_bad else "good" if name == "state" else ""
    return f'<span class="{kind}">{_escaped(value)}</span>' if kind else _escaped(value)


def _megabytes(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.0f} MB"


def _speed(model: ServedModel, speeds: Mapping[str, float]) -> float | None:
    return speeds.get("base" if model.state == "base" else model.id)


def _row(model: ServedModel, speed: float | None) -> Sequence[str]:
    state = f"{model.state}, pinned" if model.pinned else model.state
    return (
        _escaped(model.id),
        f'<span class="bad">{_escaped(state)}</span>' if model.state == "failed" else _escaped(state),
        f'<span class="id">{_escaped((model.bundle_id or "")[:12])}</span>',
        "" if speed is None else f"{speed:.1f}",
        "" if model.retained_delta is None else f"{model.retained_delta:.3f}",
        "" if model.agreement is None else f"{model.agreement:.3f}",
        "yes" if model.resident else "",
        _escaped(model.message),
    )


def _option(name: str, is_chosen: bool) -> str:
    return f'<option value="{escape(name)}"{" selected" if is_chosen else ""}>{escape(name)}</option>'


def _table(heading: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already, under the heading of an id; the first cell names its row.

    A column without anything in it is left out: the last one, with the reasons, is to be in sight.
    """
    filled = [index for index, _ in enumerate(heads) if any(row[index] for row in rows)]
    if heads:
        heads, rows = [heads[index] for index in filled], [[row[index] for index in filled] for row in rows]
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in heads)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return (
        f'<div class="wide" role="region" aria-labelledby="{heading}" tabindex="0"><table aria-labelledby="{heading}">'
        f"{f'<thead><tr>{head}</tr></thead>' if heads else ''}<tbody>{body}</tbody></table></div>"
    )


def _time(at: object) -> str:
    """A time of the history, which is of UTC."""
    return _escaped(at).removesuffix("+00:00").replace("T", " ")


def _escaped(value: object) -> str:
    return "" if value is None else escape(str(value))


def _answer(text: str) -> str:
    return _box(text or "(an empty answer)")


def _box(text: str, kind: str = "") -> str:
    role = "alert" if kind == "bad" else "status"
    return f'<h2 id="answer">Answer</h2><pre class="{kind}" role="{role}">{escape(text)}</pre>'
