import random

from r3mes.bench.prompts import fit, prompt


def test_two_observations_tell_the_words_for_any_length() -> None:
    length = fit((16, 30), (64, 102))  # 6 tokens of template, 1.5 a word

    assert 100 == length.words_for(156)


def test_a_prompt_has_at_least_one_word() -> None:
    assert 1 == fit((16, 30), (64, 102)).words_for(3)


def test_a_server_that_counts_no_tokens_gets_a_word_for_a_token_at_most() -> None:
    assert fit((16, 0), (64, 0)).words_for(10) == 100


def test_prompts_are_repeatable_and_differ_from_their_first_word_on() -> None:
    rng = random.Random(5)
    first, second = prompt(20, rng=rng), prompt(20, rng=rng)

    assert first == prompt(20, rng=random.Random(5))
    assert first.split()[:3] != second.split()[:3]
    assert 20 == len(first.split())
