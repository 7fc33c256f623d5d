"""What routes depend on: settings, the engine, the text side of the model, the exchange."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from r3mes.engine.messages import ModelInfo
from r3mes.errors import ModelLoading, ModelNotFound
from r3mes.protocol.fields import Body
from r3mes.replica.engine_client import EngineClient
from r3mes.replica.exchange import Exchange, exchange_of
from r3mes.replica.sampling import Door
from r3mes.replica.text.model import TextModel
from r3mes.settings import Settings

MOST_ECHOED = 64  # characters of a client's value that an error repeats


@dataclass(frozen=True, slots=True)
class Service:
    """A replica that is ready to work on one request."""

    request: Request
    settings: Settings
    engine: EngineClient
    text: TextModel
    exchange: Exchange

    @property
    def info(self) -> ModelInfo:
        return self.text.info

    def check_fields(self, body: Body) -> None:
        """Count the fields that nothing here knows; refuse them where settings say so."""
        self.exchange.unknown_fields = len(body.unknown())
        if self.settings.server.strict_fields:
            body.refuse_unknown()

    def check_model(self, name: str | None) -> None:
        """Raise ModelNotFound unless the name means the model that is served here."""
        if name:
            check_name(name, info=self.info, settings=self.settings)

    def door(self, field: str) -> Door:
        """`field` is where the prompt stands in the body."""
        return Door(self.info, self.settings.limits, self.settings.engine, field)


def check_name(name: str, *, info: ModelInfo, settings: Settings) -> None:
    """The served name is known, and so is the source that it was started with."""
    if name not in (info.name, settings.model.source):
        message = f"The model `{name[:MOST_ECHOED]}` does not exist."
        raise ModelNotFound(message, param="model")


async def service(request: Request) -> Service:
    """Raises ModelLoading, ShuttingDown or Overloaded when no work can be taken."""
    state, exchange = request.app.state, exchange_of(request.scope)
    engine: EngineClient = state.engine
    if not exchange.rehearsal:
        engine.admit(kept=exchange.kept)
    text: TextModel | None = state.text
    if text is None:
        raise ModelLoading("The tokenizer is being loaded.", retry_after=1)
    return Service(request, state.settings, engine, text, exchange)


Ready = Annotated[Service, Depends(service)]
