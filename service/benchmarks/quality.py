"""`python -m benchmarks.quality`: what fewer bits cost, on the bundled model.

Perplexity of made-up chats that the training never saw, and how often the most likely token is that
of float32, for each way to keep weights and KV cache. Computed by the engine's own paths.
"""

import itertools
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoTokenizer

from r3mes.engine.checkpoint import read_checkpoint
from r3mes.engine.load import load_model
from r3mes.engine.model_runner import ModelRunner
from r3mes.engine.runner import Row
from r3mes.settings import EngineSettings, ModelSettings
from training.corpus import Corpus, Mix
from training.tokens import render

TINY = Path(__file__).parents[1] / "r3mes" / "tiny"
SEED = 20_251_128  # none of the training's
CHATS, LONGEST = 200, 400
WAYS: tuple[tuple[str, dict[str, str], dict[str, str]], ...] = (
    ("float32", {"weights": "float32"}, {}),
    ("weights bfloat16 (exact here)", {"weights": "bfloat16"}, {}),
    ("weights int8", {"weights": "int8"}, {}),
    ("KV float16", {"weights": "float32"}, {"kv_dtype": "float16"}),
    ("weights int8, KV float16", {"weights": "int8"}, {"kv_dtype": "float16"}),
)


def main() -> None:
    texts = held_out_texts()
    say(f"{sum(map(len, texts))} tokens of {len(texts)} chats")
    exact: list[Tensor] = []
    for name, model, engine in WAYS:
        runner = load(model, engine)
        lines = [logits_of(runner, ids) for ids in texts]
        exact = exact or lines
        told = figures(lines, exact, texts)
        say(f"{name:32}" + "  ".join(f"{key} {value:.5f}" for key, value in told.items()))


def held_out_texts() -> list[list[int]]:
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    chats = itertools.islice(Corpus(Mix(seed=SEED, wide=True, rough=0.3)).chats(), CHATS)
    texts = (render(tokenizer, chat) for chat in chats)
    return [tokenizer(text, add_special_tokens=False)["input_ids"][:LONGEST] for text in texts]


def load(model: dict[str, str], engine: dict[str, str]) -> ModelRunner:
    return load_model(
        ModelSettings(source=str(TINY), device="cpu", **model),
        EngineSettings(kv_blocks=64, **engine),
        checkpoint=read_checkpoint(TINY),
        progress=lambda share, detail: None,
        accepted=lambda path: None,
    ).runner


def logits_of(runner: ModelRunner, ids: Sequence[int]) -> Tensor:
    """Of every position, one prompt."""
    blocks = range(-(-len(ids) // runner.forward.block_size))
    [lines] = runner.logits([Row(ids, 0, blocks, None, prompt_logprobs=0)])
    return lines.clone()


def figures(
    lines: Sequence[Tensor], exact: Sequence[Tensor], texts: Sequence[Sequence[int]]
) -> dict[str, float]:
    loss, count, same, most = 0.0, 0, 0, 0.0
    for mine, theirs, ids in zip(lines, exact, texts, strict=True):
        targets = torch.tensor(ids[1:])
        loss += torch.nn.functional.cross_entropy(mine[:-1], targets, reduction="sum").item()
        count += len(targets)
        same += int((mine[:-1].argmax(-1) == theirs[:-1].argmax(-1)).sum())
        most = max(most, (mine - theirs).abs().max().item())
    return {
        "perplexity": math.exp(loss / count),
        "top-1 agreement": same / count,
        "largest difference of a logit": most,
    }


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
