"""The `millrace` command: what each word does is in a module of its own, imported when it is used."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Sequence

from cyclopts import App, CycloptsError

import millrace
from millrace.core.errors import MillraceError, UsageError

EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED, EXIT_BUG, EXIT_INTERRUPTED = 1, 2, 3, 70, 130

_HELP = "The whole MLOps loop: lake, features, training, gates, registry, serving, monitoring, alerts, retraining."
_COMMANDS = {
    "quickstart": "millrace.cli.quickstart:quickstart",
    "init": "millrace.cli.init:init",
    "run": "millrace.cli.run:run",
    "plan": "millrace.cli.run:plan",
    "backtest": "millrace.cli.backtest:backtest",
    "exec": "millrace.cli.exec:exec_",
    "notebook": "millrace.cli.notebook:notebook",
    "automl": "millrace.cli.automl:automl",
    "up": "millrace.cli.up:up",
    "status": "millrace.cli.status:status",
    "log": "millrace.cli.promotions:log",
    "rollback": "millrace.cli.promotions:rollback",
    "table": "millrace.cli.table:app",
    "features": "millrace.cli.features:app",
    "endpoint": "millrace.cli.endpoint:app",
    "monitor": "millrace.cli.monitor:app",
    "alert": "millrace.cli.alert:app",
    "job": "millrace.cli.job:app",
    "labels": "millrace.cli.labels:app",
    "token": "millrace.cli.token:app",
    "ci": "millrace.cli.ci:app",
    "validate": "millrace.cli.validate:validate",
    "deploy": "millrace.cli.deploy:deploy",
    "promote": "millrace.cli.promote:promote",
    "approve": "millrace.cli.promote:approve",
}
_SHORT = {
    "quickstart": "Make a shop and live through the whole loop with it, in minutes.",
    "init": "Write a small project: a pipeline, a test, a README.",
    "run": "Run a pipeline: what is not up to date, up to production and monitors.",
    "plan": "Print the stages that would run, and why.",
    "backtest": "Replay the loop over history under several retraining policies, and recommend one.",
    "exec": "Execute a notebook, and keep it with its outputs.",
    "notebook": "Open JupyterLab, with the home's tables in every notebook.",
    "automl": "Search the best model for a table in the time that is given.",
    "up": "Serve endpoints, the API and MLflow on one port.",
    "status": "Tell where the loop stands.",
    "log": "Print the promotions: who, when, why, from what verdict.",
    "rollback": "Put the previous version back into production.",
    "table": "Import, list, show and preview tables.",
    "features": "List, show, refresh, publish and audit feature tables.",
    "endpoint": "List endpoints, ask one, and decide who takes its traffic.",
    "monitor": "Monitors: what is watched, what they say, refreshing one.",
    "alert": "Alerts over verdicts, metrics and SQL: rules, silences, channels, history.",
    "job": "Jobs: tasks on a schedule, a trigger or when asked; runs, logs, repair.",
    "labels": "Join late labels to predictions.",
    "token": "Make, list and revoke tokens for programs.",
    "ci": "Write a pipeline for a CI system, and run its stages here as there.",
    "validate": "What the gates say of a version: exit code 0 passed, 3 refused.",
    "deploy": "Put a version on an endpoint, or bring it to a target.",
    "promote": "Copy a version from one target to the next, with its lineage.",
    "approve": "Write down that a version may go to a target.",
}


def build_app() -> App:
    """The command line, with nothing imported that a command needs."""
    app = App(
        name="millrace",
        help=_HELP,
        version=millrace.__version__,
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    for name, path in _COMMANDS.items():
        app.command(path, name=name, help=_SHORT[name])
    app.register_install_completion_command()
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code: 0 done, 1 failed, 2 usage, 3 a gate said no, 70 a bug, 130 interrupted."""
    # All times are UTC; Spark's collect() would otherwise convert to the machine's zone.
    os.environ["TZ"] = "UTC"
    interrupt = _CtrlC()
    try:
        result = build_app()(_texts(sys.argv[1:] if arguments is None else arguments))
    except BrokenPipeError as error:
        if not _reader_is_gone():  # it was some other pipe, as a server's that went away
            return _told(error)
        sys.stderr.close()
        return 0
    except BaseException as error:  # noqa: BLE001 - the command line's boundary
        return _told(KeyboardInterrupt() if interrupt.pressed else error)
    return result if isinstance(result, int) else 0


def _texts(arguments: Sequence[str]) -> list[str]:
    """The arguments, all of them text: no table takes other bytes, and no report could print them."""
    for argument in arguments:
        if argument.encode(errors="ignore").decode() != argument:
            shown = argument.encode(errors="backslashreplace").decode()
            raise UsageError(f"the argument '{shown}' is not UTF-8", hint="give it as UTF-8 text")
    return list(arguments)


def _reader_is_gone() -> bool:
    """Whether nobody reads our output any more, as after `| head`."""
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # no file
        return False
    poll = select.poll()
    poll.register(output, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _told(error: BaseException) -> int:
    """Tell what went wrong, and the exit code for it."""
    if isinstance(error, KeyboardInterrupt):
        return _failed("interrupted", "", EXIT_INTERRUPTED)
    if isinstance(error, CycloptsError):
        return _failed(str(error).strip(), "see --help", EXIT_USAGE)
    if isinstance(error, MillraceError):
        return _failed(error.message, error.hint, error.exit_code)
    if isinstance(error, SystemExit):
        raise error
    trace = "".join(traceback.format_exception(error))
    return _failed(f"this is a bug in millrace:\n{trace}", "please report it with the lines above", EXIT_BUG)


class _CtrlC:
    """Remembers that Ctrl-C was pressed. It stops the embedded Spark server too, so what is raised may be that server's absence."""

    def __init__(self) -> None:
        self.pressed = False
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._press)

    def _press(self, _signal: int, _frame: object) -> None:
        self.pressed = True
        raise KeyboardInterrupt


def _failed(message: str, hint: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n" + (f"  hint: {hint}\n" if hint else ""))
    return code


if __name__ == "__main__":
    sys.exit(main())
