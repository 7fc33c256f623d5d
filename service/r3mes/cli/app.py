"""The table of commands. Knows what each is called, not what it does."""

import typer

from r3mes import __version__
from r3mes.cli import roles
from r3mes.cli.bench import bench
from r3mes.cli.chat import chat
from r3mes.cli.check_up import check_up
from r3mes.cli.doctor import doctor
from r3mes.cli.show_config import show_config

app = typer.Typer(
    name="r3mes",
    help="Language models over an OpenAI-compatible API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.command("serve")(roles.serve)
app.command("replica")(roles.replica)
app.command("chat")(chat)
app.command("check-up")(check_up)
app.command("bench")(bench)
app.command("doctor")(doctor)
app.command("show-config")(show_config)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)
