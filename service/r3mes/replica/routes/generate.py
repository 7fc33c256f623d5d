"""From a checked request to its answer: one path for chat and completions, streaming and not."""

from collections.abc import Sequence

from starlette.responses import Response

from r3mes.errors import CLIENT_GONE
from r3mes.protocol.generation import GenerationBody
from r3mes.replica.answer import Answer, Gathered
from r3mes.replica.choice import Piece
from r3mes.replica.deadline import deadline_of
from r3mes.replica.engine_client import Generation, Job
from r3mes.replica.presence import ClientGone, while_present
from r3mes.replica.routes.service import Service
from r3mes.replica.sampling import reading_of, traced
from r3mes.replica.sse import EventStream, Shape
from r3mes.replica.wire import Identity, identity_of


def check(body: GenerationBody, service: Service) -> float:
    """What needs no prompt; returns the deadline."""
    settings, exchange = service.settings, service.exchange
    exchange.stream = bool(body.stream)
    exchange.model = service.info.name
    service.check_fields(body)
    service.check_model(body.model)
    body.check(settings.limits)
    return deadline_of(
        service.request.headers,
        longest=settings.limits.request_timeout_s,
        stream=exchange.stream,
    )


def identity(body: GenerationBody, service: Service, *, prefix: str, kind: str) -> Identity:
    exchange = service.exchange
    exchange.response_id = f"{prefix}-{exchange.request_id}"
    return identity_of(
        body,
        id=exchange.response_id,
        object=kind,
        model=service.info.name,
        fingerprint=service.info.fingerprint,
    )


def answer_to(body: GenerationBody, jobs: Sequence[Job], service: Service) -> Answer:
    service.exchange.params = traced(jobs[0].params, body)
    return Answer(
        jobs, reading_of(body), n=body.n or 1, text=service.text, exchange=service.exchange
    )


async def respond(
    body: GenerationBody,
    answer: Answer,
    shape: Shape,
    service: Service,
    *,
    deadline: float,
) -> Response:
    generation = service.engine.generate(
        answer.jobs, request_id=service.exchange.request_id, deadline=deadline
    )
    if body.stream:
        return EventStream(answer, shape, generation)
    try:
        async with generation as running:
            pieces = await while_present(service.request.receive, gather(answer, running))
    except ClientGone:
        return Response(status_code=CLIENT_GONE)  # for the record; nobody reads it
    return json_response(shape.whole(pieces))


async def gather(answer: Answer, generation: Generation) -> list[Piece]:
    """The whole of each choice."""
    whole = [Gathered() for _ in answer.jobs]
    while not answer.done:
        for index, piece in await answer.next_pieces(generation):
            whole[index].add(piece)
    return [gathered.piece() for gathered in whole]


def json_response(content: bytes) -> Response:
    return Response(content, media_type="application/json")
