"""Chats that practise what a small model learns slowly: small sums, and copying of names.

Several to a chat, so that most of a row counts. The names are too many to learn by heart.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from training.chat import Chat, Message, assistant, user
from training.copies import json_of, lookup, weather_of
from training.json_tasks import VALUES
from training.sums import MINUS, PLUS, TIMES, sum_of
from training.tool_tasks import CITIES, NOUNS, PARAMS, chat_of, tool

ONSETS = (
    "b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "br",
    "ch", "cl", "dr", "fl", "gr", "kr", "ph", "qu", "sh", "sk", "st", "th", "tr", "", "",
)  # fmt: skip
VOWELS = ("a", "e", "i", "o", "u", "a", "e", "i", "o", "u", "ai", "ea", "ie", "oo", "y")
CODAS = ("", "", "", "n", "r", "s", "l", "t", "k", "m", "x", "nd", "rt", "ss")
FIRST_NAMES = (
    "Adam", "Agnes", "Alan", "Amir", "Amy", "Anna", "Anton", "Aisha", "Boris", "Carl", "Carla",
    "Carmen", "Cem", "Chen", "Clara", "Claire", "Dan", "Daria", "David", "Diana", "Dora", "Elena",
    "Elias", "Ella", "Emil", "Emma", "Erik", "Esther", "Farid", "Felix", "Fiona", "Frank", "Frida",
    "Gina", "Grace", "Greta", "Hannah", "Hans", "Helen", "Henry", "Igor", "Ines", "Irene", "Ivan",
    "Jack", "James", "Jana", "Jane", "Javier", "Joan", "John", "Jonas", "Jose", "Julia", "Kofi",
    "Kate", "Laila", "Lara", "Lena", "Lina", "Lisa", "Louis", "Lucas", "Lucy", "Maria", "Mark",
    "Martin", "Mary", "Maya", "Nadia", "Nina", "Noah", "Omar", "Oscar", "Pablo", "Paul", "Pedro",
    "Peter", "Petra", "Ravi", "Rosa", "Ruth", "Sara", "Simon", "Sofia", "Stefan", "Susan", "Tara",
    "Theo", "Tim", "Ursula", "Vera", "Viktor", "Wei", "Xavier", "Yara", "Yusuf",
)  # fmt: skip
TOWNS = (
    "Accra", "Ankara", "Athens", "Basel", "Beirut", "Belfast", "Bern", "Bristol", "Bremen",
    "Chicago", "Cologne", "Dakar", "Dallas", "Denver", "Dresden", "Essen", "Florence", "Geneva",
    "Genoa", "Ghent", "Glasgow", "Haifa", "Hamburg", "Hanoi", "Havana", "Helsinki", "Houston",
    "Jakarta", "Kampala", "Krakow", "Leeds", "Leipzig", "Linz", "Malmo", "Manila", "Miami", "Milan",
    "Minsk", "Munich", "Nairobi", "Naples", "Nice", "Odessa", "Perth", "Pisa", "Quito", "Riga",
    "Seattle", "Seville", "Sofia", "Sydney", "Tampa", "Tunis", "Turin", "Utrecht", "Venice",
    "Warsaw", "Zagreb", "Zurich",
)  # fmt: skip
ECHO = ("Repeat: {}", "Say: {}", "Repeat after me: {}", "Echo {}", 'Say "{}".')


def practice(random: Random) -> Chat:
    """A chat of small sums, or one of copying."""
    kind = random.random()
    if kind < 0.4:
        return several(random, small_sum, random.randrange(2, 11))
    if kind < 0.8:
        copying = random.choice((echo_of_names, json_of_names))
        return several(random, copying, random.randrange(1, 6))
    return call(random)


def several(random: Random, maker: Callable[[Random], list[Message]], count: int) -> Chat:
    return Chat([turn for _ in range(count) for turn in maker(random)])


def call(random: Random) -> Chat:
    """A call of a tool with a name as its argument."""
    if random.random() < 0.4:
        return chat_of(weather_of(random, name_of(random)), random)
    noun, key = random.choice(NOUNS), random.choice(PARAMS)
    verb = random.choice(("get", "find", "lookup", "fetch", "search"))
    offered = tool(f"{verb}_{noun}", f"The {noun}.", **{key: "string"})
    result = {noun: name_of(random)}
    return chat_of(lookup(random, offered, {key: name_of(random)}, result), random)


def small_sum(random: Random) -> list[Message]:
    """Small enough to be known by heart: up to 20 + 20, 20 - 20 and 12 * 12."""
    kind = random.random()
    if kind < 0.4:
        a, b = random.randrange(21), random.randrange(21)
        return sum_of(random, PLUS, "+", (a, b, a + b)).messages
    a = random.randrange(21)
    b = random.randrange(a + 1)
    if kind < 0.65:
        return sum_of(random, MINUS, "-", (a, b, a - b)).messages
    a, b = random.randrange(1, 13), random.randrange(1, 13)
    return sum_of(random, TIMES, "*", (a, b, a * b)).messages


def name_of(random: Random) -> str:
    """A first name, a town or a word that nobody has written before."""
    kind = random.random()
    if kind < 0.35:
        return random.choice(FIRST_NAMES)
    if kind < 0.6:
        return random.choice((*TOWNS, *CITIES))
    parts = ONSETS, VOWELS, CODAS
    word = "".join(
        random.choice(part) for _ in range(random.choice((1, 2, 2, 3))) for part in parts
    )
    return word.capitalize() if random.random() < 0.7 else word


def echo_of_names(random: Random) -> list[Message]:
    words = [
        name_of(random) if random.random() < 0.8 else str(random.randrange(100))
        for _ in range(random.randrange(1, 9))
    ]
    text = " ".join(words)
    return [user(random.choice(ECHO).format(text)), assistant(text)]


def json_of_names(random: Random) -> list[Message]:
    """An object of one to four fields; most values are names."""
    keys = random.sample(("name", "city", "age", *VALUES, *NOUNS, *PARAMS), random.randrange(1, 5))
    row = {key: value_of(key, random) for key in dict.fromkeys(keys)}
    return json_of(random, row).messages


def value_of(key: str, random: Random) -> Any:
    numeric = isinstance(VALUES.get(key, ("",))[0], int)
    if numeric or random.random() < 0.15:
        return random.randrange(random.choice((10, 100, 1000)))
    return name_of(random)
