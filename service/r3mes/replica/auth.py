"""Who calls: the one dependency `caller`, which guards every route but the few in `OPEN_PATHS`.

The application depends on it as a whole, so a new route is guarded unless its template is listed
here. Knows no tenants and no limits.
"""

from fastapi import FastAPI, Request

from r3mes.replica.exchange import exchange_of
from r3mes.replica.keys import ANONYMOUS, Caller, Keys, load_keys
from r3mes.settings import Settings

OPEN_PATHS = frozenset({"/version"})


def install_keys(app: FastAPI, settings: Settings) -> None:
    """Give the application the keys that `caller` compares with."""
    app.state.keys = load_keys(settings)


async def caller(request: Request) -> Caller:
    """The dependency. Raises InvalidKey for a stranger, except on the few open routes."""
    exchange = exchange_of(request.scope)
    if exchange.rehearsal or getattr(request.scope.get("route"), "path", None) in OPEN_PATHS:
        return ANONYMOUS
    keys: Keys = request.app.state.keys
    headers = request.headers
    found = keys.identify(
        authorization=headers.getlist("authorization"), api_key=headers.getlist("x-api-key")
    )
    exchange.key_id = found.key_id
    return found
