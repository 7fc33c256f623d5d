"""Prompts of a wanted length for a tokenizer that is only known by its counts.

Owns the words. Knows nothing of HTTP.
"""

import random
from typing import NamedTuple

TEXT = (
    "time year people way day man thing woman life child world school state family student group "
    "country problem hand part place case week company system program question work government "
    "number night point home water room mother area money story fact month lot right study book "
    "eye job word business issue side kind head house service friend father power hour game line "
    "end member law car city name president team minute idea body information back parent face "
    "level office door health person art war history party result change morning reason research "
    "girl guy moment air teacher force education foot boy age policy music market sense nation "
    "plan college interest death experience effect use class control field development role"
)
WORDS = TEXT.split()


class Length(NamedTuple):
    """Tokens of a prompt as a line over its words: the template's share and one word's."""

    fixed: float
    per_word: float

    def words_for(self, tokens: int) -> int:
        return max(1, round((tokens - self.fixed) / self.per_word))


def fit(fewer: tuple[int, int], more: tuple[int, int]) -> Length:
    """The line through two observations of (words, tokens)."""
    per_word = (more[1] - fewer[1]) / (more[0] - fewer[0])
    return Length(fixed=fewer[1] - per_word * fewer[0], per_word=max(per_word, 0.1))


def prompt(words: int, *, rng: random.Random) -> str:
    """Random words, so that no two prompts share a beginning that a prefix cache could reuse."""
    return " ".join(rng.choices(WORDS, k=words))
