"""The program `r3mes`: runs the command line and turns an expected failure into one line.

Knows no command and no role.
"""

import signal
import sys
from types import FrameType

from r3mes.errors import CallFailed, StartError

ENDED_BY_SIGTERM = 128 + signal.SIGTERM


def main() -> None:
    # Without a handler the first process of a container never ends by this signal; whoever serves
    # sets its own.
    signal.signal(signal.SIGTERM, end)
    from r3mes.cli.app import app

    try:
        app(prog_name="r3mes")
    except (StartError, CallFailed) as error:
        sys.stderr.write(f"r3mes: {error.message}\n")
        raise SystemExit(2 if isinstance(error, StartError) else 1) from None


def end(_: int, __: FrameType | None) -> None:
    raise SystemExit(ENDED_BY_SIGTERM)


if __name__ == "__main__":
    main()
