"""A chat answer on the wire, in one or in chunks. Knows no engine."""

from collections.abc import Sequence
from typing import Any

from r3mes.protocol.chat import ChatBody
from r3mes.replica.answer import Answer
from r3mes.replica.choice import Piece
from r3mes.replica.logprobs import chat_logprobs
from r3mes.replica.wire import NULL, Frames, Identity, to_json


class ChatShape:
    def __init__(self, body: ChatBody, answer: Answer, identity: Identity) -> None:
        self._answer = answer
        self._identity = identity
        self._frames = Frames(identity, body, answer.usage)
        self._logprobs = bool(body.logprobs)
        self._ids = bool(body.return_token_ids)
        self._opened: set[int] = set()

    def opening(self, index: int) -> bytes:
        """The chunk that begins a choice, and only it, tells the role."""
        if index in self._opened:
            return b""
        self._opened.add(index)
        prompt = self._answer.jobs[index].prompt
        extra = b',"prompt_token_ids":' + to_json(prompt) if self._ids else b""
        delta = b'{"role":"assistant","content":""}'
        return self._chunk(index, delta, extra=extra, opening=True)

    def piece(self, index: int, piece: Piece) -> bytes:
        """A chunk with text if there is any, and one more for the end of the choice."""
        chunks = []
        if piece.text or piece.tokens:
            text = to_json(piece.text)
            logprobs = to_json(self._logprobs_of(piece)) if self._logprobs else NULL
            delta = b'{"content":' + text + b"}"
            extra = self._id_field(piece)
            size = len(text)
            chunks.append(self._chunk(index, delta, logprobs=logprobs, extra=extra, text=size))
            piece = Piece(finish=piece.finish, stop=piece.stop)
        if piece.finish:
            extra = b',"stop_reason":' + to_json(piece.stop) + self._id_field(piece)
            chunks.append(self._chunk(index, b"{}", finish=to_json(piece.finish), extra=extra))
        return b"".join(chunks)

    def closing(self) -> bytes:
        return self._frames.closing()

    def whole(self, pieces: Sequence[Piece]) -> bytes:
        fields = self._identity.fields()
        fields["choices"] = [self._choice(index, piece) for index, piece in enumerate(pieces)]
        fields["usage"] = self._answer.usage().fields()
        if self._ids:
            fields["prompt_token_ids"] = self._answer.jobs[0].prompt
        return to_json(fields)

    def _choice(self, index: int, piece: Piece) -> dict[str, Any]:
        choice = {
            "index": index,
            "message": {"role": "assistant", "content": piece.text, "refusal": None},
            "logprobs": self._logprobs_of(piece) if self._logprobs else None,
            "finish_reason": piece.finish,
            "stop_reason": piece.stop,
        }
        if self._ids:
            choice["token_ids"] = piece.ids
        return choice

    def _logprobs_of(self, piece: Piece) -> dict[str, Any]:
        return chat_logprobs(piece.tokens, self._answer.text)

    def _id_field(self, piece: Piece) -> bytes:
        return b',"token_ids":' + to_json(piece.ids) if self._ids else b""

    def _chunk(
        self,
        index: int,
        delta: bytes,
        *,
        logprobs: bytes = NULL,
        finish: bytes = NULL,
        extra: bytes = b"",
        text: int = 0,
        opening: bool = False,
    ) -> bytes:
        choice = b'{"index":%d,"delta":%b,"logprobs":%b,"finish_reason":%b%b}' % (
            index,
            delta,
            logprobs,
            finish,
            extra,
        )
        return self._frames.chunk(choice, text=text, opening=opening)
