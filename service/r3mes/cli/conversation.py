"""A chat with a model: the messages so far and the next answer, piece by piece.

Knows the wire; knows no terminal.
"""

from collections.abc import Generator, Iterator

import httpx

from r3mes.cli.server import failures_in_one_sentence
from r3mes.client.answers import DONE, read_chunk, refusal

Message = dict[str, str]


class Conversation:
    def __init__(
        self, client: httpx.Client, *, model: str, system: str | None, max_tokens: int | None
    ) -> None:
        self.client = client
        self.asking = {"model": model, "max_completion_tokens": max_tokens, "stream": True}
        self.beginning: list[Message] = [{"role": "system", "content": system}] if system else []
        self.messages = list(self.beginning)

    def reset(self) -> None:
        self.messages = list(self.beginning)

    def answer(self, question: str) -> Generator[str]:
        """The pieces of the answer; closed early, what was said so far is remembered.

        Raises CallFailed; then the question is forgotten, so that it can be asked again.
        """
        asked: list[Message] = [*self.messages, {"role": "user", "content": question}]
        said = ""
        try:
            for piece in self._stream(asked):
                said += piece
                yield piece
        except (GeneratorExit, KeyboardInterrupt):
            self._remember(asked, said)
            raise
        self._remember(asked, said)

    def _remember(self, asked: list[Message], said: str) -> None:
        self.messages = [*asked, {"role": "assistant", "content": said}]

    def _stream(self, messages: list[Message]) -> Iterator[str]:
        body = {**self.asking, "messages": messages}
        with (
            failures_in_one_sentence(str(self.client.base_url)),
            self.client.stream("POST", "/v1/chat/completions", json=body) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise refusal(response.status_code, response.read())
            for line in response.iter_lines():
                payload = line.removeprefix("data:").strip().encode()
                if line.startswith("data:") and payload != DONE:
                    yield read_chunk(payload).piece
