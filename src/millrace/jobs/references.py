"""`{{...}}` in the texts of a task: what they may name, and what stands in their place when the task starts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from millrace.core.clock import iso
from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.jobs.documents import kind_of, work_document, work_of
from millrace.jobs.graph import before
from millrace.jobs.job import Job, Task, Work

_REFERENCE = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)
_TIMES: Mapping[str, Callable[[datetime], str]] = {
    "iso_date": lambda at: at.date().isoformat(),
    "iso_datetime": iso,
    "iso_weekday": lambda at: str(at.isoweekday()),
    "is_weekday": lambda at: str(at.isoweekday() <= 5).lower(),  # noqa: PLR2004 - Friday
    "year": lambda at: str(at.year),
    "month": lambda at: str(at.month),
    "day": lambda at: str(at.day),
    "hour": lambda at: str(at.hour),
    "minute": lambda at: str(at.minute),
    "second": lambda at: str(at.second),
    "timestamp_ms": lambda at: str(int(at.timestamp() * 1000)),
}
_OF_THE_RUN = (
    "job.id",
    "job.name",
    "job.run_id",
    "job.run_number",
    "job.repair_count",
    "job.trigger.type",
    *(f"job.trigger.time.{part}" for part in _TIMES),
    *(f"job.start_time.{part}" for part in _TIMES),
)
_OF_THE_TASK = ("task.name", "task.run_id", "task.execution_count")
_OF_OTHERS = ("values", "output", "result_state", "run_id")


@dataclass(frozen=True, slots=True)
class Known:
    """What references may stand for when a task starts.

    Attributes:
        run: by the reference, what is known of the run and the task, as `job.run_id`.
        parameters: the job's, with nothing left to fill in.
        values: by task and name.
        outputs: by task.
        results: by task, as what it ended.
        task_runs: by task, the id of its newest attempt.
    """

    run: Mapping[str, str]
    parameters: Mapping[str, str]
    values: Mapping[str, Mapping[str, object]]
    outputs: Mapping[str, Mapping[str, object]]
    results: Mapping[str, str]
    task_runs: Mapping[str, int]


def check_references(job: Job) -> None:
    """Refuse references to what can't be known when the task starts.

    Raises:
        InvalidInput: an unknown name, parameter or task, or a task that does not come before.
    """
    for name, default in job.parameters.items():
        check_parameter(f"the default of parameter '{name}'", default)
    for task in job.tasks:
        for reference in set(_references(work_document(task.work))):
            _check(job, task, reference)


def check_parameter(where: str, text: str) -> None:
    """Refuse a parameter's value with references to what is not known of every run.

    Raises:
        InvalidInput: there is one; `where` begins its message.
    """
    for reference in _references(text):
        if reference not in _OF_THE_RUN:
            _unknown(where, reference, _OF_THE_RUN)


def fill(work: Work, known: Known) -> Work:
    """The work with its references filled in.

    Raises:
        InvalidInput: a value that was not set, or an output that is not there.
    """
    return work_of(kind_of(work), _filled(work_document(work), lambda reference: _resolve(reference, known)))


def fill_parameters(parameters: Mapping[str, str], run: Mapping[str, str]) -> dict[str, str]:
    """The job's parameters with what is known of the run filled in."""
    known = Known(run, {}, {}, {}, {}, {})
    return {name: _filled(text, lambda reference: _resolve(reference, known)) for name, text in parameters.items()}


def times(name: str, at: datetime) -> dict[str, str]:
    """The parts of a time by reference, as `job.start_time.year`."""
    return {f"{name}.{part}": written(at) for part, written in _TIMES.items()}


def _references(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield from (found[1] for found in _REFERENCE.finditer(value))
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


def _filled(value: Any, resolve: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return _REFERENCE.sub(lambda found: resolve(found[1]), value)
    if isinstance(value, Mapping):
        return {key: _filled(each, resolve) for key, each in value.items()}
    return [_filled(each, resolve) for each in value] if isinstance(value, list) else value


def _check(job: Job, task: Task, reference: str) -> None:
    where = f"task '{task.task_key}'"
    if reference in {*_OF_THE_RUN, *_OF_THE_TASK}:
        return
    if reference.startswith("job.parameters."):
        name = reference.removeprefix("job.parameters.")
        if name not in job.parameters:
            _refuse(where, reference, f"job '{job.name}' has no parameter '{name}'", did_you_mean(name, job.parameters))
        return
    space, _, rest = reference.partition(".")
    if space != "tasks":
        _unknown(where, reference, (*_OF_THE_RUN, *_OF_THE_TASK, "job.parameters.NAME", "tasks.KEY.values.NAME"))
    key, _, rest = rest.partition(".")
    part, _, name = rest.partition(".")
    earlier = before(job.tasks, task.task_key)
    if key not in {each.task_key for each in job.tasks}:
        _refuse(where, reference, f"there is no task '{key}'", did_you_mean(key, earlier))
    if key not in earlier:
        _refuse(where, reference, f"'{key}' does not come before it", f"let '{task.task_key}' depend on '{key}'")
    if part not in _OF_OTHERS or (bool(name) != (part in {"values", "output"})):
        forms = (
            f"tasks.{key}.values.NAME",
            f"tasks.{key}.output.NAME",
            f"tasks.{key}.result_state",
            f"tasks.{key}.run_id",
        )
        _unknown(where, reference, forms)


def _unknown(where: str, reference: str, known: tuple[str, ...]) -> NoReturn:
    _refuse(where, reference, "there is no such reference", did_you_mean(reference, known))


def _refuse(where: str, reference: str, why: str, hint: str) -> NoReturn:
    raise InvalidInput(f"{where} has {{{{{reference}}}}}: {why}", hint=hint)


def _resolve(reference: str, known: Known) -> str:
    if reference in known.run:
        return known.run[reference]
    if reference.startswith("job.parameters."):
        return _one("parameter", reference.removeprefix("job.parameters."), known.parameters, "of the job")
    match reference.split("."):
        case ["tasks", key, "result_state"]:
            return known.results.get(key, "")
        case ["tasks", key, "run_id"]:
            return str(known.task_runs.get(key, ""))
        case ["tasks", key, "values", *names] if names:
            return _one("value", ".".join(names), known.values.get(key, {}), f"set by task '{key}'")
        case ["tasks", key, "output", *names] if names:
            return _output(names, known.outputs.get(key, {}), f"of task '{key}'")
        case _:  # a run of before, whose parameters nobody looked at
            _unknown("a text", reference, tuple(known.run))


def _output(names: list[str], output: Mapping[str, object], whose: str) -> str:
    """An output, or a part of one that is an object."""
    *above, last = names
    for name in above:
        inside = output.get(name)
        output = inside if isinstance(inside, Mapping) else {}
    return _one("output", last, output, whose)


def _one(kind: str, name: str, found: Mapping[str, object], whose: str) -> str:
    if name not in found:
        raise InvalidInput(f"there is no {kind} '{name}' {whose}", hint=did_you_mean(name, found))
    return _text(found[name])


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
