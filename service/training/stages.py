"""The stages of a training run and what each of them reads.

The first learns the language of the answers. In the second the first tokens of an answer weigh
more, because they choose the answer. The third drills only those, many questions to a row, and the
fourth does so with more wordings. The fifth goes back to whole chats; the sixth and the seventh add
rough wording and copying. The eighth practises small sums and copying, the ninth reads a bit of
everything with half of the questions rough, and the last does the same with more drills and a rate
that falls to nothing; these three save the running average of their weights. Each begins with the
weights that the one before saved and with a new optimizer.
"""

from dataclasses import dataclass
from functools import partial

from training.corpus import Mix


@dataclass(frozen=True)
class Stage:
    """One pass with its own text, optimizer and rate."""

    mix: Mix
    steps: int
    horizon: int  # the step at which the cosine would end
    rate: float
    warmup: int
    opening: int  # so many tokens at the beginning of an answer
    opening_weight: float  # count so much
    rows: int = 4
    length: int = 512
    long_length: int = 2048
    long_every: int = 12  # one step in so many has rows of `long_length`
    decay: float = 0.05
    average: float = 0.0  # decay of the running average of the weights, which is what is saved


LATE = partial(Stage, opening=12, opening_weight=3.0, rows=8, length=256, long_every=25)
STAGES = (
    Stage(Mix(1), 400, 800, rate=2.5e-3, warmup=60, opening=8, opening_weight=1.0, rows=8),
    Stage(Mix(3), 200, 1000, rate=1.5e-3, warmup=40, opening=8, opening_weight=5.0),
    Stage(Mix(4, drills=1), 300, 1000, rate=1.5e-3, warmup=20, opening=12, opening_weight=1.0),
    Stage(
        Mix(5, drills=1, wide=True),
        steps=250,
        horizon=600,
        rate=1.5e-3,
        warmup=10,
        opening=12,
        opening_weight=1.0,
        long_every=50,
    ),
    LATE(Mix(6, drills=0.6, wide=True), 1000, 1000, rate=1.2e-3, warmup=10),
    LATE(
        Mix(7, drills=0.5, copies=0.4, wide=True, rough=1),
        steps=1200,
        horizon=1200,
        rate=1.3e-3,
        warmup=20,
    ),
    LATE(
        Mix(8, drills=0.5, copies=0.2, wide=True, rough=1),
        steps=1000,
        horizon=1000,
        rate=1.3e-3,
        warmup=20,
    ),
    LATE(
        Mix(9, drills=0.4, wide=True, rough=1, practice=0.5),
        steps=1500,
        horizon=2500,
        rate=1.5e-3,
        warmup=40,
        average=0.99,
    ),
    LATE(
        Mix(10, drills=0.5, wide=True, rough=0.5, practice=0.25),
        steps=1300,
        horizon=3200,
        rate=1.3e-3,
        warmup=40,
        average=0.997,
    ),
    LATE(
        Mix(11, drills=0.6, wide=True, rough=0.5, practice=0.12),
        steps=1100,
        horizon=1100,
        rate=0.9e-3,
        warmup=10,
        average=0.995,
    ),
)
TOKENIZER_MIX = Mix(2)
