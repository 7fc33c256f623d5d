"""Keeps the judged questions out of the training text: equal, contained or nearly equal."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

QUESTIONS = Path(__file__).with_name("questions.json")
NEAR = 0.8  # share of common words from which a training question counts as a copy


def judged() -> dict[str, Any]:
    """The judged questions and their rule, as written in `questions.json`."""
    loaded: dict[str, Any] = json.loads(QUESTIONS.read_text())
    return loaded


def judged_texts() -> list[str]:
    """Every judged user turn."""
    table = judged()
    turns = [turn for row in table["two_turns"] for turn in (row["first"], row["then"])]
    return [row["ask"] for row in table["questions"]] + turns


def normalised(text: str) -> str:
    """Lower case words parted by single spaces."""
    return " ".join(re.findall(r"[a-z0-9_/']+", text.lower()))


class HeldOut:
    """Answers whether a training question is a copy of a judged one."""

    def __init__(self, questions: Iterable[str]) -> None:
        self.texts = [normalised(question) for question in questions]
        self.sizes = [len(set(text.split())) for text in self.texts]
        self.having: dict[str, list[int]] = {}  # word -> the questions that have it
        for number, text in enumerate(self.texts):
            for word in set(text.split()):
                self.having.setdefault(word, []).append(number)

    def covers(self, question: str) -> bool:
        text = normalised(question)
        words = set(text.split())
        common = Counter(number for word in words for number in self.having.get(word, ()))
        for number, shared in common.items():
            if shared >= NEAR * (len(words) + self.sizes[number] - shared):
                return True
            if shared == self.sizes[number] and f" {self.texts[number]} " in f" {text} ":
                return True
        return False
