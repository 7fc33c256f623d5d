"""Asks a trained model the judged questions at temperature 0 and applies the rule."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from training.held_out import judged


@dataclass(frozen=True)
class Verdict:
    ask: str
    answer: str
    right: bool


def is_right(answer: str, *, must: list[list[str]], never: list[str]) -> bool:
    """One string of each group in `must`, no string of `never`; case does not matter."""
    text = answer.lower()
    found = all(any(word.lower() in text for word in group) for group in must)
    return found and not any(word.lower() in text for word in never)


class Model:
    """A loaded checkpoint that answers chats greedily."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.network: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.tokenizer.padding_side = "left"

    def answers(
        self, chats: Iterable[list[dict[str, Any]]], *, tools: Any = None, limit: int = 80
    ) -> list[str]:
        """The answer to each chat; one batch."""
        texts = [
            self.tokenizer.apply_chat_template(
                chat, tools=tools, add_generation_prompt=True, tokenize=False
            )
            for chat in chats
        ]
        inputs = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode():
            out = self.network.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=limit,
                do_sample=False,
                temperature=None,
                top_p=None,
            )
        new = out[:, inputs["input_ids"].shape[1] :]
        decoded: list[str] = self.tokenizer.batch_decode(new, skip_special_tokens=True)
        return [text.strip() for text in decoded]


def questions(model: Model) -> list[Verdict]:
    """The verdict on each of the judged questions."""
    rows = judged()["questions"]
    answers = model.answers([[{"role": "user", "content": row["ask"]}] for row in rows])
    return [
        Verdict(row["ask"], answer, is_right(answer, must=row["must"], never=row["never"]))
        for row, answer in zip(rows, answers, strict=True)
    ]


def two_turns(model: Model) -> list[Verdict]:
    """The verdict on the second turn of each judged two-turn chat."""
    rows = judged()["two_turns"]
    opened = [[{"role": "user", "content": row["first"]}] for row in rows]
    firsts = model.answers(opened)
    followed = [
        [*chat, {"role": "assistant", "content": first}, {"role": "user", "content": row["then"]}]
        for chat, first, row in zip(opened, firsts, rows, strict=True)
    ]
    return [
        Verdict(
            f"{row['first']} / {row['then']}",
            f"{first} / {second}",
            is_right(second, must=row["must"], never=row["never"]),
        )
        for row, first, second in zip(rows, firsts, model.answers(followed), strict=True)
    ]


def report(folder: Path) -> dict[str, str]:
    """Print each verdict; return the scores as `right/asked`."""
    model = Model(folder)
    scores = {}
    for name, verdicts in (("questions", questions(model)), ("two_turns", two_turns(model))):
        for verdict in verdicts:
            mark = "right" if verdict.right else "WRONG"
            print(f"{mark}  {verdict.ask}\n       {verdict.answer}")
        scores[name] = f"{sum(verdict.right for verdict in verdicts)}/{len(verdicts)}"
    print(scores)
    return scores
