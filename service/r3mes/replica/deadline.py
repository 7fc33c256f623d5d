"""How long a client is willing to wait, as it says in its headers."""

import math
import time

from starlette.datastructures import Headers

from r3mes.errors import DeadlineExceeded, InvalidRequest

HEADER = "x-r3mes-deadline"  # seconds from now, decimal
HINT = "x-stainless-read-timeout"  # what the official clients send: seconds without a byte
LONGEST = 1e9


def deadline_of(headers: Headers, *, longest: float, stream: bool) -> float:
    """Monotonic time at which the answer is worth nothing any more; at most `longest` from now.

    Raises DeadlineExceeded when no time is left. The hint counts only where the first byte is
    also the last: a stream keeps its client's reads short.
    """
    budget = min(longest, declared(headers))
    if not stream:
        budget = min(budget, hinted(headers))
    if budget <= 0:
        raise DeadlineExceeded("The deadline of the request has passed.")
    return time.monotonic() + budget


def declared(headers: Headers) -> float:
    text = headers.get(HEADER)
    if text is None:
        return math.inf
    seconds = number(text)
    if seconds is None or seconds < 0:
        raise InvalidRequest(f"{HEADER} is a number of seconds, 0 or more.", param=HEADER)
    return seconds


def hinted(headers: Headers) -> float:
    seconds = number(headers.get(HINT, ""))
    return seconds if seconds is not None and seconds > 0 else math.inf


def number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) <= LONGEST else None
