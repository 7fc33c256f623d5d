"""Rougher wording for the last stage: many synonyms, missing words, two questions in one.

It makes the model look at all the words of a question, and not at the shape of a sentence.
"""

from random import Random

from training.wording import GROUPS, finder, reword, swap, table

MORE_GROUPS = """
notice, see, realise, observe, learn
computation, work, calculation, processing
quick, fast, rapid, speedy, swift
have a look at, see, inspect, view, go through
comes back, is returned, is sent, arrives, is answered
rights, permissions, privileges, powers
collect, scrape, gather, pull, fetch, read
used up, gone, exhausted, full, empty
hangs up, leaves, goes away, disconnects, closes the connection, is gone
split, cut, divided, chopped, broken up
splitting, cutting, dividing, chopping
library, package, SDK, client
one by one, piece by piece, gradually, bit by bit, in parts
verify, check, test, prove, validate, confirm
misspell, mistype, write wrongly
mistake, typo, slip, spelling mistake
saved, stored, kept, written, recorded, logged
people, users, customers, clients, callers, somebody, someone, one
earlier, previous, old, past, former, already seen
beginnings, prefixes, starts, openings
permitted, allowed, okay, possible, fine
number, figure, count, amount
restart, kill and restart, start again
terminated, stopped, killed, shut down, told to stop
halfway through, in the middle of, during, in mid
lost, dropped, gone, missing
must, have to, should, need to
refused, rejected, denied, turned away, declined
accepted, taken, admitted, allowed
huge, very long, enormous, giant, overlong
text, document, words, input
maximum, largest, most, upper limit, cap
minimum, smallest, least
idle, unused, quiet, not used
night, weekend, quiet hours
reason, cause, purpose, point
hardware, machine, box, server, computer
deploy, install, bring up, set up, roll out, get onto
present, show, hand in, send, provide, give
password, key, token, credential, secret
variable, env var, environment variable, setting
final, last, closing
event, message, chunk, line
waiting, queued, in line, pending
abbreviation, letters, short form, acronym
own, private, personal
decide, choose, pick, determine, know
divide, share, spread
job, role, duty, task, part, purpose
"""
TABLE = table(GROUPS + MORE_GROUPS)
FIND = finder(TABLE)
LEADS = (
    "I have a question. ", "My colleague asks: ", "We use it at work. ", "I read the docs but ",
    "Just curious: ", "For my notes: ", "Something else: ", "I am not sure: ", "To be clear, ",
    "Let me ask: ", "Short answer please: ", "As an operator, ", "As a developer, ", "So, ",
    "And ", "But ", "Well, ", "By the way, ", "If you know, ", "In this system, ",
)  # fmt: skip
MORE = (
    "Tell me something else about it.", "Can you go into detail?", "Please say a bit more.",
    "What more is there?", "And further?", "I want to hear more.", "I would like more detail.",
    "More about this.", "Explain it a little more.", "Could you say more on this?", "How so?",
    "Do you know more?", "Add something.", "Give me some more information.", "Which else?",
    "Anything more about it?", "What else do I need to know?", "That was short, say more.",
    "Can you tell me more about this?", "Could you continue?", "Would you tell me more?",
    "Could you elaborate?", "Some more details would help.", "I need more information on it.",
    "I could need more about this.", "Can you give me another sentence?", "Is there another fact?",
    "What else can you say here?", "Let me know more about that.", "Keep going.", "More, please.",
    "Would you explain more?", "Could you give more detail on that?", "One more detail, please.",
    "Next?", "Tell me a bit more of it.", "Is that everything?", "What is also good to know?",
)  # fmt: skip


def roughen(text: str, random: Random) -> str:
    """`text` with other words, some of them missing, and with something in front."""
    if random.random() < 0.7:
        text = swap(text, random, share=0.45, words=TABLE, find=FIND)
    if random.random() < 0.3:
        text = lose_words(text, random)
    if random.random() < 0.2:
        text = random.choice(LEADS) + text[0].lower() + text[1:]
    return reword(text, random)


def lose_words(text: str, random: Random) -> str:
    """Leave out about a fifth of the words, never all."""
    words = text.split(" ")
    kept = [word for word in words if random.random() > 0.2]
    return " ".join(kept) if len(kept) > 1 else text
