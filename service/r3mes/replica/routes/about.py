"""GET /version and /load."""

from fastapi import APIRouter, Request

from r3mes import __version__
from r3mes.engine.messages import ReplicaState
from r3mes.protocol.answers import Load, Version
from r3mes.replica.json_body import JsonRoute

router = APIRouter(route_class=JsonRoute, tags=["about"])


@router.get("/version")
async def version() -> Version:
    return Version(version=__version__)


@router.get("/load")
async def load(request: Request) -> Load:
    """How busy the engine is."""
    state: ReplicaState = request.app.state.engine.state
    stats = state.stats
    return Load(
        server_load=stats.running + stats.waiting,
        running=stats.running,
        waiting=stats.waiting,
        capacity=stats.capacity,
        max_waiting=stats.max_waiting,
        blocks_free=stats.blocks_free,
        blocks_used=stats.blocks_used,
        blocks_cached=stats.blocks_cached,
        phase=state.phase,
    )
