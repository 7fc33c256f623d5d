"""A batch on its way, as the engine sees it: whose rows it has and what it counts as. Pure."""

from dataclasses import dataclass, field
from typing import Literal, Self

from r3mes.engine.runner import Batch, Flight, Row, RowResult, Runner
from r3mes.engine.scheduler import Plan
from r3mes.engine.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Share:
    """One sequence's row, and how often the sequence had given way when that was launched."""

    sequence: Sequence
    row: Row
    preemptions: int

    @property
    def lost(self) -> bool:
        """Others have the blocks by now that it wrote to."""
        return self.sequence.preemptions > self.preemptions


@dataclass(frozen=True, slots=True)
class Crashed:
    """The flight of a batch that could not be launched: it fails when it is its turn to land."""

    error: Exception

    def land(self) -> list[RowResult]:
        raise self.error


@dataclass(slots=True)
class Launch:
    """`decoding` are the rows that had only their newest id to feed."""

    shares: list[Share]
    decoding: int
    began: float
    flight: Flight = field(init=False)

    @classmethod
    def of(cls, plan: Plan, runner: Runner, *, began: float) -> Self:
        """What is planned, launched: the sequences count as computed so far."""
        decoding = sum(sequence.decoding for sequence in plan)
        shares = []
        for place, (sequence, count) in enumerate(plan.items()):
            row = sequence.row(count)
            sequence.launched(row, place=place)
            shares.append(Share(sequence, row, sequence.preemptions))
        launch = cls(shares, decoding, began)
        try:
            launch.flight = runner.launch(Batch(tuple(share.row for share in shares)))
        except Exception as error:  # noqa: BLE001 - it is told at the landing
            launch.flight = Crashed(error)
        return launch

    @property
    def tokens(self) -> int:
        return sum(len(share.row.tokens) for share in self.shares)

    @property
    def checked(self) -> int:
        """Tokens that streams waited for, or that were drafted for them."""
        return self.decoding + sum(len(share.row.drafts) for share in self.shares)

    @property
    def kind(self) -> Literal["prefill", "decode", "mixed"]:
        if not self.decoding:
            return "prefill"
        return "decode" if self.decoding == len(self.shares) else "mixed"
