"""A completion on the wire, in one or in chunks; with `echo` the prompt stands before the text."""

from collections.abc import Sequence
from typing import Any

from r3mes.protocol.completions import CompletionBody
from r3mes.replica.answer import Answer
from r3mes.replica.choice import Piece, TokenInfo
from r3mes.replica.echo import Echo
from r3mes.replica.logprobs import completion_logprobs, prompt_logprobs
from r3mes.replica.wire import Frames, Identity, to_json


class CompletionShape:
    """`echoes` holds one Echo a prompt, and none at all without `echo`."""

    def __init__(
        self, body: CompletionBody, answer: Answer, identity: Identity, echoes: Sequence[Echo]
    ) -> None:
        self._body = body
        self._answer = answer
        self._identity = identity
        self._frames = Frames(identity, body, answer.usage)
        self._echoes = echoes
        self._opened: set[int] = set()

    def opening(self, index: int) -> bytes:
        """The prompt, where it is to be echoed."""
        if index in self._opened or not self._echoes:
            return b""
        self._opened.add(index)
        return self._chunk(index, self._echoed(index), opening=True)

    def piece(self, index: int, piece: Piece) -> bytes:
        return self._chunk(index, self._shifted(index, piece)) if piece else b""

    def closing(self) -> bytes:
        return self._frames.closing()

    def whole(self, pieces: Sequence[Piece]) -> bytes:
        fields = self._identity.fields()
        fields["choices"] = [self._whole_choice(index, piece) for index, piece in enumerate(pieces)]
        fields["usage"] = self._answer.usage().fields()
        return to_json(fields)

    def _whole_choice(self, index: int, piece: Piece) -> dict[str, Any]:
        piece = self._shifted(index, piece)
        if self._echoes:
            echoed = self._echoed(index)
            piece.text = echoed.text + piece.text
            piece.tokens = echoed.tokens + piece.tokens
        choice = self._choice(index, piece)
        if self._body.prompt_logprobs is not None:
            found = self._answer.choices[index].prompt_logprobs
            choice["prompt_logprobs"] = prompt_logprobs(found, self._answer.text)
        if self._body.return_token_ids:
            choice["prompt_token_ids"] = self._answer.jobs[index].prompt
        return choice

    def _choice(self, index: int, piece: Piece) -> dict[str, Any]:
        choice: dict[str, Any] = {
            "index": index,
            "text": piece.text,
            "logprobs": None,
            "finish_reason": piece.finish,
            "stop_reason": piece.stop,
            "prompt_logprobs": None,
        }
        most = self._body.logprobs
        if most is not None:
            choice["logprobs"] = completion_logprobs(piece.tokens, self._answer.text, most=most)
        if self._body.return_token_ids:
            choice["token_ids"] = piece.ids
        return choice

    def _chunk(self, index: int, piece: Piece, *, opening: bool = False) -> bytes:
        choice = to_json(self._choice(index, piece))
        return self._frames.chunk(choice, text=len(piece.text), opening=opening)

    def _echoed(self, index: int) -> Piece:
        echo = self._echo(index)
        found = self._answer.choices[index].prompt_logprobs
        if self._body.logprobs is None or found is None:
            return Piece(text=echo.text)
        return Piece(text=echo.text, tokens=echo.tokens(self._answer.jobs[index].prompt, found))

    def _shifted(self, index: int, piece: Piece) -> Piece:
        """The piece with its tokens' places counted from the start of the echoed prompt."""
        if not self._echoes:
            return piece
        by = len(self._echo(index).text)
        tokens = [
            TokenInfo(info.token, info.logprob, info.start + by, info.end + by)
            for info in piece.tokens
        ]
        return Piece(piece.text, piece.ids, tokens, piece.finish, piece.stop)

    def _echo(self, index: int) -> Echo:
        return self._echoes[index // (len(self._answer.jobs) // len(self._echoes))]
