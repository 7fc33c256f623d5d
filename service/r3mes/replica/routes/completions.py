"""POST /v1/completions."""

from collections.abc import Sequence

from fastapi import APIRouter, Response

from r3mes.protocol.answers import Completion
from r3mes.protocol.completions import CompletionBody
from r3mes.replica.completion_shape import CompletionShape
from r3mes.replica.echo import Echo, echoes_of
from r3mes.replica.json_body import JsonRoute
from r3mes.replica.openapi import events
from r3mes.replica.routes.generate import answer_to, check, identity, respond
from r3mes.replica.routes.service import Ready, Service
from r3mes.replica.sampling import cut_prompt, in_vocabulary, jobs_of

router = APIRouter(route_class=JsonRoute, tags=["generation"])

CHUNK = "With `stream`: chunks of the completions, the last event is `[DONE]`."


@router.post(
    "/v1/completions",
    response_model=Completion,
    responses=events(CHUNK),
)
async def create_completion(body: CompletionBody, service: Ready) -> Response:
    """Continue one prompt or several.

    The header `X-R3mes-Deadline` bounds the time that it may take, in seconds from now.
    """
    deadline = check(body, service)
    whole = await ids_of(body, service)
    prompts = [cut_prompt(ids, body, service.info) for ids in whole]
    door = service.door("prompt")
    jobs = jobs_of(body, prompts, door=door, prompt_logprobs=body.prompt_alternatives())
    answer = answer_to(body, jobs, service)
    name = identity(body, service, prefix="cmpl", kind="text_completion")
    shape = CompletionShape(body, answer, name, await echoes(prompts, whole, body, service))
    return await respond(body, answer, shape, service, deadline=deadline)


async def ids_of(body: CompletionBody, service: Service) -> list[list[int]]:
    """Unlike in a chat, the text of a special token in a prompt is that token."""
    texts = [prompt for prompt in body.prompt if isinstance(prompt, str)]
    given = [prompt for prompt in body.prompt if not isinstance(prompt, str)]
    for ids in given:
        in_vocabulary(ids, service.info, param="prompt")
    encoded = await service.text.encode_all(
        texts,
        add_special_tokens=body.add_special_tokens is not False,
        cut=body.truncate_prompt_tokens is not None,
    )
    return encoded or given  # all are of one kind


async def echoes(
    prompts: Sequence[list[int]],
    whole: Sequence[list[int]],
    body: CompletionBody,
    service: Service,
) -> list[Echo]:
    """`whole` are the prompts before they were cut."""
    if not body.echo:
        return []
    texts = [
        prompt if isinstance(prompt, str) and len(kept) == len(ids) else None
        for prompt, kept, ids in zip(body.prompt, prompts, whole, strict=True)
    ]
    return await echoes_of(prompts, texts, text=service.text)
