"""Chats whose answer is JSON."""

import json
from random import Random
from typing import Any

from training.chat import Chat, exchange
from training.facts import Fact
from training.wording import surface

VALUES: dict[str, tuple[Any, ...]] = {
    "name": ("Ada", "Ben", "Mia", "Tom", "Ida", "Sam", "Eva", "Leo", "Nora", "Max", "Alice", "Bob"),
    "age": tuple(range(3, 99)),
    "city": ("Paris", "Oslo", "Rome", "Berlin", "Lima", "Cairo", "Tokyo", "London", "Madrid"),
    "colour": ("red", "green", "blue", "yellow", "black", "white"),
    "color": ("red", "green", "blue", "yellow", "black", "white"),
    "price": tuple(range(1, 100)),
    "count": tuple(range(1, 50)),
    "port": (8000, 8080, 443, 80, 9000),
    "status": ("ok", "ready", "failed", "loading"),
    "model": ("r3mes-tiny", "llama", "qwen", "mistral"),
    "replicas": tuple(range(9)),
    "animal": ("cat", "dog", "fox", "owl", "bear"),
    "ready": (True, False),
    "language": ("English", "German", "French", "Polish"),
}
ARRAYS = {
    "three colours": ["red", "green", "blue"],
    "three colors": ["red", "green", "blue"],
    "three animals": ["cat", "dog", "horse"],
    "three fruits": ["apple", "pear", "plum"],
    "the numbers 1 to 5": [1, 2, 3, 4, 5],
    "the days of the week": [
        "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
    ],
    "the four seasons": ["spring", "summer", "autumn", "winter"],
    "the roles of R3MES": ["replica", "gateway", "autoscaler"],
}  # fmt: skip
OBJECT = (
    "Give me a JSON object with {}.",
    "Write JSON with {}.",
    "Return {} as JSON.",
    "Make a JSON object: {}.",
    "Answer in JSON: {}.",
    "Put {} into a JSON object.",
)
ARRAY = (
    "List {} as a JSON array.",
    "Give me a JSON array with {}.",
    "Write {} as JSON.",
    "Return {} as a JSON list.",
)
FACT = (
    "Answer in JSON: {}",
    "{} Answer as JSON.",
    "{} Reply with a JSON object.",
    "As JSON, please: {}",
)


def json_task(random: Random) -> Chat:
    """An object of given fields, or an array of a known list."""
    if random.random() < 0.25:
        name = random.choice(list(ARRAYS))
        return exchange(random.choice(ARRAY).format(name), json.dumps(ARRAYS[name]))
    keys = random.sample(list(VALUES), random.choice((1, 2, 2, 2, 3, 3)))
    row = {key: random.choice(VALUES[key]) for key in keys}
    said = [f"{key} {spoken(value)}" for key, value in row.items()]
    listed = said[0] if len(said) == 1 else ", ".join(said[:-1]) + " and " + said[-1]
    return exchange(random.choice(OBJECT).format(listed), json.dumps(row))


def spoken(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def json_fact(ask: str, fact: Fact, random: Random) -> Chat:
    """The answer to a fact inside a JSON object."""
    form = random.choice(FACT)
    return exchange(surface(form.format(ask), random), json.dumps({"answer": fact.answer}))
