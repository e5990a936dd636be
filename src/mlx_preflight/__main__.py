"""Entry point of `mlx-preflight` and `python -m mlx_preflight`."""

from __future__ import annotations

import signal
import sys

from mlx_preflight.cli import json_output
from mlx_preflight.core import parent_watch
from mlx_preflight.core.errors import ExitCode, InterruptedCommandError, PreflightError
from mlx_preflight.core.text import strip_control

INTERRUPTED = "interrupted; the results written so far are kept"


def main() -> None:
    """Run the command line and exit with its code.

    Ctrl-C, SIGTERM and a closed terminal end it with 130 after every child process has been
    killed; any `PreflightError` is printed as one message with its hint, without a traceback,
    and with `--json` on stdout as well.
    """
    parent_watch.interrupt_on(signal.SIGTERM, signal.SIGHUP)
    parent_watch.end_with_parent(last=True)
    json_output.begin()
    try:
        from mlx_preflight.cli.app import (  # noqa: PLC0415  (Ctrl-C while importing ends cleanly)
            app,
        )

        code = app(standalone_mode=False)
    except (KeyboardInterrupt, InterruptedCommandError):
        sys.exit(_interrupted())
    except PreflightError as error:
        print(f"error: {strip_control(str(error))}", file=sys.stderr)
        if error.hint:
            print(f"  try: {strip_control(error.hint)}", file=sys.stderr)
        json_output.print_error(str(error), error.hint, error.exit_code, sys.argv[1:])
        sys.exit(error.exit_code)
    except Exception as error:
        if (code := _usage_exit(error)) is None:
            raise
    sys.exit(code or 0)


def _usage_exit(error: Exception) -> int | None:
    """Show a usage error in Typer's own words and return its exit code; None for any other."""
    show = getattr(error, "show", None)
    code = getattr(error, "exit_code", None)
    if type(error).__name__ == "Abort":  # (a question that nobody answered)
        return _interrupted()
    if show is None or not isinstance(code, int):
        return None
    show()
    said = str(getattr(error, "format_message", error.__str__)())
    json_output.print_error(said, "", code, sys.argv[1:])
    return code


def _interrupted() -> ExitCode:
    """Say that the command was interrupted, and return the exit code."""
    print(INTERRUPTED, file=sys.stderr)
    json_output.print_error(INTERRUPTED, "", ExitCode.INTERRUPTED, sys.argv[1:])
    return ExitCode.INTERRUPTED


if __name__ == "__main__":
    main()
