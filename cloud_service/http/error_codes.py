"""What the codes of errors mean that belong to no class alone: one class of errors has several of them.

A test finds every code in this package that is neither here nor the code of a class.
"""

from cloud_service import errors
from cloud_service.errors import CloudError
from cloud_service.http.status import HTTP_STATUS
from loragen.contract.errors import ContractError
from loragen.web.error_reference import ErrorEntry, entries_of

_CODES: dict[str, tuple[type[CloudError], str]] = {
    "bundle_in_use": (
        errors.ConflictError,
        "A channel names the bundle or recipe: now, in a version that is kept, in a rollout, or in a moment.",
    ),
    "bundle_not_found": (errors.NotFoundError, "There is no such bundle, or not for this key; bundles expire."),
    "channel_full": (errors.InvalidRequestError, "The channel lists as many specializations as it can."),
    "channel_not_signed": (errors.NotFoundError, "The channel has no keys here, so it has no signed metadata."),
    "device_not_found": (errors.NotFoundError, "No device of this name follows the channel, or it went silent."),
    "example_not_a_choice": (errors.InvalidRequestError, "An example's output is none of the task's choices."),
    "example_too_long": (errors.InvalidRequestError, "An example has more tokens than one of a refinement may have."),
    "first_key_not_admin": (errors.InvalidRequestError, "The first key of a service has to be an admin's."),
    "generator_not_calibrated": (errors.InvalidRequestError, "A strict request to a generator without a confidence."),
    "identity_provider_unavailable": (
        errors.UnavailableError,
        "The OpenID provider does not answer, and its key that signed this token is not known.",
    ),
    "interrupted": (CloudError, "The replica that worked on the job ended; start the job again."),
    "invalid_answer": (errors.InvalidRequestError, "The adapter's answer.json is no answer contract."),
    "invalid_api_key": (errors.UnauthenticatedError, "The API key is not known, or was revoked, or has expired."),
    "invalid_name": (errors.InvalidRequestError, "A name has characters, or a length, that names may not have."),
    "invalid_token": (errors.UnauthenticatedError, "The token is not one that the OpenID provider signed for this."),
    "job_not_found": (errors.NotFoundError, "There is no such job, or not for this key; jobs are kept for a day."),
    "key_not_found": (errors.NotFoundError, "There is no such API key, or not of this tenant."),
    "missing_scope": (errors.ForbiddenError, "The API key lacks a scope that this call needs; the message names it."),
    "probe_disabled": (errors.InvalidRequestError, "The operator has switched probes off."),
    "probe_failed": (errors.GenerationError, "The edge model failed on the probe."),
    "probe_not_a_choice": (errors.InvalidRequestError, "A probe's answer is none of the task's choices."),
    "probe_too_long": (errors.InvalidRequestError, "The inputs and answers of a probe have too many tokens."),
    "quota_used_up": (errors.UsageLimitError, "A quota of the day is used up; a new day begins at midnight, UTC."),
    "recipe_not_found": (errors.NotFoundError, "There is no such recipe, or not for this key; recipes expire."),
    "refine_disabled": (errors.InvalidRequestError, "The operator has switched refinement off."),
    "refine_failed": (errors.GenerationError, "The refinement failed; the LoRA of one pass is not affected."),
    "report_too_large": (errors.InvalidRequestError, "A device's report is longer than the limit."),
    "reserved_name": (errors.InvalidRequestError, "The name belongs to the base model on every device."),
    "rollout_ended": (errors.ConflictError, "The rollout is over, so it cannot be changed."),
    "rollout_full": (errors.ConflictError, "The rollout has as many groups as it can have."),
    "rollout_goes_on": (errors.ConflictError, "The channel cannot be changed while a rollout of it goes on."),
    "rollout_not_found": (errors.NotFoundError, "The channel has no such rollout."),
    "share_used_up": (errors.UsageLimitError, "One tenant or key has its share of the places for this work."),
    "storage_used_up": (
        errors.UsageLimitError,
        "The tenant's recipes and imported LoRAs take the bytes that it may have in the store.",
    ),
    "too_few_examples": (errors.InvalidRequestError, "There are too few different examples to refine on, or to probe."),
    "too_many_calls": (errors.UsageLimitError, "The API key has as many calls at a time as it may."),
    "too_many_channels": (errors.UsageLimitError, "The tenant has as many channels as it may have."),
    "too_many_choices": (errors.InvalidRequestError, "The closed set has more choices than the generator answers."),
    "too_many_devices": (errors.UsageLimitError, "The tenant has as many devices as it may have; this one is new."),
    "too_many_keys": (errors.UsageLimitError, "The tenant has as many active API keys as it may have."),
    "version_not_found": (errors.NotFoundError, "The version of the channel is not kept."),
    "wrong_device": (errors.ForbiddenError, "The API key speaks for another device."),
    **{
        f"adapter_{error.code}": (
            errors.InvalidRequestError,
            f"The adapter is no good: {(error.__doc__ or '').strip()}",
        )
        for error in ContractError.__subclasses__()
    },
}

ERROR_CODES: tuple[ErrorEntry, ...] = entries_of(HTTP_STATUS, _CODES)
"""Every code that the service answers with, by name."""
