"""POST /v1/chat/completions."""

from fastapi import APIRouter, Response

from r3mes.protocol.answers import ChatCompletion
from r3mes.protocol.chat import ChatBody
from r3mes.replica.chat_shape import ChatShape
from r3mes.replica.json_body import JsonRoute
from r3mes.replica.openapi import events
from r3mes.replica.routes.generate import answer_to, check, identity, respond
from r3mes.replica.routes.service import Ready
from r3mes.replica.sampling import cut_prompt, jobs_of
from r3mes.replica.text.model import ChatOptions

router = APIRouter(route_class=JsonRoute, tags=["generation"])

CHUNK = "With `stream`: chunks of the answer, the last event is `[DONE]`."


@router.post(
    "/v1/chat/completions",
    response_model=ChatCompletion,
    responses=events(CHUNK),
)
async def create_chat_completion(body: ChatBody, service: Ready) -> Response:
    """Answer a chat.

    The header `X-R3mes-Deadline` bounds the time that it may take, in seconds from now.
    """
    deadline = check(body, service)
    cut = body.truncate_prompt_tokens is not None
    ids = await service.text.encode_chat(body.messages, ChatOptions.of(body), cut=cut)
    prompt = cut_prompt(ids, body, service.info)
    door = service.door("messages")
    answer = answer_to(body, jobs_of(body, [prompt], door=door), service)
    kind = "chat.completion.chunk" if body.stream else "chat.completion"
    shape = ChatShape(body, answer, identity(body, service, prefix="chatcmpl", kind=kind))
    return await respond(body, answer, shape, service, deadline=deadline)
