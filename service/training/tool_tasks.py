"""Chats with tools: the call, the result and the sentence made from it."""

import json
from dataclasses import dataclass
from random import Random
from typing import Any

from training.chat import Chat, Message, Tool, assistant, user

CITIES = (
    "Paris", "Oslo", "Rome", "Berlin", "Lima", "Cairo", "Tokyo", "London", "Madrid", "Vienna",
    "Prague", "Dublin", "Boston", "Delhi", "Seoul", "Lisbon",
)  # fmt: skip
NOUNS = (
    "price", "status", "owner", "size", "address", "phone", "rating", "score", "stock", "order",
    "invoice", "schedule", "level", "version", "balance", "menu", "train", "score", "speed", "role",
)  # fmt: skip
PARAMS = ("id", "name", "item", "user", "query", "product", "account", "place")
WORDS = (
    "alpha", "lamp", "river", "Ada", "Tom", "boat", "A17", "B42", "C3", "fox", "book", "piano",
    "table", "rose", "D9", "engine", "llama", "tea", "milk", "bread", "Mia", "X5",
)  # fmt: skip


@dataclass(frozen=True)
class Use:
    """One occasion to call a tool."""

    tool: Tool
    ask: str
    arguments: dict[str, Any]
    result: dict[str, Any]
    answer: str


def tool(name: str, description: str, /, **properties: str) -> Tool:
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": {key: {"type": kind} for key, kind in properties.items()},
                "required": list(properties),
            },
        },
    }


def weather(random: Random) -> Use:
    city, degrees = random.choice(CITIES), random.randrange(1, 35)
    sky = random.choice(("sunny", "rainy", "cloudy", "windy"))
    key = random.choice(("city", "city", "location"))
    form = random.choice(
        (
            "What is the weather in {}?",
            "How is the weather in {} today?",
            "Weather in {}?",
            "Tell me the weather in {}.",
            "Is it raining in {}?",
            "How warm is it in {}?",
        )
    )
    return Use(
        tool("get_weather", "Get the current weather of a city.", **{key: "string"}),
        form.format(city),
        {key: city},
        {"temperature": degrees, "sky": sky},
        f"It is {degrees} degrees and {sky} in {city}.",
    )


def clock(random: Random) -> Use:
    city, time = random.choice(CITIES), f"{random.randrange(10, 24)}:{random.randrange(10, 60)}"
    form = random.choice(("What time is it in {}?", "Tell me the time in {}.", "Time in {}?"))
    return Use(
        tool("get_time", "Get the local time of a city.", city="string"),
        form.format(city),
        {"city": city},
        {"time": time},
        f"It is {time} in {city}.",
    )


def adder(random: Random) -> Use:
    a, b = random.randrange(100, 1000), random.randrange(100, 1000)
    form = random.choice(("What is {} + {}?", "Add {} and {}.", "Calculate {} + {}."))
    return Use(
        tool("add", "Add two numbers.", a="integer", b="integer"),
        form.format(a, b),
        {"a": a, "b": b},
        {"result": a + b},
        f"{a} + {b} = {a + b}",
    )


def scaler(random: Random) -> Use:
    model, count = random.choice(("r3mes-tiny", "llama", "qwen")), random.randrange(1, 10)
    form = random.choice(
        ("Scale {} to {} replicas.", "Set {} to {} replicas.", "I want {} with {} replicas.")
    )
    return Use(
        tool("scale", "Set the number of replicas.", model="string", replicas="integer"),
        form.format(model, count),
        {"model": model, "replicas": count},
        {"ok": True},
        f"{model} now has {count} replicas.",
    )


def finder(random: Random) -> Use:
    """A made-up tool, so that names are copied from the schema and not learned by heart."""
    noun, key, value = random.choice(NOUNS), random.choice(PARAMS), random.choice(WORDS)
    verb = random.choice(("get", "find", "lookup", "fetch", "search"))
    form = random.choice(
        ("What is the {} of {}?", "Find the {} of {}.", "Get the {} for {}.", "Show the {} of {}.")
    )
    found = random.choice(WORDS)
    return Use(
        tool(f"{verb}_{noun}", f"{verb.capitalize()} the {noun}.", **{key: "string"}),
        form.format(noun, value),
        {key: value},
        {noun: found},
        f"The {noun} of {value} is {found}.",
    )


MAKERS = (weather, weather, clock, adder, scaler, finder, finder, finder)


def tool_chat(random: Random) -> Chat:
    """One of the uses above."""
    return chat_of(random.choice(MAKERS)(random), random)


def chat_of(use: Use, random: Random) -> Chat:
    """The question, the call, and in more than half of the chats the result and the answer."""
    tools = [use.tool]
    if random.random() < 0.4:
        other = random.choice(MAKERS)(random).tool
        if other["function"]["name"] != use.tool["function"]["name"]:
            tools.insert(random.randrange(2), other)
    call: Message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "type": "function",
                "function": {"name": use.tool["function"]["name"], "arguments": use.arguments},
            }
        ],
    }
    messages = [user(use.ask), call]
    if random.random() < 0.6:
        messages += [{"role": "tool", "content": json.dumps(use.result)}, assistant(use.answer)]
    return Chat(messages, tools)


def some_tool(random: Random) -> Tool:
    """A tool that is offered and not needed."""
    return random.choice(MAKERS)(random).tool
