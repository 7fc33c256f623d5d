"""Trains the weights: packed chats, loss on the assistant's tokens, a cosine rate.

Deterministic for one thread on one machine: every random choice comes from a seed.
"""

import json
import math
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from training import tokens
from training.chat import Chat
from training.corpus import Corpus
from training.stages import STAGES, Stage

LOG_NAME = "training_log.jsonl"
SAVE_EVERY = 100
USER_TURN = re.compile(re.escape(tokens.START) + "user\n(.*?)" + re.escape(tokens.END), re.DOTALL)
LONG_WORD = re.compile(r"[a-z]{5,}")
LOG_EVERY = 20


@dataclass(frozen=True)
class Row:
    """Ids, and how much it counts to predict each of them."""

    ids: list[int]
    weights: list[float]

    def add(self, ids: list[int], weight: float) -> None:
        self.ids.extend(ids)
        self.weights.extend([weight] * len(ids))


class Encoder:
    """Turns a chat into ids and weights; only what the assistant says counts."""

    def __init__(self, tokenizer: Any, stage: Stage) -> None:
        self.tokenizer = tokenizer
        self.stage = stage
        self.start = tokenizer.convert_tokens_to_ids(tokens.START)
        self.end = tokenizer.convert_tokens_to_ids(tokens.END)
        self.between = tokenizer.convert_tokens_to_ids(tokens.BETWEEN)
        self.head = tokenizer.encode("assistant\n", add_special_tokens=False)

    def encode(self, chat: Chat) -> Row:
        text = tokens.render(self.tokenizer, chat)
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        row, at = Row([], []), 0
        for begin, stop in self.spoken(ids):
            opening = min(begin + self.stage.opening, stop)
            row.add(ids[at:begin], 0.0)
            row.add(ids[begin:opening], self.stage.opening_weight)
            if not chat.drill:
                row.add(ids[opening:stop], 1.0)
            at = stop
        row.add([*ids[at:], self.between], 0.0)
        return row

    def spoken(self, ids: list[int]) -> Iterator[tuple[int, int]]:
        """Begin and end of everything the assistant says, its end token included."""
        for at, token in enumerate(ids):
            begin = at + 1 + len(self.head)
            if token == self.start and ids[at + 1 : begin] == self.head:
                yield begin, ids.index(self.end, begin) + 1


def pack(chats: Iterator[Chat], encoder: Encoder, length: int) -> Row:
    """Chats one after another; the last one is cut."""
    packed = Row([], [])
    while len(packed.ids) <= length:
        row = encoder.encode(next(chats))
        packed.ids.extend(row.ids)
        packed.weights.extend(row.weights)
    return Row(packed.ids[: length + 1], packed.weights[: length + 1])


@dataclass(frozen=True)
class Batch:
    ids: torch.Tensor
    weights: torch.Tensor


def batch(chats: Iterator[Chat], encoder: Encoder, *, rows: int, length: int) -> Batch:
    """Two tables of `rows` x (`length` + 1)."""
    packed = [pack(chats, encoder, length) for _ in range(rows)]
    return Batch(
        torch.tensor([row.ids for row in packed]), torch.tensor([row.weights for row in packed])
    )


def new_model(tokenizer: Any) -> LlamaForCausalLM:
    """Random weights for the vocabulary of `tokenizer`."""
    torch.manual_seed(STAGES[0].mix.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=640,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=tokens.POSITIONS,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.02,
    )
    return LlamaForCausalLM(config)


def loss_of(model: LlamaForCausalLM, data: Batch) -> torch.Tensor:
    """Weighted mean loss; the head runs only on positions that count."""
    inputs, targets, weights = data.ids[:, :-1], data.ids[:, 1:], data.weights[:, 1:]
    chosen = weights > 0
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=inputs, use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[chosen])
    losses = torch.nn.functional.cross_entropy(logits.float(), targets[chosen], reduction="none")
    return (losses * weights[chosen]).sum() / weights.sum()


def rate_at(step: int, stage: Stage) -> float:
    if step < stage.warmup:
        return stage.rate * (step + 1) / stage.warmup
    share = (step - stage.warmup) / (stage.horizon - stage.warmup)
    return stage.rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))


def optimizer_of(model: LlamaForCausalLM, stage: Stage) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [
        {"params": matrices, "weight_decay": stage.decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=stage.rate, betas=(0.9, 0.98), fused=True)


def save(model: LlamaForCausalLM, folder: Path) -> None:
    """Write weights in 16 bits with the two configuration files."""
    config = model.config
    generation = GenerationConfig(
        eos_token_id=[config.eos_token_id, config.pad_token_id],
        pad_token_id=config.pad_token_id,
        do_sample=True,
        temperature=0.7,
        top_p=0.9,
    )
    half = LlamaForCausalLM(config).to(torch.bfloat16)
    half.load_state_dict(model.state_dict())
    half.generation_config = generation
    half.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)


class Log:
    """One JSON line per entry, added to what is there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.began = time.monotonic()

    def write(self, **entry: Any) -> None:
        seconds = round(time.monotonic() - self.began, 1)
        with self.path.open("a") as file:
            file.write(json.dumps({**entry, "seconds": seconds}) + "\n")


def fit(model: LlamaForCausalLM, tokenizer: Any, stage: Stage, folder: Path) -> None:
    """Train `model` for one stage; a usable copy of its average is saved on the way."""
    corpus = Corpus(stage.mix)
    encoder = Encoder(tokenizer, stage)
    chats, optimizer = corpus.chats(), optimizer_of(model, stage)
    running = get_ema_multi_avg_fn(stage.average)  # type: ignore[no-untyped-call]
    average = AveragedModel(model, multi_avg_fn=running)
    log, seen = Log(folder / LOG_NAME), 0
    log.write(stage=asdict(stage), parameters=sum(p.numel() for p in model.parameters()))
    for step in range(stage.steps):
        rows, length = shape_at(step, stage)
        loss = loss_of(model, batch(chats, encoder, rows=rows, length=length))
        update(model, optimizer, loss, rate=rate_at(step, stage))
        average.update_parameters(model)
        seen += rows * length
        last = step == stage.steps - 1
        if step % LOG_EVERY == 0 or last:
            log.write(step=step, loss=round(loss.item(), 4), tokens=seen, chats=corpus.made)
        if step % SAVE_EVERY == SAVE_EVERY - 1 or last:
            save(average.module, folder)


def shape_at(step: int, stage: Stage) -> tuple[int, int]:
    """Rows and length of the batch; now and then rows are long, so that far positions are seen."""
    long = step % stage.long_every == stage.long_every - 1
    length = stage.long_length if long else stage.length
    return max(1, stage.rows * stage.length // length), length


def update(
    model: LlamaForCausalLM,
    optimizer: torch.optim.Optimizer,
    loss: torch.Tensor,
    *,
    rate: float,
) -> None:
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
