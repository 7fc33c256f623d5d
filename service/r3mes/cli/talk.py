"""A conversation with a running server, in a terminal or through a pipe."""

import signal
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib import import_module

import typer

from r3mes.cli.conversation import Conversation
from r3mes.cli.server import connect, served_model
from r3mes.errors import CallFailed

HELP = """\
/reset  forget the conversation
/quit   leave; so do Ctrl-D and, at the prompt, Ctrl-C
/help   show this
Ctrl-C during an answer stops the answer only."""


def talk(
    url: str, *, model: str | None, system: str | None, max_tokens: int | None, api_key: str | None
) -> None:
    """One conversation, from its first line to its end."""
    with connect(url, api_key=api_key) as client:
        name = model or served_model(client)
        conversation = Conversation(client, model=name, system=system, max_tokens=max_tokens)
        if sys.stdin.isatty():
            with suppress(ImportError):
                import_module("readline")  # gives the prompt its line editing and history
            typer.echo(f"{name} at {url}. /help lists the commands.")
        failed = converse(conversation)
    if failed and not sys.stdin.isatty():
        raise typer.Exit(1)


def converse(conversation: Conversation) -> bool:
    """Turn after turn until the user leaves; whether one of them failed."""
    failed = False
    try:
        for line in questions():
            failed = not turn(conversation, line) or failed
    except (EOFError, KeyboardInterrupt):
        if sys.stdin.isatty():
            typer.echo()
    return failed


def questions() -> Iterator[str]:
    """Lines of the user until /quit.

    Raises:
        EOFError: At the end of input.
    """
    prompt = "> " if sys.stdin.isatty() else ""
    while True:
        line = input(prompt).strip()
        if line == "/quit":
            return
        if line:
            yield line


def turn(conversation: Conversation, line: str) -> bool:
    """One command or question; False when it failed."""
    if line == "/reset":
        conversation.reset()
    elif line == "/help":
        typer.echo(HELP)
    elif line.startswith("/"):
        typer.echo(f"{line.split()[0]} is not a command. {HELP}")
    else:
        return say_answer(conversation, line)
    return True


def say_answer(conversation: Conversation, question: str) -> bool:
    try:
        with noted_interrupts() as noted, closing(conversation.answer(question)) as pieces:
            for piece in pieces:
                typer.echo(printable(piece), nl=False)
                if noted:
                    raise KeyboardInterrupt  # noqa: TRY301 - it ends as if it had been raised
    except KeyboardInterrupt:
        typer.echo(" …", nl=False)
    except CallFailed as failure:
        typer.echo(f"r3mes: {failure.message}", err=True)
        if "context_length_exceeded" in failure.code:
            typer.echo("r3mes: /reset forgets the conversation.", err=True)
        return False
    typer.echo()
    return True


@contextmanager
def noted_interrupts() -> Iterator[list[int]]:
    """Ctrl-C raises as ever and is noted too: one that falls into a finaliser is swallowed."""
    noted: list[int] = []

    def note(number: int, frame: object) -> None:
        noted.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def printable(piece: str) -> str:
    """Without the control characters with which an answer could take over a terminal."""
    if not sys.stdout.isatty():
        return piece
    return "".join(c for c in piece if c in "\n\t" or unicodedata.category(c) != "Cc")
