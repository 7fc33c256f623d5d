"""Turns outcomes into figures. Pure: knows no clock, no server, no terminal."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from r3mes.bench.caller import Outcome


@dataclass(frozen=True)
class Spread:
    """Percentiles of times, in milliseconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Figures:
    """One level of load. Times are of the requests that ended well; errors are counted by kind."""

    load: str
    requests: int
    errors: dict[str, int]
    seconds: float
    requests_per_s: float
    output_tokens_per_s: float
    prompt_tokens: float  # median of a request
    output_tokens: float
    first_token: Spread | None  # from the start of the request
    inter_token: Spread | None  # gaps between pieces of text, of all streams together
    whole: Spread | None


def summarize(load: str, outcomes: Sequence[Outcome]) -> Figures:
    good = [outcome for outcome in outcomes if outcome.error is None]
    begin = min((outcome.started for outcome in outcomes), default=0.0)
    end = max((outcome.ended for outcome in outcomes), default=0.0)
    seconds = end - begin
    per_second = 1 / seconds if seconds else 0.0
    return Figures(
        load=load,
        requests=len(outcomes),
        errors=dict(Counter(outcome.error for outcome in outcomes if outcome.error).most_common()),
        seconds=seconds,
        requests_per_s=len(good) * per_second,
        output_tokens_per_s=sum(outcome.output_tokens for outcome in good) * per_second,
        prompt_tokens=percentile([outcome.prompt_tokens for outcome in good], 50),
        output_tokens=percentile([outcome.output_tokens for outcome in good], 50),
        first_token=spread(o.arrivals[0] - o.started for o in good if o.arrivals),
        inter_token=spread(gap for o in good for gap in gaps(o.arrivals)),
        whole=spread(o.ended - o.started for o in good),
    )


def gaps(arrivals: Sequence[float]) -> Iterable[float]:
    return (later - earlier for earlier, later in pairwise(arrivals))


def spread(seconds: Iterable[float]) -> Spread | None:
    values = [value * 1000 for value in seconds]
    if not values:
        return None
    return Spread(*(percentile(values, share) for share in (50, 95, 99)))


def percentile(values: Sequence[float], share: float) -> float:
    """Between the two nearest ranks, in proportion; 0 for no values."""
    if not values:
        return 0.0
    ordered = sorted(values)
    rank = (len(ordered) - 1) * share / 100
    low = int(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)
