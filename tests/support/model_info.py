"""A ModelInfo as the fake runner has it; keywords replace fields."""

from typing import Any

import msgspec

from r3mes.engine.fake import load_fake
from r3mes.engine.messages import ModelInfo
from r3mes.replica.text.model import TextModel
from r3mes.replica.text.tokenizer import load_text_model
from r3mes.settings import EngineSettings, ModelSettings


def info_of(**fields: Any) -> ModelInfo:
    info, _ = load_fake(ModelSettings(), EngineSettings(runner="fake", kv_blocks=2))
    return msgspec.structs.replace(info, **fields)


def byte_model(**fields: Any) -> TextModel:
    """The text side of the fake runner."""
    return load_text_model(info_of(**fields), None)
