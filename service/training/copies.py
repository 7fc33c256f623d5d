"""Chats whose answer copies words of the prompt: echoes, JSON and tool calls with made-up names.

The words are too many to learn by heart, so the model has to learn to copy.
"""

import json
from random import Random
from typing import Any

from training.chat import Chat, Tool, exchange
from training.json_tasks import OBJECT, VALUES
from training.tool_tasks import NOUNS, PARAMS, WORDS, Use, chat_of, tool, weather

SYLLABLES = (
    "ba", "ko", "ri", "ta", "lu", "men", "sa", "do", "vi", "ra", "ne", "po", "gar", "el", "in",
    "os", "ma", "li", "to", "ber", "an", "ed", "za", "gre", "dor", "fen", "hal", "ju", "mi", "ster",
)  # fmt: skip


def made_up(random: Random) -> str:
    """A name that is not in any list, or a short word that is."""
    if random.random() < 0.3:
        return random.choice(WORDS)
    name = "".join(random.choice(SYLLABLES) for _ in range(random.choice((1, 2, 2, 3))))
    return name.capitalize() if random.random() < 0.5 else name


def echo_words(random: Random) -> Chat:
    text = " ".join(made_up(random) for _ in range(random.randrange(2, 16)))
    form = random.choice(("Repeat: {}", "Say: {}", "Repeat after me: {}", "Echo {}", 'Say "{}".'))
    return exchange(form.format(text), text)


def json_of_names(random: Random) -> Chat:
    keys = random.sample([*VALUES, *NOUNS, *PARAMS], random.choice((1, 2, 2, 3, 4)))
    row = {
        key: made_up(random)
        if random.random() < 0.6
        else random.randrange(random.choice((10, 200)))
        for key in dict.fromkeys(keys)
    }
    return json_of(random, row)


def json_of(random: Random, row: dict[str, Any]) -> Chat:
    """A request for an object with the fields of `row`."""
    said = [f"{key} {value}" for key, value in row.items()]
    listed = said[0] if len(said) == 1 else ", ".join(said[:-1]) + " and " + said[-1]
    return exchange(random.choice(OBJECT).format(listed), json.dumps(row))


def call_of_name(random: Random) -> Chat:
    """A made-up tool, or the weather, for a made-up name."""
    value = made_up(random)
    if random.random() < 0.4:
        return chat_of(weather_of(random, value), random)
    noun, key, found = random.choice(NOUNS), random.choice(PARAMS), made_up(random)
    name = f"{random.choice(('get', 'find', 'lookup', 'fetch', 'search', made_up(random)))}_{noun}"
    offered = tool(name, f"The {noun}.", **{key: "string"})
    return chat_of(lookup(random, offered, {key: value}, {noun: found}), random)


def lookup(random: Random, offered: Tool, arguments: dict[str, str], result: dict[str, str]) -> Use:
    """A question that `offered` answers with `result`."""
    (value,), ((noun, found),) = arguments.values(), result.items()
    form = random.choice(("What is the {} of {}?", "Find the {} of {}.", "Get the {} for {}."))
    answer = f"The {noun} of {value} is {found}."
    return Use(offered, form.format(noun, value), arguments, result, answer)


def weather_of(random: Random, place: str) -> Use:
    """The weather, for a place that is in no list."""
    known = weather(random)
    (key, city), *_ = known.arguments.items()
    return Use(
        known.tool,
        known.ask.replace(city, place),
        {key: place},
        known.result,
        known.answer.replace(city, place),
    )


def copy_chat(random: Random) -> Chat:
    return random.choice((echo_words, json_of_names, call_of_name))(random)
