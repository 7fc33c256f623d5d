"""What crosses the sockets between engine, API workers and supervisor: typed msgpack, no pickle.

Three conversations, all on local sockets in the run folder:

- worker → engine (`engine.sock`, DEALER → ROUTER): `ToEngine`; engine → worker: `Delivery`.
- engine → supervisor (`hub.sock`, DEALER → ROUTER): `EngineReport`; back: `ToEngine`.
- worker → supervisor (`hub.sock`): `ToHub`; supervisor → worker: `FromHub`.

What a worker says in one turn of its loop travels as the frames of one ZeroMQ message.
All times are seconds of `time.monotonic()`, which the processes of one machine share.
"""

from typing import Literal

import msgspec

ENGINE_SOCKET = "engine.sock"
HUB_SOCKET = "hub.sock"
ENGINE = b"engine"  # its name towards the supervisor

Finish = Literal["stop", "length", "abort", "error"]
AbortReason = Literal["client", "stop_string"]  # it left, or its text has ended
Phase = Literal["starting", "loading", "warming", "ready", "draining", "failed"]


class Message(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Base: the class name travels as the tag."""


class SamplingParams(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """How to choose tokens. Values were checked at the door; the engine checks ids again."""

    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0
    top_k: int = 0  # 0 is off
    min_p: float = 0.0
    repetition_penalty: float = 1.0  # over prompt and output
    presence_penalty: float = 0.0  # over output
    frequency_penalty: float = 0.0  # over output
    logit_bias: dict[int, float] = {}
    seed: int = 0  # always given: the API draws one where the client gave none
    max_tokens: int
    min_tokens: int = 0
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = None  # alternatives beside the chosen token; None is off
    prompt_logprobs: int | None = None  # the same for every prompt position

    @property
    def counts_output(self) -> bool:
        """Does the choice of a token hang on which ids came before?"""
        penalties = self.presence_penalty or self.frequency_penalty
        return bool(penalties or self.repetition_penalty != 1.0)


class Submit(Message, frozen=True):
    """One choice to generate. `stream` is unique within the sending worker."""

    stream: int
    request_id: str
    prompt: list[int]
    params: SamplingParams
    deadline: float | None


class Request(Message, frozen=True):
    """All choices of one request: either every one is taken into the line or none is."""

    choices: list[Submit]


class Abort(Message, frozen=True):
    """Stop these streams of the sending worker and free their blocks; unknown ones are ignored."""

    streams: list[int]
    reason: AbortReason


class AbortWorker(Message, frozen=True):
    """From the supervisor: that worker is gone, stop all its streams."""

    worker: str


ToEngine = Request | Abort | AbortWorker


class Logprob(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Natural-log probabilities at one position, floored at -9999."""

    token: int
    logprob: float
    rank: int  # 1 is the most likely
    top: list[tuple[int, float]]  # most likely first


class Stamps(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """When things happened to one stream in the engine; None when they did not."""

    queued: float
    scheduled: float | None = None
    first_token: float | None = None
    finished: float | None = None
    cached_tokens: int = 0  # prompt tokens found in the prefix cache
    preemptions: int = 0


class Update(msgspec.Struct, frozen=True, array_like=True):
    """News of one stream: the ids of this step, and how it ended if it did.

    `error` is the code of an error in `r3mes.errors` (`server_overloaded`, `deadline_exceeded`,
    `internal_error`, ...) and set exactly when `finish` is "error". A token that ended the stream
    (eos or stop id) is among `ids`, and `stop_token` names it.
    """

    stream: int
    ids: list[int]
    logprobs: list[Logprob] | None = None  # one for each of `ids`, when asked for
    prompt_logprobs: list[Logprob | None] | None = None  # once, first entry None
    finish: Finish | None = None
    stop_token: int | None = None
    error: str | None = None
    message: str | None = None
    stamps: Stamps | None = None  # with the first token and with `finish`


class Delivery(Message, frozen=True):
    """All news of one step for one worker."""

    updates: list[Update]


class Compute(msgspec.Struct, frozen=True, kw_only=True):
    """What computes the model, in words."""

    # `step`: whole steps in C++; `operators`: C++, or `cuda`: kernels, in stock modules; `torch`
    path: str = ""
    instructions: str = ""  # the instruction set, or kind of device, that all this is built for
    weights: str = ""
    kv: str = ""
    why: str = ""  # no faster path was taken


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What an API worker must know of the served model."""

    name: str
    path: str  # local folder with tokenizer and chat template; empty for the fake runner
    max_len: int  # prompt plus output, in tokens
    vocab_size: int  # ids at or above it are refused
    eos_token_ids: tuple[int, ...]
    dtype: str
    device: str
    fingerprint: str  # weights, tokenizer, dtype and template; equal means resumable
    defaults: dict[str, float]  # temperature, top_p, top_k, ... of generation_config
    compute: Compute = Compute()


class EngineStats(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot taken after a step."""

    waiting: int = 0
    running: int = 0
    capacity: int = 0  # most sequences in one batch
    max_waiting: int = 0
    blocks_free: int = 0
    blocks_used: int = 0
    blocks_cached: int = 0  # free for taking, still holding a reusable prefix
    block_size: int = 0
    prefix_hits: int = 0  # prompt tokens, running totals
    prefix_misses: int = 0
    chunks: int = 0  # prompt chunks that did not finish their prompt, running total
    preemptions: int = 0  # running total
    drafts: dict[str, int] = {}  # tokens guessed ahead: accepted and rejected, running totals
    aborts: dict[str, int] = {}  # by reason, running totals


class Step(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One forward pass."""

    kind: Literal["prefill", "decode", "mixed"]
    seconds: float
    tokens: int


class EngineReport(Message, frozen=True):
    """The engine's heartbeat: at once when the phase changes, else after steps, at most every 50 ms
    while busy, and every 500 ms when idle. `at` is when the engine's loop wrote it."""

    at: float
    phase: Phase
    progress: float  # 0 to 1 within the phase
    detail: str  # one line for people
    stats: EngineStats
    steps: list[Step]  # since the last report
    phase_seconds: dict[str, float]  # import, load, warm: as far as known
    model: ModelInfo | None  # from the moment the model's folder is known
    warm_ttft: float | None  # seconds, measured by the last warm-up generation
    slowest_step: float = 0.0  # seconds, the warm-up included; so long the heart cannot beat


class WorkerHello(Message, frozen=True):
    """First message of a worker; `ready` turns true when its tokenizer is loaded, or `failure`
    says in a line for people why it cannot be."""

    worker: str
    pid: int
    ready: bool
    failure: str | None = None


class Measurement(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One change of one metric: added to a counter, or observed `weight` times by a histogram."""

    name: str
    labels: tuple[str, ...]
    value: float
    weight: int = 1
    trace_id: str = ""  # of a sampled span that this observation may point to


class Measurements(Message, frozen=True):
    """Changes since the last message, applied in order by the supervisor, who owns all metrics."""

    items: list[Measurement]
    in_flight: int  # requests this worker is answering now
    closed: bool = False  # it knew, when it counted, that it takes no new ones


class Scrape(Message, frozen=True):
    """A worker was asked for /metrics."""

    ticket: int
    openmetrics: bool


class Flushed(Message, frozen=True):
    """Answer to `Flush`: what this worker measured before has been sent before."""

    ticket: int


ToHub = EngineReport | WorkerHello | Measurements | Scrape | Flushed


class ReplicaState(Message, frozen=True):
    """The supervisor's truth for probes and admission: sent on each change and on each report.

    `heartbeat` is when the engine last reported. `lingering` is true in the first part of a drain,
    in which new requests are still served; `cut` is true once the drain's time is over and what
    is unfinished must end with the `shutting_down` error.
    """

    phase: Phase
    progress: float
    detail: str
    started: float
    started_at: int  # the same moment as seconds since the epoch
    heartbeat: float
    lingering: bool
    cut: bool
    model: ModelInfo | None
    warm_ttft: float | None
    stats: EngineStats
    phase_seconds: dict[str, float]
    slowest_step: float = 0.0


class Scraped(Message, frozen=True):
    ticket: int
    text: bytes
    content_type: str


class Flush(Message, frozen=True):
    """Asked of every worker before a scrape is answered, so that no count is missing in it."""

    ticket: int


FromHub = ReplicaState | Scraped | Flush


def encode(message: Message) -> bytes:
    return msgspec.msgpack.encode(message)


to_engine = msgspec.msgpack.Decoder(ToEngine)
to_hub = msgspec.msgpack.Decoder(ToHub)
from_hub = msgspec.msgpack.Decoder(FromHub)
delivery = msgspec.msgpack.Decoder(Delivery)
