"""One choice of an answer: takes the engine's updates, gives pieces of text in whole characters.

Counts tokens, finds stop strings, keeps logprobs beside the text they belong to. Knows neither the
wire's shapes nor the socket. Streaming and not, an answer is made of the same pieces.
"""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from r3mes.engine.messages import Logprob, Update
from r3mes.errors import InternalError, R3mesError, of_code
from r3mes.replica.text.model import TextModel
from r3mes.replica.text.stops import StopMatcher


@dataclass(frozen=True, slots=True)
class Reading:
    """How the client wants ids turned into text."""

    stops: Sequence[str] = ()
    include_stop: bool = False
    stop_ids: Collection[int] = ()
    skip_special: bool = True
    min_tokens: int = 0


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """A token with its probability, and where its text lies in the text of the choice."""

    token: int
    logprob: Logprob | None
    start: int
    end: int


@dataclass(slots=True)
class Piece:
    """What a delivery adds to a choice. `stop` is the stop string or id that ended it."""

    text: str = ""
    ids: list[int] = field(default_factory=list)
    tokens: list[TokenInfo] = field(default_factory=list)
    finish: str | None = None
    stop: str | int | None = None

    def __bool__(self) -> bool:
        return bool(self.text or self.tokens or self.finish)


class Choice:
    """`take` updates until `finish` is set; `count` is how many tokens the client has had."""

    def __init__(self, text: TextModel, reading: Reading, *, logprobs: bool) -> None:
        self.count = 0
        self.finish: str | None = None
        self.prompt_logprobs: list[Logprob | None] | None = None
        self._reading = reading
        self._detokenizer = text.detokenizer(skip_special=reading.skip_special)
        self._matcher = StopMatcher(reading.stops, include=reading.include_stop)
        self._logprobs = logprobs
        self._told = 0  # characters given away
        self._decoded = 0  # characters decoded
        self._ids: list[int] = []  # not yet in a piece
        self._tokens: deque[TokenInfo] = deque()  # whose text was not yet given away

    def take(self, update: Update) -> Piece:
        """Raises the error that ended the stream, if one did."""
        if update.finish == "error":
            raise failure(update)
        self.prompt_logprobs = update.prompt_logprobs or self.prompt_logprobs
        texts = []
        for index, token in enumerate(update.ids):
            logprob = update.logprobs[index] if update.logprobs else None
            ends = update.stop_token is not None and index == len(update.ids) - 1
            texts.append(self._read(token, logprob, ends=ends))
            if self._matcher.found is not None:
                return self._piece("".join(texts), finish="stop", stop=self._matcher.found)
        if update.finish is not None:
            texts.append(self._last_text())
            return self._end(update, "".join(texts))
        return self._piece("".join(texts))

    def _read(self, token: int, logprob: Logprob | None, *, ends: bool) -> str:
        """The text that this id sets free."""
        self.count += 1
        self._ids.append(token)
        if ends and not self._reading.include_stop:
            return ""
        text = self._detokenizer.feed(token)
        start, self._decoded = self._decoded, self._decoded + len(text)
        if self._logprobs:
            self._tokens.append(TokenInfo(token, logprob, start, self._decoded))
        return self._matcher.feed(text) if self.count > self._reading.min_tokens else text

    def _last_text(self) -> str:
        tail = self._detokenizer.finish()
        self._decoded += len(tail)
        text = self._matcher.feed(tail) if self.count > self._reading.min_tokens else tail
        return text if self._matcher.found is not None else text + self._matcher.finish()

    def _end(self, update: Update, text: str) -> Piece:
        if self._matcher.found is not None:
            return self._piece(text, finish="stop", stop=self._matcher.found)
        if update.finish == "abort":
            raise InternalError("The generation was stopped from within.")
        stop = update.stop_token if update.stop_token in self._reading.stop_ids else None
        return self._piece(text, finish=update.finish, stop=stop)

    def _piece(
        self, text: str, *, finish: str | None = None, stop: str | int | None = None
    ) -> Piece:
        self._told += len(text)
        self.finish = finish
        tokens = self._released(finish, cut=isinstance(stop, str))
        if not (text or tokens or finish):
            return Piece()
        ids, self._ids = self._ids, []
        return Piece(text, ids, tokens, finish, stop)

    def _released(self, finish: str | None, *, cut: bool) -> list[TokenInfo]:
        """Tokens go out with the piece that completes their text; cut-off ones never do."""
        tokens = []
        while self._tokens:
            first = self._tokens[0]
            whole = self._told >= first.end
            if not (finish and not cut) and not (self._told > first.start and (whole or finish)):
                break
            tokens.append(self._tokens.popleft())
        return tokens


def failure(update: Update) -> R3mesError:
    return of_code(update.error or "internal_error", update.message or "The generation failed.")
