"""POST /v1/completions."""

from fastapi import APIRouter, Response

from r3mes.protocol.answers import Completion
from r3mes.protocol.completions import CompletionBody, Prompt
from r3mes.replica.completion_shape import CompletionShape, Echo, echo_of
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
    prompts = [await ids_of(prompt, body, service) for prompt in body.prompt]
    door = service.door("prompt")
    jobs = jobs_of(body, prompts, door=door, prompt_logprobs=body.prompt_alternatives())
    answer = answer_to(body, jobs, service)
    name = identity(body, service, prefix="cmpl", kind="text_completion")
    shape = CompletionShape(body, answer, name, echoes(prompts, body, service))
    return await respond(body, answer, shape, service, deadline=deadline)


async def ids_of(prompt: Prompt, body: CompletionBody, service: Service) -> list[int]:
    """Unlike in a chat, the text of a special token in a prompt is that token."""
    if isinstance(prompt, str):
        ids = await service.text.encode(
            prompt,
            add_special_tokens=body.add_special_tokens is not False,
            cut=body.truncate_prompt_tokens is not None,
        )
    else:
        in_vocabulary(prompt, service.info, param="prompt")
        ids = prompt
    return cut_prompt(ids, body, service.info)


def echoes(prompts: list[list[int]], body: CompletionBody, service: Service) -> list[Echo]:
    if not body.echo:
        return []
    skip = body.skip_special_tokens is not False
    return [echo_of(ids, service.text, skip_special=skip) for ids in prompts]
