"""One request's choices together: news in, pieces out, and what it all cost. Knows no wire."""

import time
from collections.abc import Sequence

import msgspec

from r3mes.engine.messages import Update
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
        """A piece for each update; raises the error that ended one of the choices."""
        pieces = [
            (index, self._take(index, update, generation))
            for index, update in await anext(generation)
            if self.choices[index].finish is None  # it goes on a little after a stop string
        ]
        self._account()
        return pieces

    def _take(self, index: int, update: Update, generation: Generation) -> Piece:
        choice = self.choices[index]
        piece = choice.take(update)
        stamps = choice.stamps
        if piece.finish is not None and update.finish is None:  # the engine learns of it now
            generation.stop(index)
            if stamps is not None:
                stamps = msgspec.structs.replace(stamps, finished=time.monotonic())
        self._exchange.stamps[index] = stamps
        self._exchange.finish_reasons[index] = piece.finish
        return piece

    def usage(self) -> Usage:
        exchange = self._exchange
        return Usage(
            prompt=exchange.prompt_tokens,
            completion=exchange.completion_tokens,
            cached=exchange.cached_tokens,
        )

    def _account(self) -> None:
        exchange = self._exchange
        exchange.first_chunk = exchange.first_chunk or time.monotonic()
        exchange.prompt_tokens = self._prompt_tokens
        exchange.completion_tokens = sum(choice.count for choice in self.choices)
        exchange.cached_tokens = sum(
            choice.stamps.cached_tokens for choice in self.choices[:: self._n] if choice.stamps
        )


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
