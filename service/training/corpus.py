"""The training text: an endless, seeded mix of chats. The same seed gives the same text."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from training import facts, rough
from training.chat import Chat, Message, assistant, user
from training.copies import copy_chat
from training.held_out import HeldOut, judged_texts
from training.json_tasks import json_fact, json_task
from training.practice import practice
from training.small_talk import small_talk, unknown
from training.stories import story
from training.sums import arithmetic, counting, echo
from training.tool_tasks import some_tool, tool_chat
from training.wording import reword, surface

SYSTEMS = (
    "You are a helpful assistant.",
    "You are a helpful assistant. Answer briefly.",
    "You answer questions about R3MES.",
    "Be short and precise.",
    "You are a support engineer.",
    "Answer the question of the user.",
    "You are a friendly assistant for operators.",
    "Today is a good day. Answer politely.",
)
MORE = (
    "Tell me more.", "Tell me more about it.", "Can you say more?", "Go on.", "What else?",
    "Please continue.", "More details please.", "Why?", "And then?", "Anything else?",
    "Is there more to know?", "Give me more detail.", "What else should I know about it?",
    "Interesting, tell me more about that.", "Can you explain further?", "Please elaborate.",
    "I want to know more about this.", "And what else about it?", "Continue.", "OK, and?",
    "Is there anything to add?", "Say more about this.", "What more can you tell me?",
    "Give me one more sentence about it.", "Do you have more information on that?",
)  # fmt: skip
AGAIN = (
    "Say that again.", "Can you repeat that?", "Repeat your answer, please.", "Once more, please.",
    "Sorry, what did you say?", "I did not get that. Again, please.",
)  # fmt: skip
NO_MORE = "That is all I know about it."


@dataclass(frozen=True)
class Mix:
    """What a text is made of; two equal mixes give the same text."""

    seed: int
    drills: float = 0.0  # share of chats with questions on facts, to learn the openings of answers
    copies: float = 0.0  # share of the others whose answer copies words of the prompt
    wide: bool = False  # with the further wordings of the questions
    rough: float = 0.0  # share of the questions that are made rough
    practice: float = 0.0  # share of chats, before all others, that practise sums and copying


class Corpus:
    """Makes chats. One object, one random stream."""

    def __init__(self, mix: Mix) -> None:
        self.mix = mix
        self.random = Random(mix.seed)
        self.facts = facts.load(wide=mix.wide)
        self.phrasings = {fact.name: fact.phrasings() for fact in self.facts}
        self.held_out = HeldOut(judged_texts())
        self.made = 0

    def chats(self) -> Iterator[Chat]:
        """Chats without end; none has a judged question."""
        while True:
            chat = self.any_chat()
            if not any(self.held_out.covers(turn) for turn in chat.user_turns()):
                self.made += 1
                yield self.with_system(chat)

    def one_in(self, share: float) -> bool:
        """True for a `share` of the calls; nothing is drawn where the answer is certain."""
        return share >= 1 or (share > 0 and self.random.random() < share)

    def any_chat(self) -> Chat:
        if self.one_in(self.mix.practice):
            return practice(self.random)
        if self.one_in(self.mix.drills):
            return Chat(self.drill(), drill=True)
        return copy_chat(self.random) if self.one_in(self.mix.copies) else self.chat()

    def chat(self) -> Chat:
        random = self.random
        kind = random.random()
        if kind < 0.34:
            return Chat(self.fact_turns(more=False))
        if kind < 0.54:
            return Chat(self.fact_turns(more=True))
        if kind < 0.72:
            return Chat(self.several(random.choice((2, 2, 3, 4))))
        if kind < 0.73:
            return Chat(self.several(random.randrange(6, 16)))
        if kind < 0.75:
            return Chat(self.fact_turns(more=False), [some_tool(random)])
        makers = (
            small_talk, unknown, unknown, arithmetic, arithmetic, arithmetic, story, story,
            counting, echo, json_task, json_task, tool_chat, tool_chat, tool_chat, self.json_answer,
        )  # fmt: skip
        return random.choice(makers)(random)

    def question(self) -> tuple[facts.Fact, str]:
        """A fact and one wording of its question."""
        fact = self.random.choice(self.facts)
        kinds = self.phrasings[fact.name]
        whole = self.mix.wide and self.random.random() < 0.6
        phrasing = self.random.choice(kinds[-1] if whole else self.random.choice(kinds))
        phrasing = phrasing[0].upper() + phrasing[1:]
        if not self.one_in(self.mix.rough):
            return fact, reword(phrasing, self.random)
        if self.random.random() < 0.12:
            phrasing += " " + self.random.choice(self.random.choice(kinds))
        return fact, rough.roughen(phrasing, self.random)

    def fact_turns(self, *, more: bool) -> list[Message]:
        fact, ask = self.question()
        turns = [user(ask), assistant(fact.answer)]
        if more:
            followed = fact.answer if self.random.random() < 0.12 else fact.more
            pool = AGAIN if followed is fact.answer else (MORE + rough.MORE * bool(self.mix.rough))
            turns += [user(surface(self.random.choice(pool), self.random)), assistant(followed)]
            if followed is fact.more and self.random.random() < 0.15:
                turns += [user(self.random.choice(MORE)), assistant(NO_MORE)]
        return turns

    def several(self, count: int) -> list[Message]:
        """Turns on different subjects in one chat."""
        turns: list[Message] = []
        for _ in range(count):
            kind = self.random.random()
            if kind < 0.8:
                turns += self.fact_turns(more=self.random.random() < 0.3)
            else:
                maker = self.random.choice((small_talk, unknown, arithmetic, echo, json_task))
                turns += maker(self.random).messages
        return turns

    def drill(self) -> list[Message]:
        """One to eight questions on facts; few are more likely."""
        turns: list[Message] = []
        for _ in range(min(self.random.randrange(1, 9), self.random.randrange(1, 9))):
            if self.random.random() < 0.9:
                turns += self.fact_turns(
                    more=self.random.random() < (0.3 if self.mix.rough else 0.15)
                )
            else:
                turns += self.aside()
        return turns

    def aside(self) -> list[Message]:
        """A question that is not about a fact."""
        ask, answer = self.random.choice((small_talk, unknown, unknown))(self.random).messages
        if self.mix.rough and self.random.random() < 0.5:
            ask = user(rough.roughen(ask["content"], self.random))
        return [ask, answer]

    def json_answer(self, random: Random) -> Chat:
        fact, ask = self.question()
        return json_fact(ask, fact, random)

    def with_system(self, chat: Chat) -> Chat:
        """Most chats go without a system message; the template then writes its own."""
        if self.random.random() < 0.75:
            return chat
        system = {"role": "system", "content": self.random.choice(SYSTEMS)}
        return replace(chat, messages=[system, *chat.messages])


def chats(mix: Mix, count: int) -> Iterator[Chat]:
    """The first `count` chats of the text that `mix` gives."""
    return itertools.islice(Corpus(mix).chats(), count)
