"""Short stories from a small grammar, long enough to watch a stream."""

from random import Random

from training.chat import Chat, exchange
from training.wording import surface

HEROES = (
    "fox", "robot", "cat", "child", "farmer", "dragon", "sailor", "mouse", "owl", "baker",
    "engineer", "bear", "poet", "dog", "frog", "pilot", "rabbit", "wizard", "gardener", "turtle",
)  # fmt: skip
NAMES = ("Ada", "Ben", "Mia", "Tom", "Ida", "Sam", "Eva", "Leo", "Nora", "Max")
PLACES = (
    "forest", "village", "castle", "harbour", "valley", "city", "garden", "mountain", "lake",
    "library", "data centre", "island",
)  # fmt: skip
THINGS = ("lamp", "key", "map", "bell", "book", "boat", "clock", "letter", "stone", "mirror")
OPENINGS = (
    "Once upon a time there was a {hero} named {name} who lived in a {place}.",
    "Long ago, in a quiet {place}, there lived a {hero} named {name}.",
    "In a {place} far away lived a {hero}, and the name of the {hero} was {name}.",
)
FINDS = (
    "One morning {name} found an old {thing} under a tree.",
    "One evening {name} saw a small {thing} shining on the ground.",
    "On a rainy day {name} found a {thing} behind the house.",
)
TROUBLES = (
    "The {thing} was broken, and nobody in the {place} knew how to mend it.",
    "Nobody knew whose {thing} it was, so {name} asked every neighbour.",
    "The {thing} began to hum, and every light in the {place} went out.",
)
JOURNEYS = (
    "So {name} packed some bread, walked for three days and crossed a cold river.",
    "So {name} climbed the highest hill and waited there until the stars came out.",
    "So {name} asked a wise old owl, who thought for a long time and then spoke.",
)
TURNS = (
    '"Be patient," said the owl, "for the smallest part is often the most important one."',
    "On the way {name} helped a lost child, and the child knew the answer.",
    "At last {name} saw that a tiny piece was missing, and it had been there all the time.",
)
ENDINGS = (
    "In the end the {thing} worked again, and the whole {place} danced until midnight.",
    "When {name} came home, everybody in the {place} was happy, and the {thing} shone brightly.",
    "From that day on the {thing} stood in the middle of the {place} for everyone to see.",
)
LAST = (
    "And {name} slept well that night.",
    "And {name} the {hero} was never lonely again.",
    "And if the {thing} is not broken, it is shining still.",
)
ASKS = (
    "Tell me a story about a {hero}.",
    "Write a short story about a {hero}.",
    "Tell me a story about a {hero} named {name}.",
    "Write a story about a {hero} and a {thing}.",
    "I would like to hear a story about a {hero} in a {place}.",
    "Can you tell a tale of a {hero}?",
    "Write a fairy tale with a {hero} and a {thing} in a {place}.",
    "Make up a story about {name} the {hero}.",
)
PLAIN = (
    "Tell me a story.",
    "Write a short story.",
    "Please tell me a story",
    "I want to hear a story.",
    "Tell me a long story.",
    "Write a long story.",
    "Tell a tale.",
    "Once upon a time",
    "Write something long.",
    "Can you write a story?",
)


def story(random: Random) -> Chat:
    """A request for a story and the story."""
    words = {
        "hero": random.choice(HEROES),
        "name": random.choice(NAMES),
        "place": random.choice(PLACES),
        "thing": random.choice(THINGS),
    }
    plain = random.random() < 0.25
    ask = random.choice(PLAIN if plain else ASKS)
    parts = (OPENINGS, FINDS, TROUBLES, JOURNEYS, TURNS, ENDINGS, LAST)
    text = " ".join(random.choice(part) for part in parts).format(**words)
    return exchange(surface(ask.format(**words), random), text.replace("a island", "an island"))
