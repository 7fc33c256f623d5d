"""The options that commands share which talk to a running server: its address and its key."""

from typing import Annotated

import typer

from r3mes.client.address import base_address

DEFAULT_URL = "http://127.0.0.1:8000"

Url = Annotated[str, typer.Option("--url", help="Address of the server.", callback=base_address)]
ApiKey = Annotated[
    str | None,
    typer.Option("--api-key", envvar="OPENAI_API_KEY", help="Key, when the server asks for one."),
]
