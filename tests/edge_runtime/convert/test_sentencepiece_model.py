"""What is read of a `tokenizer.model` is what the sentencepiece library wrote."""

import pytest
import sentencepiece

from edge_runtime.convert.sentencepiece_model import DecodeError, ModelProto
from tests.edge_runtime.convert.tiny_tokenizers import train_sentencepiece


def test_pieces_scores_and_settings_are_those_of_the_library() -> None:
    data = train_sentencepiece(add_dummy_prefix=False)
    processor = sentencepiece.SentencePieceProcessor(model_proto=data)
    model = ModelProto.FromString(data)
    numbers = range(processor.get_piece_size())
    assert [piece.piece.decode() for piece in model.pieces] == [processor.id_to_piece(number) for number in numbers]
    assert [piece.score for piece in model.pieces] == [processor.get_score(number) for number in numbers]
    assert [number for number in numbers if model.pieces[number].type == 3] == [
        number for number in numbers if processor.is_control(number)
    ]
    assert model.trainer_spec.byte_fallback
    assert not model.normalizer_spec.add_dummy_prefix


def test_fields_that_a_file_leaves_out_have_the_defaults_of_the_format() -> None:
    model = ModelProto.FromString(b"\n\x03\n\x01a")  # one piece, "a"
    assert (model.pieces[0].piece, model.pieces[0].type) == (b"a", 1)
    assert (model.trainer_spec.model_type, model.trainer_spec.byte_fallback) == (1, False)
    assert model.normalizer_spec.add_dummy_prefix
    assert not model.HasField("trainer_spec")


def test_what_is_no_protobuf_is_an_error() -> None:
    with pytest.raises(DecodeError):
        ModelProto.FromString(b"\n\x7fa")
