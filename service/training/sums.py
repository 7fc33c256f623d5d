"""Chats about numbers and fixed lists: sums, counting, the alphabet, days and months."""

from random import Random

from training.chat import Chat, exchange
from training.wording import surface

LISTS = {
    "the days of the week": "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday",
    "the months of the year": (
        "January, February, March, April, May, June, July, August, September, October, "
        "November, December"
    ),
    "the letters of the alphabet": ", ".join("abcdefghijklmnopqrstuvwxyz"),
    "the four seasons": "spring, summer, autumn, winter",
    "five colours": "red, green, blue, yellow, white",
    "three animals": "cat, dog, horse",
    "three fruits": "apple, pear, plum",
}
THINGS = ("apples", "books", "pods", "coins", "eggs", "letters", "stones", "replicas", "cups")
NAMES = ("Ada", "Ben", "Mia", "Tom", "Ida", "Sam", "Eva", "Leo", "Ann", "Max")
PLUS = ("What is {} + {}?", "{} + {} =", "How much is {} plus {}?", "Add {} and {}.", "{}+{}")
MINUS = ("What is {} - {}?", "{} - {} =", "How much is {} minus {}?", "Calculate {} - {}.")
TIMES = ("What is {} * {}?", "{} x {}?", "How much is {} times {}?", "Multiply {} by {}.")


def arithmetic(random: Random) -> Chat:
    """A sum, a difference or a product of small numbers."""
    kind = random.random()
    if kind < 0.45:
        a, b = random.randrange(random.choice((10, 100))), random.randrange(50)
        return sum_of(random, PLUS, "+", (a, b, a + b))
    if kind < 0.7:
        a = random.randrange(1, random.choice((20, 100)))
        b = random.randrange(a + 1)
        return sum_of(random, MINUS, "-", (a, b, a - b))
    if kind < 0.85:
        a, b = random.randrange(11), random.randrange(11)
        return sum_of(random, TIMES, "*", (a, b, a * b))
    return word_problem(random)


def sum_of(
    random: Random, forms: tuple[str, ...], sign: str, numbers: tuple[int, int, int]
) -> Chat:
    a, b, result = numbers
    ask = surface(random.choice(forms).format(a, b), random)
    return exchange(ask, f"{a} {sign} {b} = {result}")


def word_problem(random: Random) -> Chat:
    name, things = random.choice(NAMES), random.choice(THINGS)
    a, b = random.randrange(2, 20), random.randrange(1, 10)
    if random.random() < 0.5 or b > a:
        ask = f"{name} has {a} {things} and gets {b} more. How many {things} does {name} have?"
        return exchange(ask, f"{name} has {a} + {b} = {a + b} {things}.")
    ask = f"{name} has {a} {things} and gives {b} away. How many {things} are left?"
    return exchange(ask, f"{name} has {a} - {b} = {a - b} {things}.")


def counting(random: Random) -> Chat:
    """Count upwards, or recite one of the fixed lists."""
    if random.random() < 0.4:
        name = random.choice(list(LISTS))
        form = random.choice(("Name {}.", "List {}.", "What are {}?", "Tell me {}.", "Recite {}."))
        return exchange(surface(form.format(name), random), LISTS[name] + ".")
    first = random.choice((1, 1, 1, random.randrange(60)))
    last = first + random.choice((4, 9, 9, 19, 19, 29, 49))
    form = random.choice(("Count from {} to {}.", "Count {} to {}", "Write the numbers {} to {}."))
    if first == 1 and random.random() < 0.3:
        form = random.choice(("Count to {1}.", "Please count up to {1}."))
    numbers = ", ".join(map(str, range(first, last + 1)))
    return exchange(surface(form.format(first, last), random), numbers + ".")


def echo(random: Random) -> Chat:
    """Repeat given words."""
    pool = (*NAMES, *THINGS, "token", "stream", "blue", "river", "42", "hello", "engine", "ready")
    text = " ".join(random.choice(pool) for _ in range(random.randrange(1, 6)))
    form = random.choice(("Repeat: {}", "Say: {}", "Repeat after me: {}", "Echo {}", 'Say "{}".'))
    return exchange(form.format(text), text)
