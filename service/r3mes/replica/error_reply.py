"""How an error of the tree looks on HTTP: status, headers, body. The only place that knows.

`route_errors` makes FastAPI let every error pass, so that Edge, which stands outside of all, is the
one that answers.
"""

import json
from http import HTTPStatus
from typing import NoReturn

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

from r3mes.errors import MethodNotAllowed, NotFound, Overloaded, R3mesError
from r3mes.protocol.problems import to_error

RawHeaders = list[tuple[bytes, bytes]]

RETRY_AFTER = 1  # seconds, where an error knows no better


def body_of(error: R3mesError) -> bytes:
    return json.dumps(error.body(), ensure_ascii=False).encode("utf-8", "backslashreplace")


def headers_of(error: R3mesError, body: bytes) -> RawHeaders:
    """Content headers, and what tells clients whether and when to come again."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, MethodNotAllowed) and error.allow:
        headers.append((b"allow", error.allow.encode("ascii")))
    if error.retryable:
        headers.append((b"retry-after", str(error.retry_after or RETRY_AFTER).encode()))
    if error.retryable or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        headers.append((b"x-should-retry", b"true" if error.retryable else b"false"))
    return headers


def route_errors(app: FastAPI, *, overload_status: int = Overloaded.status) -> None:
    """Turn what FastAPI and Starlette raise into our tree, and let all of it pass to Edge."""

    async def let_pass(request: Request, error: Exception) -> NoReturn:
        """Starlette's outermost layer would answer plain text; raising hands the error to Edge."""
        if isinstance(error, Overloaded):
            error.status = overload_status
        raise error

    app.add_exception_handler(StarletteHTTPException, translate_http)
    app.add_exception_handler(HTTPException, translate_http)
    app.add_exception_handler(RequestValidationError, translate_validation)
    app.add_exception_handler(Exception, let_pass)


async def translate_http(request: Request, error: Exception) -> NoReturn:
    """Starlette raises exactly two: no such path, and no such method on it."""
    if isinstance(error, StarletteHTTPException):
        if error.status_code == HTTPStatus.NOT_FOUND:
            raise NotFound("There is nothing at this address.") from error
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            allow = (error.headers or {}).get("Allow", "")
            raise MethodNotAllowed(f"Use {allow} here.", allow=allow) from error
    raise error


async def translate_validation(request: Request, error: Exception) -> NoReturn:
    if isinstance(error, RequestValidationError):
        raise to_error(error.errors()) from error
    raise error
