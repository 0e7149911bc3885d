"""What the codes of errors mean that belong to no class alone: one class of errors has several of them.

A test finds every code in this package that is neither here nor the code of a class.
"""

from edge_runtime import errors
from edge_runtime.errors import EdgeError
from edge_runtime.serving.status import HTTP_STATUS
from loragen.web.error_reference import ErrorEntry, entries_of

_CODES: dict[str, tuple[type[EdgeError], str]] = {
    "base_not_admitted": (errors.BaseGgufError, "The base GGUF may not be merged into: it is none of those expected."),
    "channel_unsigned": (errors.ChannelRefusedError, "The device trusts a root, and the channel is not signed."),
    "chat_template_missing": (errors.InvalidRequestError, "The model has no chat template; ask for completions."),
    "chat_template_refused": (errors.InvalidRequestError, "The model's chat template does not take these messages."),
    "internal_error": (EdgeError, "The device failed on this request; its log says why."),
    "no_answer": (errors.UpdateError, "The device's process did not answer the command in time."),
    "no_previous": (errors.UpdateError, "There is nothing before this to go back to."),
    "not_followed": (errors.UpdateError, "The channel does not list this specialization."),
    "not_installed": (errors.UpdateError, "The device has no such specialization."),
    "not_ready": (errors.BusyError, "The device is not ready: it starts, or its model does not load."),
    "quantization_unavailable": (errors.MergeError, "The installed llama.cpp cannot quantize to this type."),
    "runtime_too_old": (errors.ChannelRefusedError, "The channel's document is for a newer device: upgrade it."),
    "shutting_down": (errors.BusyError, "The device is shutting down."),
    "signature_expired": (errors.ChannelRefusedError, "The channel's signed metadata have expired."),
    "specialization_failed": (
        errors.UnknownModelError,
        "The specialization failed; `/status` says why.",
    ),
    "starting": (errors.BusyError, "The device is starting, or is still fetching what was asked for."),
    "trust_not_written": (errors.UpdateError, "What the device trusts could not be written to its disk."),
    "unsupported_parameter": (errors.InvalidRequestError, "The request asks for what this device does not do."),
    "unsupported_schema": (errors.InvalidRequestError, "The JSON Schema has what the device cannot hold answers to."),
    "weights_not_finite": (errors.MergeError, "The merged weights are not finite numbers."),
}

ERROR_CODES: tuple[ErrorEntry, ...] = entries_of(HTTP_STATUS, _CODES)
"""Every code that the device answers with, or tells in `/status`, by name."""
