"""Renders chat templates in Jinja's immutable sandbox, with bounds on time and size.

The environment offers what templates of checkpoints rely on: loop controls, `raise_exception`,
`strftime_now`, a `tojson` that escapes no HTML, and `generation` blocks. Knows no tokenizer.
"""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from r3mes.errors import InvalidRequest, StartError

MOST_SECONDS = 5.0
MOST_CHARS = 8 << 20
MOST_REASON = 200  # characters of a template's own message that are passed on

log = logging.getLogger(__name__)
DEADLINE: ContextVar[float] = ContextVar("DEADLINE", default=float("inf"))
ABSENT = {"tools": None, "documents": None}  # templates ask whether these are none
TRIAL = [{"role": "user", "content": "Hello"}]


class TemplateTimeout(Exception):
    """Rendering took too long."""


class GenerationBlocks(Extension):
    """`{% generation %}` marks what a model wrote, for training; here it is plain content."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own declaration

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Sandbox(ImmutableSandboxedEnvironment):
    """Looks at the clock wherever a template reads data or calls something."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        check_clock()
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        check_clock()
        return super().getitem(obj, argument)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        check_clock()
        return super().call(*args, **kwargs)


def check_clock() -> None:
    if time.monotonic() > DEADLINE.get():
        raise TemplateTimeout


def raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def strftime_now(form: str) -> str:
    return datetime.now().strftime(form)  # noqa: DTZ005 - templates mean the local date


def sandbox() -> Sandbox:
    environment = Sandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[GenerationBlocks, "jinja2.ext.loopcontrols"],
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = strftime_now
    return environment


class ChatTemplate:
    """A template that has been tried. Raises StartError for one that cannot work or breaks out."""

    def __init__(self, source: str, *, constants: Mapping[str, str]) -> None:
        self.source = source
        self._constants = constants  # texts of special tokens: bos_token and its like
        try:
            self._template = sandbox().from_string(source)
        except jinja2.TemplateSyntaxError as error:
            message = f"The chat template is wrong in line {error.lineno}: {error.message}"
            raise StartError(message) from error
        self._try_out()

    def render(self, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]) -> str:
        """The text of the chat; raises InvalidRequest (template_error) where it has none."""
        try:
            return self._rendered(messages, variables)
        except jinja2.TemplateError as error:
            reason = str(error.message or "it fails")[:MOST_REASON]
            raise refused(f"The chat template refuses these messages: {reason}") from error
        except TemplateTimeout as error:
            raise refused("The chat template takes too long on these messages.") from error
        except Exception as error:  # a template can raise whatever Python can
            raise refused("The chat template cannot render these messages.") from error

    def _try_out(self) -> None:
        """Only what makes a template unusable counts; it may well refuse a chat this simple."""
        try:
            self._rendered(TRIAL, {"add_generation_prompt": True})
        except SecurityError as error:
            raise StartError(f"The chat template breaks the sandbox: {error.message}") from error
        except TemplateTimeout as error:
            raise StartError("The chat template does not come to an end.") from error
        except Exception:
            log.info("the chat template refuses a single user message", exc_info=True)

    def _rendered(self, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]) -> str:
        token = DEADLINE.set(time.monotonic() + MOST_SECONDS)
        try:
            parts: list[str] = []
            size = 0
            for part in self._template.generate(
                {**ABSENT, **self._constants, **variables, "messages": messages}
            ):
                check_clock()
                size += len(part)
                if size > MOST_CHARS:
                    raise jinja2.TemplateError("the result is too long")
                parts.append(part)
            return "".join(parts)
        finally:
            DEADLINE.reset(token)


def refused(message: str) -> InvalidRequest:
    return InvalidRequest(message, param="messages", code="template_error")
