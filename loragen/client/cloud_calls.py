"""The calls of the cloud service; `CloudClient` and `AsyncCloudClient` have a method for each.

In the examples, `cloud` is a `CloudClient`. With an `AsyncCloudClient` the same calls are awaited.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2

from loragen.client.call import Answer, ApiCall, as_model, entity_digest, path_of, verify_sha256
from loragen.client.cloud_answers import ChannelSnapshot, GeneratedBundle
from loragen.client.errors import ClientError
from loragen.cloud_answers import RECIPE_HEADER, Generated, GeneratorList, GeneratorSummary, Imported
from loragen.contract.answer import encode_answer
from loragen.contract.channel import parse_channel
from loragen.contract.digest import file_sha256, sha256_hex
from loragen.contract.limits import MAX_BANK_BYTES, MAX_BUNDLE_BYTES, MAX_CHANNEL_BYTES, MAX_RECIPE_BYTES
from loragen.contract.peft_adapter import PeftAdapter, read_adapter, verify_plain

_NOT_MODIFIED = frozenset({304})


def generate(
    task: str | Mapping[str, Any],
    *,
    publish: str | None = None,
    strict: bool = False,
    probe: Sequence[Mapping[str, str]] = (),
    edge_model: str | None = None,
    generator: str | None = None,
    refine: Mapping[str, float] | None = None,
    probe_examples: bool = False,
) -> ApiCall[Generated]:
    """Generate a LoRA for a task.

    Args:
        task: The description, or the body of `POST /generate-lora`: `description`, `examples`, `tools`,
            `output_format`, `answer`, `include`, and whatever of the options below it says itself.
        publish: `CHANNEL/NAME` to publish the bundle under.
        strict: Refuse a task with a confidence below 0.5.
        probe: `{"input", "output"}` pairs to try the edge model on, without the LoRA and with it.
        edge_model: Id of the edge model; by default the default generator's.
        generator: Id of the generator.
        refine: Tune on the task's `examples`: `{"steps": 60, "budget_seconds": 30}`, or a part of it. A longer one is
            better started as a job (`start_job`).
        probe_examples: In place of a probe, try the edge model on the task's own `examples`, each under a LoRA that is
            made without it. Takes about a second for each of them, at most eight.

    Raises:
        RemoteError: No answer, or a refusal: `invalid_request`, `prompt_too_long`, `low_confidence`, ...

    Example:
        >>> examples = [{"input": "A moving film.", "output": "positive"}]
        >>> task = {"description": "Say whether a review is positive or negative.", "examples": examples}
        >>> answer = cloud.generate(task, publish="kitchen/reviews", strict=True)
        >>> answer.id, answer.tokens_saved_per_call, answer.confidence
    """
    body = request_body(task, publish, strict, probe, edge_model, generator, refine)
    if probe_examples:
        body["probe_examples"] = True
    return ApiCall("POST", "/generate-lora", as_model(Generated), body, {"accept": "application/json"})


def generate_bundle(
    task: str | Mapping[str, Any],
    *,
    publish: str | None = None,
    strict: bool = False,
    edge_model: str | None = None,
    generator: str | None = None,
) -> ApiCall[GeneratedBundle]:
    """Generate a LoRA for a task and get the bundle itself, in one request. Arguments as for `generate`.

    Raises:
        RemoteError: No answer, a refusal, or other bytes than the answer's entity tag names.

    Example:
        >>> bundle = cloud.generate_bundle("Say whether a review is positive or negative.")
        >>> Path("adapter_model.safetensors").write_bytes(bundle.data)
    """

    def parse(answer: Answer) -> GeneratedBundle:
        bundle_id = entity_digest(answer.headers)
        verify_sha256(sha256_hex(answer.body), bundle_id, "the bundle")
        return GeneratedBundle(bundle_id, answer.headers.get(RECIPE_HEADER, ""), answer.body)

    body = request_body(task, publish, strict, (), edge_model, generator, None)
    accept = {"accept": "application/octet-stream"}
    return ApiCall("POST", "/generate-lora", parse, body, accept, max_bytes=MAX_BUNDLE_BYTES)


def import_adapter(
    adapter: str | Path | PeftAdapter,
    *,
    publish: str | None = None,
    answer: Mapping[str, Any] | None = None,
    edge_model: str | None = None,
    generator: str | None = None,
) -> ApiCall[Imported]:
    """Make a bundle of a LoRA of one's own.

    Args:
        adapter: A PEFT folder, its `adapter_model.safetensors`, or what `loragen.contract.peft_adapter` read of them.
        publish: `CHANNEL/NAME` to publish the bundle under.
        answer: The answer contract, such as `{"type": "choice", "choices": ["yes", "no"]}`; by default what an
            `answer.json` beside the adapter says, or any text.
        edge_model: Id of the edge model; by default the default generator's.
        generator: Id of the generator whose edge model it is for.

    Raises:
        ContractError: The files are missing, too large, or hold what a bundle cannot.
        OSError: They cannot be read.
        RemoteError: No answer, or a refusal: `adapter_unsupported`, `adapter_mismatch`, `body_too_large`, ...

    Example:
        >>> cloud.import_adapter("my-adapter", publish="kitchen/reviews").id
    """
    if not isinstance(adapter, PeftAdapter):
        adapter = read_adapter(Path(adapter))
    verify_plain(adapter)
    form = {"answer": encode_answer(adapter.answer) if answer is None else json.dumps(answer)}
    form |= {name: value for name, value in (("edge_model", edge_model), ("generator", generator)) if value}
    if publish is not None:
        form |= _target(publish)
    files = {"adapter_config": adapter.config, "adapter_model": adapter.weights}
    return ApiCall("POST", "/bundles", as_model(Imported), form=form, files=files)


def bundle(bundle_id: str) -> ApiCall[bytes]:
    """A bundle: a safetensors file with PEFT's tensor names; its sha256 is verified.

    Args:
        bundle_id: Of the bundle, or of the recipe that makes it; then the answer's entity tag says the sha256.

    Raises:
        RemoteError: No answer, a refusal (`bundle_not_found`, `bundle_gone`), or other bytes.

    Example:
        >>> Path("reviews.safetensors").write_bytes(cloud.bundle(answer.id))
    """
    path = path_of("bundles", bundle_id)

    def parse(answer: Answer) -> bytes:
        found, tag = sha256_hex(answer.body), entity_digest(answer.headers)
        verify_sha256(found, tag if answer.headers.get(RECIPE_HEADER) == bundle_id else bundle_id, path)
        return answer.body

    return ApiCall("GET", path, parse, max_bytes=MAX_BUNDLE_BYTES)


def recipe(recipe_id: str) -> ApiCall[bytes]:
    """A recipe: with the bank of its generator, enough to build the bundle; its sha256 is verified.

    Raises:
        RemoteError: No answer, a refusal, or other bytes.

    Example:
        >>> Path("reviews.recipe").write_bytes(cloud.recipe(answer.recipe_id))
    """
    return _artifact(path_of("recipes", recipe_id), recipe_id, MAX_RECIPE_BYTES)


def delete_bundle(bundle_id: str) -> ApiCall[None]:
    """Delete a bundle, with the recipe that makes it. An equal request makes it again.

    Args:
        bundle_id: Of the bundle, or of the recipe that makes it.

    Raises:
        RemoteError: No answer, or a refusal: `bundle_not_found`, `bundle_in_use` while a channel names it.

    Example:
        >>> cloud.delete_bundle(answer.id)
    """
    return _deletion(path_of("bundles", bundle_id))


def delete_recipe(recipe_id: str) -> ApiCall[None]:
    """Delete a recipe, with the bundle that it makes. An equal request makes it again.

    Raises:
        RemoteError: No answer, or a refusal: `recipe_not_found`, `bundle_in_use` while a channel names it.

    Example:
        >>> cloud.delete_recipe(answer.recipe_id)
    """
    return _deletion(path_of("recipes", recipe_id))


def generators() -> ApiCall[tuple[GeneratorSummary, ...]]:
    """The loaded generators; the first is the default.

    Example:
        >>> [generator.edge_model.id for generator in cloud.generators()]
    """
    return ApiCall("GET", "/generators", lambda answer: GeneratorList.model_validate_json(answer.body).generators)


def download_bank(generator_id: str, path: Path) -> ApiCall[bool]:
    """Bring the expert bank of a generator to a file, unless the file is that bank already; its sha256 is verified.

    Returns:
        Whether the file was written.

    Raises:
        RemoteError: No answer, a refusal, or other bytes; the file is what it was.
        OSError: The file cannot be read or written.

    Example:
        >>> cloud.download_bank("smollm2", Path("bank.safetensors"))
    """
    return ApiCall(
        "GET",
        path_of("generators", generator_id, "bank"),
        lambda answer: answer.status == httpx2.codes.OK,
        headers={"if-none-match": f'"{file_sha256(path)}"'} if path.exists() else {},
        max_bytes=MAX_BANK_BYTES,
        accepts=_NOT_MODIFIED,
        file=path,
    )


def channel(name: str, *, known: ChannelSnapshot | None = None) -> ApiCall[ChannelSnapshot]:
    """A channel: what devices that follow it serve.

    Args:
        name: Of the channel.
        known: Returned itself, without a download, when the channel is still the same.

    Raises:
        RemoteError: No answer, or a refusal: `not_found` when nothing was ever published there.

    Example:
        >>> cloud.channel("kitchen").specializations["reviews"].bundle_id
    """

    def parse(answer: Answer) -> ChannelSnapshot:
        return known if known is not None and answer.status in _NOT_MODIFIED else parse_channel_answer(answer)

    conditional = {} if known is None else {"if-none-match": known.etag}
    accepts = frozenset() if known is None else _NOT_MODIFIED
    path = path_of("channels", name)
    return ApiCall("GET", path, parse, headers=conditional, max_bytes=MAX_CHANNEL_BYTES, accepts=accepts)


def publish(
    channel: str, name: str, bundle_id: str, *, expected: ChannelSnapshot | None = None
) -> ApiCall[ChannelSnapshot]:
    """Let a name mean a bundle; repeating it changes nothing.

    Args:
        channel: That devices follow.
        name: That devices serve the bundle under.
        bundle_id: Of a bundle that the service generated, or that was imported to it; or what `generate` answered.
        expected: Refuse, with 412 `precondition_failed`, when the channel has changed since.

    Raises:
        RemoteError: No answer, or a refusal.

    Example:
        >>> cloud.publish("kitchen", "reviews", answer.id).version
    """
    return _change("PUT", channel, name, expected, {"bundle_id": bundle_id})


def withdraw(channel: str, name: str, *, expected: ChannelSnapshot | None = None) -> ApiCall[ChannelSnapshot]:
    """Take a name out of a channel. Arguments as for `publish`.

    Raises:
        RemoteError: No answer, or a refusal: `not_found` when the channel has no such name.

    Example:
        >>> cloud.withdraw("kitchen", "reviews")
    """
    return _change("DELETE", channel, name, expected, None)


def request_body(
    task: str | Mapping[str, Any],
    publish: str | None,
    strict: bool,
    probe: Sequence[Mapping[str, str]],
    edge_model: str | None,
    generator: str | None,
    refine: Mapping[str, float] | None,
) -> dict[str, Any]:
    """The body of `POST /generate-lora`. Arguments as for `generate`."""
    body: dict[str, Any] = {"description": task} if isinstance(task, str) else dict(task)
    if publish is not None:
        body["publish"] = _target(publish)
    if refine is not None:
        body["refine"] = dict(refine)
    options = {"strict": strict, "probe": list(probe), "edge_model": edge_model, "generator": generator}
    return body | {option: value for option, value in options.items() if value}


def _target(publish: str) -> dict[str, str]:
    channel, slash, name = publish.partition("/")
    if not (channel and slash and name):
        raise ClientError(f"expected CHANNEL/NAME to publish to, found {publish!r}")
    return {"channel": channel, "name": name}


def _artifact(path: str, digest: str, max_bytes: int) -> ApiCall[bytes]:
    def parse(answer: Answer) -> bytes:
        verify_sha256(sha256_hex(answer.body), digest, path)
        return answer.body

    return ApiCall("GET", path, parse, max_bytes=max_bytes)


def _deletion(path: str) -> ApiCall[None]:
    return ApiCall("DELETE", path, lambda _answer: None, accepts=frozenset({204}), repeatable=False)


def _change(
    method: str, channel: str, name: str, expected: ChannelSnapshot | None, body: Mapping[str, Any] | None
) -> ApiCall[ChannelSnapshot]:
    conditional = {} if expected is None else {"if-match": expected.etag}
    path = path_of("channels", channel, "specializations", name)
    # Only a PUT without a condition is answered the same when it is carried out twice.
    repeatable = method == "PUT" and expected is None
    return ApiCall(method, path, parse_channel_answer, body, conditional, MAX_CHANNEL_BYTES, repeatable=repeatable)


def parse_channel_answer(answer: Answer) -> ChannelSnapshot:
    """A channel's document as an answer brings it.

    Raises:
        ContractError: It is no answer contract.
    """
    parsed = parse_channel(answer.body)
    by_name = {specialization.name: specialization for specialization in parsed.specializations}
    return ChannelSnapshot(parsed.name, parsed.version, by_name, answer.headers.get("etag", ""))
