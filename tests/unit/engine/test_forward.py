"""The plain form of a forward pass: what it asks of a device."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from r3mes.engine import attention
from r3mes.engine.forward import StockForward
from r3mes.engine.kv_store import KVStore
from r3mes.engine.logprobs import Measured
from r3mes.engine.pool_size import make_pool
from r3mes.engine.probe import survey
from r3mes.engine.runner import UNKNOWN, Row
from r3mes.engine.step import PagedStep
from support.models import COMMON, RECIPES, VOCABULARY

META = torch.device("meta")  # tensors without values: whoever asks for one gets an error


@pytest.mark.parametrize("kind", ["llama", "qwen3", "mistral", "gemma2", "phi3"])
def test_the_host_asks_no_device_for_a_value(kind: str) -> None:
    attention.register()
    config = AutoConfig.for_model(kind, **{**COMMON, **RECIPES[kind]})
    with META:
        module = AutoModelForCausalLM.from_config(config, attn_implementation=attention.NAME)
    shapes = survey(module).shapes
    pool = make_pool(shapes.values(), 8, block_size=4, longest=64, cpu=False)
    store = KVStore(shapes, pool, device=META)
    forward = StockForward(
        module,
        store,
        lambda rows: PagedStep(rows, store, torch.float32),
        vocab_size=VOCABULARY,
        ahead=True,
    )
    rows = [
        Row([UNKNOWN], 4, [0, 1], None, follows=1),
        Row([1, 2, 3], 0, [2], None),
        Row([1, 2, 3], 4, [3, 4], None),
    ]

    with torch.inference_mode():
        lines, best = forward.logits(rows, [0, 3, 6], last=torch.zeros(2, device=META).long())
        measured = Measured.of(lines, best, 2)

    assert (3, VOCABULARY) == lines.shape
    assert (3, 2) == measured.best.shape
