"""The program of an attempt in tests: does what its parameters say, one after the other. Started without site, so it is there at once.

say=TEXT            a line of output
note=FILE           a line `KEY ATTEMPT begin PID` at the end of a file now, and one with `end` when the outcome is written
sleep=SECONDS       wait
alone=FOLDER        hold a lock of the run and task; where another process has it, write an `overlap` note
until=FILE          wait until there is such a file
fail_before=N       fail where this is an earlier attempt than the Nth
exit=CODE           end at once
kill=NUMBER         send itself a signal
deaf                ignore SIGTERM
leave=FILE          leave two processes behind, one in a session of its own, that write to the file as long as they live
output=NAME=TEXT    an output
refuse=REASON       end as refused
raise=MESSAGE       end as failed, with a message
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time

_LEFT_BEHIND = """
import os, sys, time
if sys.argv[2] == "apart": os.setsid()
while True:
    with open(sys.argv[1], "a") as file: file.write(".")
    time.sleep(0.02)
"""


def main() -> None:  # noqa: C901, PLR0912 - one branch for each word
    path = sys.argv[-1]
    with open(path) as file:  # noqa: PTH123
        told = json.load(file)
    context, folder = told["context"], os.path.dirname(path)  # noqa: PTH120
    output: dict[str, str] = {}
    notes: list[str] = []
    for given in told["work"]["parameters"]:
        name, _, value = given.partition("=")
        match name:
            case "say":
                sys.stdout.write(value + "\n")
                sys.stdout.flush()
            case "note":
                notes.append(value)
                _append(value, f"{context['run_id']} {context['task_key']} {context['attempt']} begin {os.getpid()}")
            case "alone":
                _hold(os.path.join(value, f"{context['run_id']}-{context['task_key']}"))  # noqa: PTH118
            case "sleep":
                time.sleep(float(value))
            case "until":
                while not os.path.exists(value):  # noqa: PTH110
                    time.sleep(0.01)
            case "fail_before":
                if context["attempt"] < int(value):
                    sys.stderr.write("not yet\n")
                    sys.exit(3)
            case "exit":
                os._exit(int(value))
            case "kill":
                os.kill(os.getpid(), int(value))
            case "deaf":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            case "leave":
                import subprocess  # takes longer than all else here

                for how in ("beside", "apart"):
                    subprocess.Popen([sys.executable, "-I", "-S", "-c", _LEFT_BEHIND, value, how])
            case "output":
                key, _, text = value.partition("=")
                output[key] = text
            case "refuse":
                _end(folder, {"failed": False, "output": output, "message": value, "refused": True})
                return
            case "raise":
                _end(folder, {"failed": True, "message": value, "hint": "", "output": output})
                sys.exit(1)
            case _:
                sys.exit(f"no such word: {given}")
    _end(folder, {"failed": False, "output": output, "message": "", "refused": False})
    for note in notes:
        _append(note, f"{context['run_id']} {context['task_key']} {context['attempt']} end {os.getpid()}")


def _hold(path: str) -> None:
    """The kernel lets go of it when this process ends, however that is."""
    try:
        fcntl.flock(os.open(path, os.O_WRONLY | os.O_CREAT), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _append(path + ".overlap", "two at once")


def _append(path: str, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{line} {time.monotonic():.6f}\n".encode())
    os.close(descriptor)


def _end(folder: str, outcome: dict[str, object]) -> None:
    draft = os.path.join(folder, "outcome.tmp")  # noqa: PTH118
    with open(draft, "w") as file:  # noqa: PTH123
        json.dump(outcome, file)
    os.replace(draft, os.path.join(folder, "outcome.json"))  # noqa: PTH105, PTH118


if __name__ == "__main__":
    main()
