"""One request's choices together: news in, pieces out, and what it all cost. Knows no wire."""

import time
from collections.abc import Sequence

import msgspec

from r3mes.engine.messages import Stamps, Update
from r3mes.replica.choice import Choice, Piece, Reading
from r3mes.replica.engine_client import Generation, Job
from r3mes.replica.exchange import Exchange
from r3mes.replica.text.model import TextModel
from r3mes.replica.wire import Usage


class Answer:
    """Prompt-major: choice k of prompt i is number i * n + k."""

    def __init__(
        self, jobs: Sequence[Job], reading: Reading, *, n: int, text: TextModel, exchange: Exchange
    ) -> None:
        self.jobs = jobs
        self.text = text
        self.choices = [
            Choice(text, reading, logprobs=job.params.logprobs is not None) for job in jobs
        ]
        self._n = n
        self._prompt_tokens = sum(len(job.prompt) for job in jobs[::n])
        self._exchange = exchange
        exchange.stamps = [None] * len(jobs)
        exchange.finish_reasons = [None] * len(jobs)

    @property
    def done(self) -> bool:
        return all(choice.finish is not None for choice in self.choices)

    async def next_pieces(self, generation: Generation) -> list[tuple[int, Piece]]:
        """A piece for each update, none after a nudge; raises the error that ended a choice."""
        return [
            (index, self._take(index, update, generation))
            for index, update in await anext(generation)
            if self.choices[index].finish is None  # it goes on a little after a stop string
        ]

    def _take(self, index: int, update: Update, generation: Generation) -> Piece:
        choice, exchange = self.choices[index], self._exchange
        count = choice.count
        piece = choice.take(update)
        exchange.completion_tokens += choice.count - count
        if update.stamps is not None:
            self._stamp(index, update.stamps)
        if piece.finish is not None:
            exchange.finish_reasons[index] = piece.finish
            if update.finish is None:  # the engine learns of it now
                self._stop(index, generation)
        return piece

    def usage(self) -> Usage:
        exchange = self._exchange
        return Usage(
            prompt=exchange.prompt_tokens,
            completion=exchange.completion_tokens,
            cached=exchange.cached_tokens,
        )

    def _stamp(self, index: int, stamps: Stamps) -> None:
        """The engine's first and last news of a choice bring its stamps."""
        exchange = self._exchange
        if exchange.first_chunk is None:
            exchange.first_chunk = time.monotonic()
            exchange.prompt_tokens = self._prompt_tokens
        exchange.stamps[index] = stamps
        exchange.cached_tokens = sum(it.cached_tokens for it in exchange.stamps[:: self._n] if it)

    def _stop(self, index: int, generation: Generation) -> None:
        generation.stop(index)
        stamps = self._exchange.stamps[index]
        if stamps is not None:
            ended = msgspec.structs.replace(stamps, finished=time.monotonic())
            self._exchange.stamps[index] = ended


class Gathered:
    """A choice whose pieces are put together again, for an answer in one."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._whole = Piece()

    def add(self, piece: Piece) -> None:
        whole = self._whole
        self._texts.append(piece.text)
        whole.ids += piece.ids
        whole.tokens += piece.tokens
        if piece.finish:
            whole.finish = piece.finish
            whole.stop = piece.stop

    def piece(self) -> Piece:
        self._whole.text = "".join(self._texts)
        return self._whole
