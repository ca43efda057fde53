"""What may start and how a run ends, against the rules as the documentation says them, in plain Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.jobs.graph import Standing, State, after, before, circle, in_order, moves, result
from millrace.jobs.job import ConditionTask, RunIf, SparkPythonTask, Task, TaskDependency, Work

_BAD: tuple[State, ...] = ("FAILED", "TIMEDOUT", "UPSTREAM_FAILED")
_CANCELED: tuple[State, ...] = ("CANCELED", "UPSTREAM_CANCELED")
_STATES: tuple[State, ...] = ("waiting", "running", "SUCCESS", "EXCLUDED", *_BAD, *_CANCELED)
_CONDITION = ConditionTask("EQUAL_TO", "1", "1")
_ENDS: tuple[State, ...] = ("SUCCESS", "FAILED", "TIMEDOUT", "CANCELED")
_OUTCOMES: tuple[Literal["true", "false"] | None, ...] = (None, "true", "false")
_WORKS: tuple[Work, ...] = (_CONDITION, SparkPythonTask("a.py"))


@st.composite
def graphs(draw: st.DrawFn) -> list[Task]:
    """Tasks that depend on earlier ones, in any order."""
    tasks: list[Task] = []
    for number in range(draw(st.integers(1, 7))):
        depends_on = []
        for other in tasks:
            if draw(st.booleans()):
                of_condition = isinstance(other.work, ConditionTask)
                outcome = draw(st.sampled_from(_OUTCOMES)) if of_condition else None
                depends_on.append(TaskDependency(other.task_key, outcome))
        work = draw(st.sampled_from(_WORKS))
        tasks.append(Task(f"t{number}", work, depends_on=depends_on, run_if=draw(st.sampled_from(get_args(RunIf)))))
    return draw(st.permutations(tasks))


def naive(task: Task, standings: Mapping[str, Standing]) -> str | None:  # noqa: PLR0911 - a sentence each
    """`start`, as what it ends, or None where it has to wait: sentence by sentence."""
    said = []
    for each in task.depends_on:
        assert isinstance(each, TaskDependency)
        other = standings[each.task_key]
        if other.state in ("waiting", "running"):
            return None
        if other.state == "SUCCESS" and each.outcome is not None and other.outcome != each.outcome:
            said.append("not this way")
        else:
            said.append(other.state)
    if not said:
        return "start"
    # Where all that comes before is left out, this is left out.
    if all(one in ("not this way", "EXCLUDED") for one in said):
        return "EXCLUDED"
    failed = [one for one in said if one in _BAD]
    canceled = [one for one in said if one in _CANCELED]
    left_out = [one for one in said if one in ("not this way", "EXCLUDED")]
    good = [one for one in said if one == "SUCCESS"]
    meets = {
        "ALL_SUCCESS": len(good) == len(said),
        "ALL_DONE": True,
        "NONE_FAILED": not failed and not canceled,
        "AT_LEAST_ONE_SUCCESS": len(good) > 0,
        "ALL_FAILED": len(failed) + len(canceled) == len(said),
        "AT_LEAST_ONE_FAILED": len(failed) + len(canceled) > 0,
    }[task.run_if]
    if meets:
        return "start"
    # What is there for failures is left out where there are none; anything else has what failed above it to blame.
    if task.run_if in ("ALL_FAILED", "AT_LEAST_ONE_FAILED"):
        return "EXCLUDED"
    if failed:
        return "UPSTREAM_FAILED"
    assert canceled or left_out
    return "UPSTREAM_CANCELED" if canceled else "EXCLUDED"


@settings(max_examples=300, deadline=None)
@given(graphs(), st.data())
def test_moves_are_those_of_the_rules_applied_until_nothing_changes(tasks: Sequence[Task], data: st.DataObject) -> None:
    standings = {}
    for task in tasks:
        state = data.draw(st.sampled_from(_STATES))
        outcome = data.draw(st.sampled_from(["true", "false"])) if isinstance(task.work, ConditionTask) else None
        standings[task.task_key] = Standing(state, outcome if state == "SUCCESS" else None)
    known, ends = dict(standings), dict[str, str]()
    changed = True
    while changed:
        changed = False
        for task in tasks:
            verdict = naive(task, known) if known[task.task_key].state == "waiting" else None
            if verdict not in (None, "start"):
                known[task.task_key] = Standing(verdict)  # type: ignore[arg-type]
                ends[task.task_key] = str(verdict)
                changed = True
    starts = {t.task_key for t in tasks if known[t.task_key].state == "waiting" and naive(t, known) == "start"}
    found = moves(tasks, standings)
    assert (set(found.start), dict(found.end)) == (starts, ends)


@settings(max_examples=200, deadline=None)
@given(graphs(), st.data())
def test_a_run_always_ends_whatever_its_tasks_come_to(tasks: Sequence[Task], data: st.DataObject) -> None:
    standings = {task.task_key: Standing("waiting") for task in tasks}
    for _ in range(2 * len(tasks) + 1):
        if result(tasks, standings) is not None:
            break
        found = moves(tasks, standings)
        assert found.start or found.end
        for key, ended in found.end.items():
            standings[key] = Standing(ended)
        for key in found.start:
            state = data.draw(st.sampled_from(_ENDS))
            condition = isinstance(next(t for t in tasks if t.task_key == key).work, ConditionTask)
            standings[key] = Standing(state, data.draw(st.sampled_from(["true", "false"])) if condition else None)
    last = [t.task_key for t in tasks if not any(t.task_key in before([o], o.task_key) for o in tasks)]
    states = {standings[key].state for key in last}
    expected = "FAILED" if states & set(_BAD) else "CANCELED" if states & set(_CANCELED) else "SUCCESS"
    assert result(tasks, standings) == expected


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_before_and_after_are_each_others_mirror_and_the_order_keeps_them(tasks: Sequence[Task]) -> None:
    order = [task.task_key for task in in_order(tasks)]
    assert sorted(order) == sorted(task.task_key for task in tasks)
    for one in tasks:
        for other in tasks:
            is_before = other.task_key in before(tasks, one.task_key)
            assert is_before == (one.task_key in after(tasks, [other.task_key]) - {other.task_key})
            assert not is_before or order.index(other.task_key) < order.index(one.task_key)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3), max_size=6))
def test_a_circle_is_found_where_there_is_one(edges: dict[str, list[str]]) -> None:
    known = {name: [other for other in others if other in edges] for name, others in edges.items()}
    found = circle(known)
    reachable = {name: set(others) for name, others in known.items()}
    for _ in known:
        for name in known:
            reachable[name] |= {far for near in reachable[name] for far in known[near]}
    assert (found is not None) == any(name in reachable[name] for name in known)
    if found is not None:
        assert found[0] == found[-1]
        assert len(set(found)) == len(found) - 1
        assert all(other in known[name] for name, other in pairwise(found))
