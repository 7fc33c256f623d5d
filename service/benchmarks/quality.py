"""`python -m benchmarks.quality`: what fewer bits cost, on the bundled model.

Perplexity of made-up chats that the training never saw, and how often the most likely token is that
of float32, for each way to keep weights and KV cache. Computed by the engine's own paths.
"""

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer

from r3mes.engine.checkpoint import read_checkpoint
from r3mes.engine.load import load_model
from r3mes.engine.model_runner import ModelRunner
from r3mes.engine.native import packing
from r3mes.engine.runner import Row
from r3mes.settings import EngineSettings, ModelSettings
from training.corpus import Corpus, Mix
from training.tokens import render

TINY = Path(__file__).parents[1] / "r3mes" / "tiny"
SEED = 20_251_128  # none of the training's
CHATS, LONGEST = 200, 400
WHOLE = 1 << 30  # more inputs than any output has
GROUPS = (32, 64, 128)  # inputs that share a scale in 8 bits; beside the one that is served
WAYS: tuple[tuple[str, dict[str, str], dict[str, str]], ...] = (
    ("float32", {"weights": "float32"}, {}),
    ("weights bfloat16 (exact here)", {"weights": "bfloat16"}, {}),
    ("weights int8", {"weights": "int8"}, {}),
    ("KV float16", {"weights": "float32"}, {"kv_dtype": "float16"}),
    ("weights int8, KV float16", {"weights": "int8"}, {"kv_dtype": "float16"}),
)


def main() -> None:
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    texts = held_out_texts(tokenizer)
    answers = [answered(ids, tokenizer) for ids in texts]
    told = int(sum(mask.sum() for mask in answers))
    say(f"{sum(map(len, texts))} tokens of {len(texts)} chats, {told} of them in answers")
    exact: list[Tensor] = []
    for name, model, engine in WAYS:
        lines = logits(load(model, engine), texts)
        exact = exact or lines
        tell(name, figures(lines, exact, texts, answers))
    for most in (*GROUPS, WHOLE):
        lines = logits(load_in_groups(most), texts)
        name = f"weights int8, groups of {most}" if most < WHOLE else "weights int8, one scale"
        tell(name, figures(lines, exact, texts, answers))


def held_out_texts(tokenizer: Any) -> list[list[int]]:
    chats = itertools.islice(Corpus(Mix(seed=SEED, wide=True, rough=0.3)).chats(), CHATS)
    texts = (render(tokenizer, chat) for chat in chats)
    return [tokenizer(text, add_special_tokens=False)["input_ids"][:LONGEST] for text in texts]


def answered(ids: Sequence[int], tokenizer: Any) -> Tensor:
    """Which tokens but the first are of the assistant, the end of its turn included."""
    begin, end = (tokenizer.convert_tokens_to_ids(it) for it in ("<|im_start|>", "<|im_end|>"))
    role = tokenizer("assistant", add_special_tokens=False)["input_ids"]
    mask, inside = [], False
    for place, token in enumerate(ids):
        mask.append(inside)
        if token == begin:
            inside = list(ids[place + 1 : place + 1 + len(role)]) == role
        elif token == end:
            inside = False
    return torch.tensor(mask[1:])


def load_in_groups(most: int) -> ModelRunner:
    served, packing.MOST_GROUP = packing.MOST_GROUP, most
    try:
        return load({"weights": "int8"}, {})
    finally:
        packing.MOST_GROUP = served


def load(model: dict[str, str], engine: dict[str, str]) -> ModelRunner:
    return load_model(
        ModelSettings(source=str(TINY), device="cpu", **model),
        EngineSettings(kv_blocks=64, **engine),
        checkpoint=read_checkpoint(TINY),
        progress=lambda share, detail: None,
        accepted=lambda path: None,
    ).runner


def logits(runner: ModelRunner, texts: Sequence[Sequence[int]]) -> list[Tensor]:
    """Of every position of each text, one prompt at a time."""
    size = runner.forward.block_size
    rows = (Row(ids, 0, range(-(-len(ids) // size)), None, prompt_logprobs=0) for ids in texts)
    return [runner.logits([row])[0].clone() for row in rows]


def figures(
    lines: Sequence[Tensor],
    exact: Sequence[Tensor],
    texts: Sequence[Sequence[int]],
    answers: Sequence[Tensor],
) -> dict[str, float]:
    mine, theirs = (torch.cat([it[:-1] for it in each]) for each in (lines, exact))
    targets = torch.cat([torch.tensor(ids[1:]) for ids in texts])
    of_answers = torch.cat(list(answers))
    loss = torch.nn.functional.cross_entropy(mine, targets, reduction="none")
    same = (mine.argmax(-1) == theirs.argmax(-1)).float()
    return {
        "perplexity": loss.mean().exp().item(),
        "of answers": loss[of_answers].mean().exp().item(),
        "top-1 in answers": same[of_answers].mean().item(),
        "top-1": same.mean().item(),
        "largest difference of a logit": (mine - theirs).abs().max().item(),
    }


def tell(name: str, told: dict[str, float]) -> None:
    say(f"{name:32}" + "  ".join(f"{key} {value:.5f}" for key, value in told.items()))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
