"""Rewords a question the way people do: other words, openings, missing words, slips of the pen."""

import re
from random import Random

GROUPS = """
start, launch, boot, run, fire up
stop, shut down, terminate, end
stops, shuts down, terminates, ends
replica, pod, instance
replicas, pods, instances
answer, reply, response
answers, replies, responses
request, call, query
requests, calls, queries
client, caller, user
server, service, system
show, display, print, present
see, look at, view, inspect
change, adjust, modify, alter
setting, option, parameter
settings, options, parameters, values
variable, environment variable, env var
large, big, huge
wrong, bad, invalid, incorrect
fast, quick, quickly, speedy
speed, performance, throughput
machine, computer, laptop, box, PC
crash, die, fail, break
dies, crashes, fails, breaks
killed, lost, gone
conversation, dialogue, chat, discussion
history, past, earlier messages, everything said before
forget, erase, throw away, clear, drop
remove, delete, take away
tell me, say, let me know
explain, describe, outline, clarify, spell out
find, look up, discover
use, employ, work with, take
make, build, create, produce
need, require, want
needed, required, necessary
send, submit, post, pass
get, receive, obtain, fetch
gets, receives, obtains
wait, stay, hang on
finish, complete, end
happens, occurs, takes place, goes on
choose, pick, select, decide on
limit, cap, bound, restrict
model, LLM, checkpoint, network
command, instruction, program
queue, line, waiting line, backlog
is full, has no room, is exhausted, has no more space
error, failure, problem, fault
error, error code, status, status code
memory, RAM, space
network, internet, web
GPU, graphics card, CUDA device, accelerator
path, URL, address, endpoint, route
begin, start
same, equal, identical, alike
repeat, reproduce
which, what
how long, how many seconds, how much time
mean, stand for
talk to, speak to, speak with, chat with
terminal, shell, console, terminal window
measure, test, check, find out
cluster, Kubernetes cluster, k8s cluster
Kubernetes, k8s
install, deploy, set up, put
purpose, job, point, task, use
does it, will it, can it
keep, store, save, hold
prompt, input, question
too long, too large, over the limit
give, return, deliver
reach, access, contact
watch, follow, monitor, observe
tokens, words
default, standard, preset
wish to, want to, would like to
my, our
upgrade, update
secret, key
log, record, write down
allowed, permitted, possible
image, container image
stream, token stream
new, fresh, another
number, count, amount
several, many, multiple
is there, do you have, does it have
"""

OPENINGS = (
    "Hi, ",
    "Hello. ",
    "Hey, ",
    "Question: ",
    "Quick question: ",
    "Please tell me: ",
    "I wonder, ",
    "Tell me, ",
    "Sorry, ",
    "Also: ",
    "One more thing: ",
    "Good morning. ",
    "In R3MES, ",
    "With R3MES, ",
    "In this project, ",
    "For this service: ",
    "Do you know: ",
    "I am new here. ",
)
CLOSINGS = (
    " Thanks.",
    " Please answer briefly.",
    " Thank you!",
    " In short?",
    " Please.",
    " Any idea?",
)
SMALL = frozenset(
    ("a", "an", "the", "is", "are", "do", "does", "of", "to", "in", "on", "at", "it", "that")
)


Words = dict[str, tuple[str, ...]]


def table(groups: str) -> Words:
    """Each word or phrase with those that can stand for it."""
    found: dict[str, list[str]] = {}
    for line in filter(None, groups.splitlines()):
        words = [word.strip() for word in line.split(",")]
        for word in words:
            found.setdefault(word, []).extend(other for other in words if other != word)
    return {word: tuple(others) for word, others in found.items()}


def finder(words: Words) -> re.Pattern[str]:
    """Finds any of `words`, the longest first, as a whole word."""
    longest_first = sorted(map(re.escape, words), key=len, reverse=True)
    return re.compile(r"(?<![\w/-])(" + "|".join(longest_first) + r")(?![\w/-])")


SYNONYMS = table(GROUPS)
FIND = finder(SYNONYMS)


def reword(text: str, random: Random) -> str:
    """One natural variation of `text`; about a third come back unchanged."""
    if random.random() < 0.45:
        text = swap(text, random, share=0.35, words=SYNONYMS, find=FIND)
    if random.random() < 0.15:
        text = drop_words(text, random)
    if random.random() < 0.2:
        opening = random.choice(OPENINGS)
        text = opening + (text if random.random() < 0.5 else lower_first(text))
    if random.random() < 0.06:
        text += random.choice(CLOSINGS)
    return surface(text, random)


def surface(text: str, random: Random) -> str:
    """Case, final mark and slips; the words stay."""
    if random.random() < 0.12:
        text = text.lower()
    if random.random() < 0.12:
        text = text.rstrip("?.!")
    if random.random() < 0.05:
        text = slip(text, random)
    return text


def lower_first(text: str) -> str:
    second_small = len(text) > 1 and not text[1].isupper()
    return text[0].lower() + text[1:] if second_small else text


def swap(text: str, random: Random, *, share: float, words: Words, find: re.Pattern[str]) -> str:
    """Put another word of its group for a `share` of the words found."""

    def other(found: re.Match[str]) -> str:
        word = found.group(0)
        return random.choice(words[word]) if random.random() < share else word

    return find.sub(other, text)


def drop_words(text: str, random: Random) -> str:
    """Leave out some small words, as people do in a search box."""
    kept = [w for w in text.split(" ") if w.lower() not in SMALL or random.random() < 0.5]
    return " ".join(kept) or text


def slip(text: str, random: Random) -> str:
    """Swap two neighbouring letters somewhere."""
    if len(text) < 4:
        return text
    at = random.randrange(1, len(text) - 2)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
