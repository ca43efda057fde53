"""Logging beside a search, in a process of its own: MLflow takes seconds to import, and those are not the search's."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from millrace.automl.processes import started
from millrace.automl.record.messages import Begin, Failed, Logged, Outcome, Ready, Recorded
from millrace.automl.types import Search, Trial
from millrace.core.errors import InvalidState, MillraceError

_NICE = 10
_SET_UP_S, _LEAST_S, _MODEL_TIMES = 6.0, 0.3, 4.0  # a rehearsal writes less than the final model is


class RunLog:
    """The search's run and, nested under it, one for each trial. Used from one thread at a time.

    Every method raises MillraceError for what the process could not write, as soon as it is known.
    """

    def __init__(self, home: Path, *, waits: bool = False) -> None:
        """Start the process, which imports its libraries meanwhile.

        Args:
            home: with the runs.
            waits: whether the processor goes to the search first, which then ends before its runs are written.
        """
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - until `close`
        self._process, self._channel = started(
            "millrace.automl.record.child", str(home), str(_NICE if waits else 0), errors=self._errors
        )
        self._since = time.monotonic()
        self._model_s: float | None = None
        self._told: dict[int, str] = {}
        self._given = self._done = 0
        self._spent_s = 0.0

    def begin(self, experiment: str, sketch: Search, *, notebooks: bool, known: Sequence[Trial] = ()) -> None:
        """Say what is searched, before the first trial; `known`: trials of a search that was killed, which are not told again."""
        self._told = {trial.number: trial.state for trial in known}
        self._given = len(known)
        self._say(Begin(experiment, sketch, notebooks, known))

    @property
    def left_s(self) -> float:
        """How long it will take to write what is waiting and the final model.

        Until libraries are imported: a guess, which shrinks. Then: by how long a small model and the trials so far took.
        """
        self._hear_all()
        if self._model_s is None:
            return max(_SET_UP_S - (time.monotonic() - self._since), _LEAST_S)
        each = self._spent_s / max(self._done, 1)
        return _LEAST_S + _MODEL_TIMES * self._model_s + each * (self._given - self._done)

    def trial(self, trial: Trial) -> None:
        """Write a trial that ended, soon."""
        self._hear_all()
        self._told[trial.number] = trial.state
        self._given += 1
        self._say(trial)

    def end(self, outcome: Outcome | Failed) -> Recorded:
        """Wait until all is written, trials that were not told before among it."""
        for trial in () if isinstance(outcome, Failed) else outcome.search.trials:
            if self._told.get(trial.number) != trial.state:
                self.trial(trial)
        self._say(outcome)
        while (recorded := self._hear()) is None:
            pass
        return recorded

    def close(self) -> None:
        """End the process, whatever it does. Idempotent."""
        self._process.kill()
        self._process.wait()
        self._channel.close()
        self._errors.close()

    def _say(self, what: object) -> None:
        with suppress(OSError):  # it ended: what it said last tells why
            self._channel.send(what)

    def _hear_all(self) -> None:
        while self._channel.poll():
            self._hear()

    def _hear(self) -> Recorded | None:
        try:
            heard = self._channel.recv()
        except (EOFError, OSError):
            raise self._died() from None
        match heard:
            case Ready():
                self._model_s = heard.model_s
            case Logged():
                self._done += 1
                self._spent_s += heard.seconds
            case MillraceError():
                raise heard
            case Recorded():
                return heard
            case _:
                raise AssertionError(heard)  # there are no others
        return None

    def _died(self) -> MillraceError:
        code = self._process.wait()
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
        return InvalidState(
            f"the process that writes the search's runs ended by itself ({code})"
            + "".join(f": {line}" for line in last),
            hint="look whether the machine has memory and disk left; the same call goes on with the trials that ended",
        )
