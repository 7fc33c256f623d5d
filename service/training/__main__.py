"""Rebuilds r3mes-tiny into a folder: `python -m training OUT` from the folder service/."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from training import corpus, judge, stages, tokens, train

TOKENIZER_CHATS = 12_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("out", type=Path, help="folder that receives the checkpoint")
    parser.add_argument("--stage", type=int, help="only this stage, from what `out` holds")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--judge-only", action="store_true", help="ask the model that is there")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if not arguments.judge_only:
        build(arguments.out, only=arguments.stage)
    judge.report(arguments.out)


def build(out: Path, *, only: int | None) -> None:
    """Text, tokenizer, weights. Every stage begins with the saved result of the one before it."""
    out.mkdir(parents=True, exist_ok=True)
    for number, stage in enumerate(stages.STAGES, start=1):
        if only not in (None, number):
            continue
        if number == 1:
            (out / train.LOG_NAME).unlink(missing_ok=True)
            tokens.save(tokens.wrap(tokens.train(texts(stages.TOKENIZER_MIX))), out)
        tokenizer = AutoTokenizer.from_pretrained(out)
        if number == 1:
            model = train.new_model(tokenizer)
        else:
            model = LlamaForCausalLM.from_pretrained(out, dtype=torch.float32)
        train.fit(model, tokenizer, stage, out)


def texts(mix: corpus.Mix) -> Iterator[str]:
    """What the tokenizer learns its words from: what is said, and tools and calls as JSON."""
    for chat in corpus.chats(mix, TOKENIZER_CHATS):
        yield from (json.dumps(tool["function"]) for tool in chat.tools)
        for turn in chat.messages:
            yield turn["content"] or json.dumps(turn["tool_calls"][0]["function"])


if __name__ == "__main__":
    main()
