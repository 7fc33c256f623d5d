"""What a server with the OpenAI API answers, as far as our command line reads it."""

import msgspec

from r3mes.errors import CallFailed


class Delta(msgspec.Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None


class Choice(msgspec.Struct, frozen=True):
    delta: Delta = Delta()
    text: str | None = None
    finish_reason: str | None = None

    @property
    def piece(self) -> str:
        """The new text, whichever of the two endpoints it came from."""
        return self.delta.content or self.text or self.delta.reasoning_content or ""


class Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Fault(msgspec.Struct, frozen=True):
    message: str = ""
    code: str | int | None = None


class Chunk(msgspec.Struct, frozen=True):
    """One event of a stream, or the body of an error: the fields that are absent stay empty."""

    choices: list[Choice] = []
    usage: Usage | None = None
    error: Fault | str | None = None  # some servers say it in a bare string

    @property
    def piece(self) -> str:
        return "".join(choice.piece for choice in self.choices)


DONE = b"[DONE]"
UNAUTHORIZED = 401
_chunk = msgspec.json.Decoder(Chunk)


def read_chunk(payload: bytes) -> Chunk:
    """Raises CallFailed when the payload is an error or no chunk at all."""
    try:
        chunk = _chunk.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CallFailed(f"An event could not be read: {error}", code="bad answer") from error
    if chunk.error:
        fault = as_fault(chunk.error)
        raise CallFailed(fault.message, code=str(fault.code or "error event"))
    return chunk


def refusal(status: int, body: bytes) -> CallFailed:
    """What an answer with an error status says, in one sentence."""
    try:
        fault = as_fault(_chunk.decode(body).error or "")
    except (msgspec.DecodeError, UnicodeDecodeError):
        fault = Fault(message=body[:200].decode(errors="replace").strip())
    sentence = fault.message or "no reason was given"
    if status == UNAUTHORIZED:
        sentence += " Here the key is given by --api-key or OPENAI_API_KEY."
    return CallFailed(f"{status}: {sentence}", code=f"{status} {fault.code or ''}".strip())


def as_fault(error: Fault | str) -> Fault:
    return Fault(message=error) if isinstance(error, str) else error
