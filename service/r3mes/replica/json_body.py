"""The route class that reads JSON bodies. Knows no field of any request."""

import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from r3mes.errors import InvalidRequest
from r3mes.replica.auth import caller
from r3mes.replica.strict_json import json_object

JSON_TYPE = re.compile(r"application/(?:[\w.-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)


class JsonRoute(APIRoute):
    """Lets the caller in before its body is read, and reads it as strict JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()
        reads_body = self.body_field is not None

        async def handler(request: Request) -> Response:
            await caller(request)
            if reads_body:
                check_content_type(request)
                # FastAPI asks the request for its JSON and takes what is already there.
                request._json = json_object(await request.body())
            return await answer(request)

        return handler


def check_content_type(request: Request) -> None:
    if not JSON_TYPE.fullmatch(request.headers.get("content-type", "")):
        message = "Send the body as application/json."
        raise InvalidRequest(message, code="invalid_content_type")
