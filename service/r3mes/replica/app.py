"""The FastAPI application of an API worker: the routes, the caller's key, the document.

`app.state.text` is set by the worker when the tokenizer is loaded.
"""

from fastapi import Depends, FastAPI

from r3mes import __version__
from r3mes.replica.auth import caller, install_keys
from r3mes.replica.engine_client import EngineClient
from r3mes.replica.error_reply import route_errors
from r3mes.replica.openapi import install_openapi
from r3mes.replica.routes import about, chat, completions, models, tokens
from r3mes.settings import Settings


def build_app(settings: Settings, engine: EngineClient) -> FastAPI:
    app = FastAPI(
        title="R3MES",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ours stand outside of it
        dependencies=[Depends(caller)],
    )
    app.state.settings = settings
    app.state.engine = engine
    app.state.text = None
    install_keys(app, settings)
    route_errors(app, overload_status=settings.limits.overload_status)
    for module in (chat, completions, models, tokens, about):
        app.include_router(module.router)
    install_openapi(
        app, guarded=app.state.keys.exist, overload_status=settings.limits.overload_status
    )
    return app
