"""GET /v1/models and /v1/models/{id}: the one model that is served here."""

from pathlib import Path

from fastapi import APIRouter, Request

from r3mes.engine.messages import ModelInfo
from r3mes.errors import ModelLoading
from r3mes.protocol.answers import Model, ModelList
from r3mes.replica.json_body import JsonRoute
from r3mes.replica.routes.service import check_name

router = APIRouter(route_class=JsonRoute, tags=["models"])


@router.get("/v1/models")
async def list_models(request: Request) -> ModelList:
    """Empty until the model is known."""
    info = info_of(request)
    return ModelList(data=[] if info is None else [describe(info, request)])


@router.get("/v1/models/{id:path}")
async def retrieve_model(id: str, request: Request) -> Model:
    """An id may hold slashes, written as they are or as %2F."""
    info = info_of(request)
    if info is None:
        raise ModelLoading("The model is not known yet.", retry_after=1)
    check_name(id, info=info, settings=request.app.state.settings)
    return describe(info, request)


def info_of(request: Request) -> ModelInfo | None:
    """None until its length is known too: the model's folder is found before its files are read."""
    info: ModelInfo | None = request.app.state.engine.state.model
    return info if info is not None and info.max_len else None


def describe(info: ModelInfo, request: Request) -> Model:
    created = request.app.state.engine.state.started_at
    source: str = request.app.state.settings.model.source
    root = root_of(source) or info.name
    return Model(id=info.name, created=created, root=root, max_model_len=info.max_len)


def root_of(source: str) -> str:
    """The source, but of a folder no more than its name: where it lies is nobody's business."""
    is_path = source.startswith(("/", ".", "~")) or source.count("/") > 1
    return Path(source).name if is_path else source
