"""Values: what a `tokenizer.model` says, as far as it matters here.

So the device needs protobuf, and not the sentencepiece library. What the fields mean: `sentencepiece_vocabulary.py`.
"""

from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

__all__ = ["DecodeError", "ModelProto"]

# The fields of sentencepiece_model.proto that are read: number, type and default. `type` and `model_type` are enums
# there; as integers they keep values that this code does not know.
_SCHEMA: dict[str, dict[str, tuple[int, str, str]]] = {
    "SentencePiece": {"piece": (1, "BYTES", ""), "score": (2, "FLOAT", "0"), "type": (3, "INT32", "1")},
    "TrainerSpec": {"model_type": (3, "INT32", "1"), "byte_fallback": (35, "BOOL", "false")},
    "NormalizerSpec": {
        "precompiled_charsmap": (2, "BYTES", ""),
        "add_dummy_prefix": (3, "BOOL", "true"),
        "remove_extra_whitespaces": (4, "BOOL", "true"),
        "escape_whitespaces": (5, "BOOL", "true"),
    },
}


def _model_class() -> Any:
    file = FileDescriptorProto(name="sentencepiece.proto", package="sentencepiece", syntax="proto2")
    for message, fields in _SCHEMA.items():
        described = file.message_type.add(name=message)
        for name, (number, kind, default) in fields.items():
            kind_number = FieldDescriptorProto.Type.Value(f"TYPE_{kind}")
            described.field.add(name=name, number=number, label=1, type=kind_number, default_value=default)
    model = file.message_type.add(name="ModelProto")
    for name, number, label, message in (
        ("pieces", 1, FieldDescriptorProto.LABEL_REPEATED, "SentencePiece"),
        ("trainer_spec", 2, FieldDescriptorProto.LABEL_OPTIONAL, "TrainerSpec"),
        ("normalizer_spec", 3, FieldDescriptorProto.LABEL_OPTIONAL, "NormalizerSpec"),
    ):
        model.field.add(name=name, number=number, label=label, type_name=message)
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("sentencepiece.ModelProto"))


ModelProto: Any = _model_class()
"""A whole file."""
