"""The fact table about running R3MES and every clean phrasing of each question.

Facts live in `facts/*.toml`. A fact has one answer, one sentence more, and the subject in several
forms: things (noun phrases), do (verb phrases), when (clauses) and ask (whole questions). More
whole questions, for the later stages of training, live in `wordings/*.toml`.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "facts"
WORDINGS = Path(__file__).parent / "wordings"

THING = (
    "What is {}?",
    "Explain {}.",
    "Can you explain {}?",
    "What does {} mean?",
    "What is meant by {}?",
    "Tell me about {}.",
    "Please describe {}.",
    "Define {}.",
    "What do you know about {}?",
    "I want to know about {}.",
    "What should I know about {}?",
    "Give me a short explanation of {}.",
    "How does {} work?",
    "What is {} for?",
    "What is the purpose of {}?",
    "What is {} good for?",
    "Why is there {}?",
    "In one sentence, what is {}?",
    "I do not understand {}.",
    "Help me understand {}.",
    "Say something about {}.",
    "{}?",
)
DO = (
    "How do I {}?",
    "How can I {}?",
    "How would I {}?",
    "What do I do to {}?",
    "What must I do to {}?",
    "Which command or setting lets me {}?",
    "I want to {}.",
    "I would like to {}.",
    "I need to {}. How?",
    "Show me how to {}.",
    "Tell me how to {}.",
    "Is it possible to {}?",
    "Can I {}?",
    "May I {}?",
    "Please help me to {}.",
    "What is the way to {}?",
    "How does one {}?",
    "Is there a way to {}?",
    "We want to {}, what do we need?",
    "What should I run to {}?",
)
WHEN = (
    "What happens when {}?",
    "What happens if {}?",
    "What if {}?",
    "What does R3MES do when {}?",
    "What is the answer when {}?",
    "How does the service react when {}?",
    "I think that {}. What now?",
    "Suppose {}. What follows?",
    "What do I see if {}?",
    "What will happen once {}?",
    "When {}, what happens?",
    "What does a client get when {}?",
    "What comes back if {}?",
    "After {}, what becomes of my request?",
)


@dataclass(frozen=True)
class Fact:
    name: str
    answer: str
    more: str
    things: tuple[str, ...]
    do: tuple[str, ...]
    when: tuple[str, ...]
    ask: tuple[str, ...]
    wordings: tuple[str, ...]

    def phrasings(self) -> list[list[str]]:
        """All clean questions, one list per kind of phrasing that the fact has."""
        kinds = [
            [form.format(slot) for slot in slots for form in forms]
            for forms, slots in ((THING, self.things), (DO, self.do), (WHEN, self.when))
            if slots
        ]
        return [*kinds, *(list(whole) for whole in (self.ask, self.wordings) if whole)]


def load(*, wide: bool) -> list[Fact]:
    """Every fact of the table, in file order; `wide` adds the wordings of the later stages."""
    facts = []
    wordings = tables(WORDINGS) if wide else {}
    for name, row in tables(FOLDER).items():
        facts.append(
            Fact(
                name=name,
                answer=row["answer"],
                more=row["more"],
                things=tuple(row.get("thing", ())),
                do=tuple(row.get("do", ())),
                when=tuple(row.get("when", ())),
                ask=tuple(row.get("ask", ())),
                wordings=tuple(wordings.get(name, ())),
            )
        )
    return facts


def tables(folder: Path) -> dict[str, Any]:
    """The tables of all files in `folder` as one."""
    merged: dict[str, Any] = {}
    for path in sorted(folder.glob("*.toml")):
        merged |= tomllib.loads(path.read_text())
    return merged
