"""From how the tasks of a run stand to what may start, what is not to run, and how the run ended. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from millrace.jobs.documents import dependency
from millrace.jobs.job import Task
from millrace.jobs.job_run import ResultState

# `waiting`: not begun, and whether it begins is not decided; `running`: begun, and not over for good (it may be tried again).
State = Literal["waiting", "running"] | ResultState
Edge = Literal["success", "failed", "canceled", "excluded"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a task stands; `outcome`: of a condition, `true` or `false`."""

    state: State
    outcome: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes."""
        return self.state not in {"waiting", "running"}


@dataclass(frozen=True, slots=True)
class Moves:
    """What follows.

    Attributes:
        start: tasks that may start now.
        end: tasks that are not to run, and as what they end.
    """

    start: Sequence[str]
    end: Mapping[str, ResultState]


def moves(tasks: Sequence[Task], standings: Mapping[str, Standing]) -> Moves:
    """What may start and what is not to run; what follows from a task that is not to run is in it already."""
    known, start, end = dict(standings), [], dict[str, ResultState]()
    for task in in_order(tasks):
        if known[task.task_key].state != "waiting":
            continue
        edges = [_edge(known[each.task_key], each.outcome) for each in map(dependency, task.depends_on)]
        if None in edges:
            continue
        decided = _decide(task, [edge for edge in edges if edge is not None])
        if decided is None:
            start.append(task.task_key)
        else:
            end[task.task_key] = decided
            known[task.task_key] = Standing(decided)
    return Moves(start, end)


def result(tasks: Sequence[Task], standings: Mapping[str, Standing]) -> ResultState | None:
    """How the run ended, by its last tasks (those that nothing depends on); None where something is still to come.

    A task that failed and was handled by one after it does not make the run fail.
    """
    if not all(standings[task.task_key].is_over for task in tasks):
        return None
    before = {each.task_key for task in tasks for each in map(dependency, task.depends_on)}
    last = {standings[task.task_key].state for task in tasks if task.task_key not in before}
    if last & {"FAILED", "TIMEDOUT", "UPSTREAM_FAILED"}:
        return "FAILED"
    return "CANCELED" if last & {"CANCELED", "UPSTREAM_CANCELED"} else "SUCCESS"


def in_order(tasks: Sequence[Task]) -> Iterator[Task]:
    """The tasks, each after all that it depends on, else in the order given; those in a circle are left out."""
    left, done = list(tasks), set[str]()
    while True:
        ready = [task for task in left if all(each.task_key in done for each in map(dependency, task.depends_on))]
        if not ready:
            return
        yield from ready
        done |= {task.task_key for task in ready}
        left = [task for task in left if task.task_key not in done]


def after(tasks: Sequence[Task], keys: Sequence[str]) -> set[str]:
    """These tasks and all that depend on them, directly or not."""
    found = set(keys)
    for task in in_order(tasks):
        if any(each.task_key in found for each in map(dependency, task.depends_on)):
            found.add(task.task_key)
    return found


def before(tasks: Sequence[Task], key: str) -> set[str]:
    """All that a task depends on, directly or not."""
    by_key, found, new = {task.task_key: task for task in tasks}, set[str](), [key]
    while new:
        task = by_key.get(new.pop())
        for each in map(dependency, task.depends_on if task else ()):
            if each.task_key not in found:
                found.add(each.task_key)
                new.append(each.task_key)
    return found


def circle(edges: Mapping[str, Sequence[str]]) -> list[str] | None:
    """Names that lead from one to the next and back to the first, which is there twice; None where there is no such way."""
    done: set[str] = set()
    for root in edges:
        way, rest = [root], [iter(edges[root])]
        while way:
            following = next((name for name in rest[-1] if name not in done), None)
            if following is None:
                rest.pop()
                done.add(way.pop())
            elif following in way:
                return [*way[way.index(following) :], following]
            else:
                way.append(following)
                rest.append(iter(edges.get(following, ())))
    return None


def _edge(standing: Standing, outcome: str | None) -> Edge | None:
    """What a dependency came to, for who depends on it; None where that is open."""
    match standing.state:
        case "waiting" | "running":
            return None
        case "SUCCESS":
            return "success" if outcome in {None, standing.outcome} else "excluded"
        case "EXCLUDED":
            return "excluded"
        case "CANCELED" | "UPSTREAM_CANCELED":
            return "canceled"
        case "FAILED" | "TIMEDOUT" | "UPSTREAM_FAILED":
            return "failed"


def _decide(task: Task, edges: Sequence[Edge]) -> ResultState | None:  # noqa: PLR0911 - one for each rule
    """As what a task ends that is not to run; None where it is to run."""
    if not edges:
        return None
    bad = sum(edge in {"failed", "canceled"} for edge in edges)
    excluded, good = edges.count("excluded"), edges.count("success")
    upstream: ResultState = "UPSTREAM_FAILED" if "failed" in edges else "UPSTREAM_CANCELED"
    if excluded == len(edges):
        return "EXCLUDED"
    match task.run_if:
        case "ALL_SUCCESS":
            return upstream if bad else "EXCLUDED" if excluded else None
        case "NONE_FAILED":
            return upstream if bad else None
        case "AT_LEAST_ONE_SUCCESS":
            return None if good else upstream
        case "ALL_DONE":
            return None
        case "ALL_FAILED":
            return None if bad == len(edges) else "EXCLUDED"
        case "AT_LEAST_ONE_FAILED":
            return None if bad else "EXCLUDED"
