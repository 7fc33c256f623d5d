"""The one error tree. Each class knows its HTTP status, type, code and whether a retry may help.

R3mesError
├── InvalidRequest 400            code given by the place that found it
│   ├── ContextTooLong            context_length_exceeded
│   └── UnsupportedParameter      unsupported_parameter
├── InvalidKey 401                invalid_api_key
├── NotFound 404                  unknown_url
│   └── ModelNotFound             model_not_found
├── MethodNotAllowed 405          unknown_url
├── RequestTimeout 408            request_timeout
├── RequestTooLarge 413           request_too_large
├── UnsupportedEncoding 415       unsupported_encoding
├── HeadersTooLarge 431           headers_too_large
├── InternalError 500             internal_error
│   └── EngineCrash               engine_crash
├── Overloaded 503                server_overloaded (429 where settings say so)
├── ModelLoading 503              model_loading
├── ShuttingDown 503              shutting_down
├── DeadlineExceeded 504          deadline_exceeded
├── StartError                    a start that cannot work; never crosses HTTP
└── CallFailed                    a request that our command line sent; never crosses HTTP
"""

from typing import ClassVar

CLIENT_GONE = 499  # status in our records of an exchange whose client left; never sent


class R3mesError(Exception):
    """Base of the tree.

    `param` is the dotted path of the offending field, `retry_after` whole seconds after which a
    new try is sensible; both may be absent.
    """

    status: int = 500
    type: ClassVar[str] = "server_error"
    retryable: ClassVar[bool] = False
    code: str = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after
        if code is not None:
            self.code = code

    def body(self) -> dict[str, dict[str, str | None]]:
        """The JSON object that a client gets."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }


class InvalidRequest(R3mesError):
    status, type, code = 400, "invalid_request_error", "invalid_value"


class ContextTooLong(InvalidRequest):
    code = "context_length_exceeded"


class UnsupportedParameter(InvalidRequest):
    code = "unsupported_parameter"


class InvalidKey(R3mesError):
    status, type, code = 401, "invalid_request_error", "invalid_api_key"


class NotFound(R3mesError):
    status, type, code = 404, "invalid_request_error", "unknown_url"


class ModelNotFound(NotFound):
    code = "model_not_found"


class MethodNotAllowed(R3mesError):
    """`allow` lists the methods that the address does take."""

    status, type, code = 405, "invalid_request_error", "unknown_url"

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class RequestTimeout(R3mesError):
    status, type, code = 408, "timeout_error", "request_timeout"


class RequestTooLarge(R3mesError):
    status, type, code = 413, "invalid_request_error", "request_too_large"


class UnsupportedEncoding(R3mesError):
    status, type, code = 415, "invalid_request_error", "unsupported_encoding"


class HeadersTooLarge(R3mesError):
    status, type, code = 431, "invalid_request_error", "headers_too_large"


class InternalError(R3mesError):
    """A fault of ours that concerns one request; the process lives on."""


class EngineCrash(InternalError):
    """The engine process ended while it worked on the request."""

    code, retryable = "engine_crash", True


class Overloaded(R3mesError):
    status, type, code, retryable = 503, "overloaded_error", "server_overloaded", True


class ModelLoading(R3mesError):
    status, type, code, retryable = 503, "service_unavailable", "model_loading", True


class ShuttingDown(R3mesError):
    status, type, code, retryable = 503, "service_unavailable", "shutting_down", True


class DeadlineExceeded(R3mesError):
    status, type, code = 504, "timeout_error", "deadline_exceeded"


class StartError(R3mesError):
    """The program cannot start or a model cannot be served; the message says why, in one line."""

    code = "start_error"


class CallFailed(R3mesError):
    """A request to a server failed; `code` is the kind in few words, the message a sentence."""


def first_line(error: BaseException) -> str:
    """What a library says, short enough to be part of a sentence."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def of_code(code: str, message: str) -> R3mesError:
    """The error that a code stands for; one that only a place knows is the client's doing."""
    todo: list[type[R3mesError]] = [R3mesError]
    while todo:
        kind = todo.pop()
        if kind.code == code:
            return kind(message)
        todo += kind.__subclasses__()
    return InvalidRequest(message, code=code)
