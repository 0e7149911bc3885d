from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SpecializationState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPECIALIZATION_STATE_UNSPECIFIED: _ClassVar[SpecializationState]
    SPECIALIZATION_STATE_PENDING: _ClassVar[SpecializationState]
    SPECIALIZATION_STATE_ADAPTER: _ClassVar[SpecializationState]
    SPECIALIZATION_STATE_MERGED: _ClassVar[SpecializationState]
    SPECIALIZATION_STATE_FAILED: _ClassVar[SpecializationState]
SPECIALIZATION_STATE_UNSPECIFIED: SpecializationState
SPECIALIZATION_STATE_PENDING: SpecializationState
SPECIALIZATION_STATE_ADAPTER: SpecializationState
SPECIALIZATION_STATE_MERGED: SpecializationState
SPECIALIZATION_STATE_FAILED: SpecializationState

class Example(_message.Message):
    __slots__ = ("input", "output")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    input: str
    output: str
    def __init__(self, input: _Optional[str] = ..., output: _Optional[str] = ...) -> None: ...

class Tool(_message.Message):
    __slots__ = ("name", "description", "parameters_json")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_JSON_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    parameters_json: str
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., parameters_json: _Optional[str] = ...) -> None: ...

class PublishTarget(_message.Message):
    __slots__ = ("channel", "name")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    channel: str
    name: str
    def __init__(self, channel: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class GenerateLoraRequest(_message.Message):
    __slots__ = ("description", "examples", "tools", "output_format", "edge_model", "generator", "publish", "include_bundle", "strict", "probe", "answer", "refine", "include_gates", "probe_examples")
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FORMAT_FIELD_NUMBER: _ClassVar[int]
    EDGE_MODEL_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_BUNDLE_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    REFINE_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_GATES_FIELD_NUMBER: _ClassVar[int]
    PROBE_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    description: str
    examples: _containers.RepeatedCompositeFieldContainer[Example]
    tools: _containers.RepeatedCompositeFieldContainer[Tool]
    output_format: str
    edge_model: str
    generator: str
    publish: PublishTarget
    include_bundle: bool
    strict: bool
    probe: _containers.RepeatedCompositeFieldContainer[Example]
    answer: AnswerContract
    refine: Refine
    include_gates: bool
    probe_examples: bool
    def __init__(self, description: _Optional[str] = ..., examples: _Optional[_Iterable[_Union[Example, _Mapping]]] = ..., tools: _Optional[_Iterable[_Union[Tool, _Mapping]]] = ..., output_format: _Optional[str] = ..., edge_model: _Optional[str] = ..., generator: _Optional[str] = ..., publish: _Optional[_Union[PublishTarget, _Mapping]] = ..., include_bundle: _Optional[bool] = ..., strict: _Optional[bool] = ..., probe: _Optional[_Iterable[_Union[Example, _Mapping]]] = ..., answer: _Optional[_Union[AnswerContract, _Mapping]] = ..., refine: _Optional[_Union[Refine, _Mapping]] = ..., include_gates: _Optional[bool] = ..., probe_examples: _Optional[bool] = ...) -> None: ...

class Refine(_message.Message):
    __slots__ = ("steps", "budget_seconds")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    BUDGET_SECONDS_FIELD_NUMBER: _ClassVar[int]
    steps: int
    budget_seconds: float
    def __init__(self, steps: _Optional[int] = ..., budget_seconds: _Optional[float] = ...) -> None: ...

class ModelRef(_message.Message):
    __slots__ = ("id", "digest")
    ID_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    id: str
    digest: str
    def __init__(self, id: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class Gates(_message.Message):
    __slots__ = ("layers", "groups", "experts", "values")
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    EXPERTS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    layers: int
    groups: int
    experts: int
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, layers: _Optional[int] = ..., groups: _Optional[int] = ..., experts: _Optional[int] = ..., values: _Optional[_Iterable[float]] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("queue_ms", "generate_ms", "assemble_ms", "total_ms")
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    GENERATE_MS_FIELD_NUMBER: _ClassVar[int]
    ASSEMBLE_MS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MS_FIELD_NUMBER: _ClassVar[int]
    queue_ms: float
    generate_ms: float
    assemble_ms: float
    total_ms: float
    def __init__(self, queue_ms: _Optional[float] = ..., generate_ms: _Optional[float] = ..., assemble_ms: _Optional[float] = ..., total_ms: _Optional[float] = ...) -> None: ...

class Warning(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class ProbeScores(_message.Message):
    __slots__ = ("exact_match", "log_likelihood")
    EXACT_MATCH_FIELD_NUMBER: _ClassVar[int]
    LOG_LIKELIHOOD_FIELD_NUMBER: _ClassVar[int]
    exact_match: float
    log_likelihood: float
    def __init__(self, exact_match: _Optional[float] = ..., log_likelihood: _Optional[float] = ...) -> None: ...

class ProbeComparison(_message.Message):
    __slots__ = ("base", "specialized")
    BASE_FIELD_NUMBER: _ClassVar[int]
    SPECIALIZED_FIELD_NUMBER: _ClassVar[int]
    base: ProbeScores
    specialized: ProbeScores
    def __init__(self, base: _Optional[_Union[ProbeScores, _Mapping]] = ..., specialized: _Optional[_Union[ProbeScores, _Mapping]] = ...) -> None: ...

class AnswerContract(_message.Message):
    __slots__ = ("type", "choices", "codes", "schema_json", "functions", "none", "parallel")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_JSON_FIELD_NUMBER: _ClassVar[int]
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    NONE_FIELD_NUMBER: _ClassVar[int]
    PARALLEL_FIELD_NUMBER: _ClassVar[int]
    type: str
    choices: _containers.RepeatedScalarFieldContainer[str]
    codes: _containers.RepeatedScalarFieldContainer[int]
    schema_json: str
    functions: _containers.RepeatedCompositeFieldContainer[Tool]
    none: str
    parallel: bool
    def __init__(self, type: _Optional[str] = ..., choices: _Optional[_Iterable[str]] = ..., codes: _Optional[_Iterable[int]] = ..., schema_json: _Optional[str] = ..., functions: _Optional[_Iterable[_Union[Tool, _Mapping]]] = ..., none: _Optional[str] = ..., parallel: _Optional[bool] = ...) -> None: ...

class HeldOutScore(_message.Message):
    __slots__ = ("right", "loss")
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    right: float
    loss: float
    def __init__(self, right: _Optional[float] = ..., loss: _Optional[float] = ...) -> None: ...

class Refinement(_message.Message):
    __slots__ = ("tuned", "kept", "examples", "held_out", "before", "after", "steps", "seconds", "stopped")
    TUNED_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    HELD_OUT_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    tuned: str
    kept: bool
    examples: int
    held_out: int
    before: HeldOutScore
    after: HeldOutScore
    steps: int
    seconds: float
    stopped: str
    def __init__(self, tuned: _Optional[str] = ..., kept: _Optional[bool] = ..., examples: _Optional[int] = ..., held_out: _Optional[int] = ..., before: _Optional[_Union[HeldOutScore, _Mapping]] = ..., after: _Optional[_Union[HeldOutScore, _Mapping]] = ..., steps: _Optional[int] = ..., seconds: _Optional[float] = ..., stopped: _Optional[str] = ...) -> None: ...

class GenerateLoraResponse(_message.Message):
    __slots__ = ("id", "bundle_bytes", "recipe_id", "recipe_bytes", "cached", "generator", "edge_model", "gates", "prompt_tokens", "tokens_saved_per_call", "timings", "bundle", "confidence", "warnings", "probe", "answer", "residual_prompt", "refinement")
    ID_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    RECIPE_ID_FIELD_NUMBER: _ClassVar[int]
    RECIPE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    EDGE_MODEL_FIELD_NUMBER: _ClassVar[int]
    GATES_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_SAVED_PER_CALL_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    RESIDUAL_PROMPT_FIELD_NUMBER: _ClassVar[int]
    REFINEMENT_FIELD_NUMBER: _ClassVar[int]
    id: str
    bundle_bytes: int
    recipe_id: str
    recipe_bytes: int
    cached: bool
    generator: ModelRef
    edge_model: ModelRef
    gates: Gates
    prompt_tokens: int
    tokens_saved_per_call: int
    timings: Timings
    bundle: bytes
    confidence: float
    warnings: _containers.RepeatedCompositeFieldContainer[Warning]
    probe: ProbeComparison
    answer: AnswerContract
    residual_prompt: str
    refinement: Refinement
    def __init__(self, id: _Optional[str] = ..., bundle_bytes: _Optional[int] = ..., recipe_id: _Optional[str] = ..., recipe_bytes: _Optional[int] = ..., cached: _Optional[bool] = ..., generator: _Optional[_Union[ModelRef, _Mapping]] = ..., edge_model: _Optional[_Union[ModelRef, _Mapping]] = ..., gates: _Optional[_Union[Gates, _Mapping]] = ..., prompt_tokens: _Optional[int] = ..., tokens_saved_per_call: _Optional[int] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., bundle: _Optional[bytes] = ..., confidence: _Optional[float] = ..., warnings: _Optional[_Iterable[_Union[Warning, _Mapping]]] = ..., probe: _Optional[_Union[ProbeComparison, _Mapping]] = ..., answer: _Optional[_Union[AnswerContract, _Mapping]] = ..., residual_prompt: _Optional[str] = ..., refinement: _Optional[_Union[Refinement, _Mapping]] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("channel", "device_id", "known_version")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    KNOWN_VERSION_FIELD_NUMBER: _ClassVar[int]
    channel: str
    device_id: str
    known_version: int
    def __init__(self, channel: _Optional[str] = ..., device_id: _Optional[str] = ..., known_version: _Optional[int] = ...) -> None: ...

class ChannelChanged(_message.Message):
    __slots__ = ("channel", "version")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    channel: str
    version: int
    def __init__(self, channel: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class RunningSpecialization(_message.Message):
    __slots__ = ("name", "bundle_id", "state", "message", "failed_bundle_id", "slower")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FAILED_BUNDLE_ID_FIELD_NUMBER: _ClassVar[int]
    SLOWER_FIELD_NUMBER: _ClassVar[int]
    name: str
    bundle_id: str
    state: SpecializationState
    message: str
    failed_bundle_id: str
    slower: bool
    def __init__(self, name: _Optional[str] = ..., bundle_id: _Optional[str] = ..., state: _Optional[_Union[SpecializationState, str]] = ..., message: _Optional[str] = ..., failed_bundle_id: _Optional[str] = ..., slower: _Optional[bool] = ...) -> None: ...

class DeviceReport(_message.Message):
    __slots__ = ("device_id", "channel", "channel_version", "specializations", "runtime_version", "edge_model_digest", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    SPECIALIZATIONS_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_VERSION_FIELD_NUMBER: _ClassVar[int]
    EDGE_MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    channel: str
    channel_version: int
    specializations: _containers.RepeatedCompositeFieldContainer[RunningSpecialization]
    runtime_version: str
    edge_model_digest: str
    labels: _containers.ScalarMap[str, str]
    def __init__(self, device_id: _Optional[str] = ..., channel: _Optional[str] = ..., channel_version: _Optional[int] = ..., specializations: _Optional[_Iterable[_Union[RunningSpecialization, _Mapping]]] = ..., runtime_version: _Optional[str] = ..., edge_model_digest: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ReportStatusResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
