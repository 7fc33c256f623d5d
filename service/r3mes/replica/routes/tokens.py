"""POST /tokenize and /detokenize."""

from fastapi import APIRouter

from r3mes.protocol.tokens import DetokenizeBody, Detokenized, TokenizeBody, Tokenized
from r3mes.replica.json_body import JsonRoute
from r3mes.replica.routes.service import Ready, Service
from r3mes.replica.sampling import in_vocabulary
from r3mes.replica.text.model import ChatOptions

router = APIRouter(route_class=JsonRoute, tags=["tokens"])


@router.post("/tokenize")
async def tokenize(body: TokenizeBody, service: Ready) -> Tokenized:
    """The ids that the model would be given."""
    service.check_fields(body)
    service.check_model(body.model)
    ids = await ids_of(body, service)
    texts = await service.text.token_texts(ids) if body.return_token_strs else None
    return Tokenized(
        count=len(ids), max_model_len=service.info.max_len, tokens=ids, token_strs=texts
    )


async def ids_of(body: TokenizeBody, service: Service) -> list[int]:
    if body.messages is None:
        special = body.add_special_tokens is not False
        return await service.text.encode(body.prompt or "", add_special_tokens=special, cut=True)
    return await service.text.encode_chat(body.messages, ChatOptions.of(body), cut=True)


@router.post("/detokenize")
async def detokenize(body: DetokenizeBody, service: Ready) -> Detokenized:
    """The text of ids, with special tokens."""
    service.check_fields(body)
    service.check_model(body.model)
    in_vocabulary(body.tokens, service.info, param="tokens")
    return Detokenized(prompt=await service.text.decode(body.tokens, skip_special=False))
