"""The flags that stand for settings, in one table for every command that takes them.

Knows which setting a flag overrides; the meaning and the bounds are the setting's own.
"""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from r3mes.settings import Settings

SETTING_OF_FLAG = {
    "model": "model.source",
    "name": "model.name",
    "device": "model.device",
    "dtype": "model.dtype",
    "max_model_len": "model.max_len",
    "chat_template": "model.chat_template",
    "workers": "server.workers",
    "host": "server.host",
    "port": "server.port",
}


def settings_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flags to `command`, whose first parameter gets what the user gave of them.

    A flag that the user left out is left to the environment and the default.
    """

    def with_flags(**arguments: Any) -> None:
        given = {
            setting: arguments[flag]
            for flag, setting in SETTING_OF_FLAG.items()
            if arguments[flag] is not None
        }
        own = {name: value for name, value in arguments.items() if name not in SETTING_OF_FLAG}
        command(given, **own)

    own_parameters = list(inspect.signature(command).parameters.values())[1:]
    parameters = [*map(flag_parameter, SETTING_OF_FLAG), *own_parameters]
    with_flags.__doc__ = command.__doc__
    with_flags.__annotations__ = {item.name: item.annotation for item in parameters}
    with_flags.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return with_flags


def flag_parameter(flag: str) -> inspect.Parameter:
    """The flag as text, so that the setting's own check words every mistake."""
    section, _, field = SETTING_OF_FLAG[flag].partition(".")
    section_type: Any = Settings.model_fields[section].annotation
    option = typer.Option(
        f"--{flag.replace('_', '-')}",
        help=section_type.model_fields[field].description,
        show_default=False,
    )
    return inspect.Parameter(
        flag,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[str | None, option],
    )
