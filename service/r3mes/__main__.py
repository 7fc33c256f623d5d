"""The program `r3mes`: runs the command line and turns an expected failure into one line.

Knows no command and no role.
"""

import sys

from r3mes.cli.app import app
from r3mes.errors import CallFailed, StartError


def main() -> None:
    try:
        app(prog_name="r3mes")
    except (StartError, CallFailed) as error:
        sys.stderr.write(f"r3mes: {error.message}\n")
        raise SystemExit(2 if isinstance(error, StartError) else 1) from None


if __name__ == "__main__":
    main()
