"""The plots of a report: quality over time, what the monitor saw, what each retraining gained, what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from millrace.core.clock import parse_time
from millrace.drawing.svg import (
    Box,
    Numbers,
    Times,
    band,
    dot,
    line,
    number_axis,
    picture,
    rect,
    rule,
    text,
    time_axis,
    triangle,
)

Document = Mapping[str, Any]
_WIDTH = 940
_LEFT, _RIGHT = 128, 20
_LANE = 24
_COLOURS = 6


def quality(found: Document) -> str:
    """Loss of what each policy served, with 95 % bands; below, a lane for each policy with its alarms and retrainings."""
    policies = found["policies"]
    box = Box(_LEFT, 14, _WIDTH - _LEFT - _RIGHT, 260)
    times = _times(found, box)
    known = [each for policy in policies for each in policy["quality"] if each["loss"] is not None]
    numbers = Numbers.around(box, [each[name] for each in known for name in ("low", "high")])
    parts = [*time_axis(times), *number_axis(numbers), *_unknown(found, times), *_changes(found, times, box.bottom)]
    for number, policy in enumerate(policies):
        parts += _curve(policy, number, times, numbers)
    for number, policy in enumerate(policies):
        parts += _lane(
            found, policy, number, Times(Box(box.left, 310 + number * _LANE, box.width, _LANE), times.start, times.end)
        )
    parts.append(text(16, 28, found["loss"].replace("_", "-"), "a"))
    return picture(
        _WIDTH, 318 + _LANE * len(policies), parts, "Loss over time under each policy, with alarms and retrainings"
    )


def drift(found: Document) -> str:
    """The drift score of each window, a strip for each policy; policies that served the same models share one."""
    strips = _strips(found["policies"])
    height, gap = 84, 48
    parts: list[str] = []
    scores = [each["score"] for _, policy in strips for each in policy["drift"] if each["score"] is not None]
    for number, (names, policy) in enumerate(strips):
        box = Box(_LEFT, 24 + number * (height + gap), _WIDTH - _LEFT - _RIGHT, height)
        times, numbers = _times(found, box), Numbers.around(box, scores, zero=True)
        parts += [*time_axis(times), *number_axis(Numbers(box, numbers.low, numbers.high))] if scores else []
        parts += [*_changes(found, times, box.bottom), *_promotions(policy, times)]
        seen = [(parse_time(each["at"]), each) for each in policy["drift"]]
        parts.append(
            line([(times(at), numbers(each["score"])) for at, each in seen if each["score"] is not None], "thin")
        )
        for at, each in seen:
            y = numbers(each["score"]) if each["score"] is not None else box.bottom
            parts.append(
                dot(times(at), y, 3.2, f"s-{each['status']}", f"{at:%Y-%m-%d} {each['status']}: {each['reason']}")
            )
        parts.append(text(box.left, box.top - 6, ", ".join(names), "b"))
    return picture(_WIDTH, 24 + len(strips) * (height + gap), parts, "Drift score of each window")


def gains(found: Document) -> str:
    """What each retraining gained, with its 95 % interval; empty where no gain is known."""
    rows = [
        (number, policy["name"], gain) for number, policy in enumerate(found["policies"]) for gain in policy["gains"]
    ]
    known = [gain for _, _, gain in rows if gain["mean"] is not None]
    if not known:
        return ""
    box = Box(_LEFT + 70, 8, _WIDTH - _LEFT - 90, 20 * len(rows) + 8)
    values = [gain[name] for gain in known for name in ("mean", "low", "high") if gain[name] is not None]
    numbers = Numbers.around(box, values, across=True, zero=True)
    parts = [*number_axis(numbers, "{:+g}"), rule(numbers(0), box.top, numbers(0), box.bottom, "zero")]
    for place, (number, name, gain) in enumerate(rows):
        parts += _gain(gain, name, f"p{number % _COLOURS}", numbers, box.top + 20 * place + 14)
    loss = found["loss"].replace("_", "-")
    parts.append(
        text(box.right, box.bottom + 34, f"{loss} lower than with the model before; right of 0 is better", "a", "end")
    )
    return picture(_WIDTH, box.bottom + 42, parts, "What each retraining gained")


def cost(found: Document) -> str:
    """Training seconds of each policy."""
    policies = found["policies"]
    box = Box(_LEFT, 4, _WIDTH - _LEFT - 240, 26 * len(policies))
    numbers = Numbers.around(box, [policy["cost"]["seconds"] for policy in policies] + [1.0], across=True, zero=True)
    parts = [*number_axis(numbers)]
    for number, policy in enumerate(policies):
        spent, y = policy["cost"], box.top + 26 * number
        parts.append(rect(box.left, y + 5, numbers(spent["seconds"]) - box.left, 16, f"f p{number % _COLOURS}"))
        parts.append(text(box.left - 10, y + 17, policy["name"], "b", "end"))
        said = f"{spent['seconds']:.1f} s: {spent['promoted']} promoted, {spent['refused']} refused"
        parts.append(text(numbers(spent["seconds"]) + 8, y + 17, said, "a"))
    parts.append(text(box.right, box.bottom + 32, "seconds of training", "a", "end"))
    return picture(_WIDTH, box.bottom + 38, parts, "Training seconds of each policy")


def _times(found: Document, box: Box) -> Times:
    return Times(box, parse_time(found["from"]), parse_time(found["to"]))


def _curve(policy: Document, number: int, times: Times, numbers: Numbers) -> Iterator[str]:
    css = f"p{number % _COLOURS}"
    middle = {id(each): _middle(each) for each in policy["quality"]}
    for run in _runs(policy["quality"]):
        xs = [times(middle[id(each)]) for each in run]
        upper = [(x, numbers(each["high"])) for x, each in zip(xs, run, strict=True)]
        lower = [(x, numbers(each["low"])) for x, each in zip(xs, run, strict=True)]
        yield band(upper, lower, f"band {css}")
        yield line(
            [(x, numbers(each["loss"])) for x, each in zip(xs, run, strict=True)], f"curve d{number % _COLOURS} {css}"
        )


def _runs(stretches: Sequence[Document]) -> Iterator[Sequence[Document]]:
    """Neighbours that have a loss: a line is not drawn over what is not known."""
    run: list[Document] = []
    for each in stretches:
        if each["loss"] is None and each["rows"]:
            if run:
                yield run
            run = []
        elif each["loss"] is not None:
            run.append(each)
    if run:
        yield run


def _middle(stretch: Document) -> datetime:
    start, end = parse_time(stretch["start"]), parse_time(stretch["end"])
    return start + (end - start) / 2


def _lane(found: Document, policy: Document, number: int, times: Times) -> Iterator[str]:
    """Alarms as bars, retrainings as triangles: filled where promoted, hollow where refused."""
    box, css = times.box, f"p{number % _COLOURS}"
    y = box.top + box.height / 2
    yield rule(box.left, y, box.right, y, "g")
    yield text(box.left - 10, y + 4, policy["name"], f"b {css} name", "end")
    for episode in policy["episodes"]:
        start = times(parse_time(episode["opened_at"]))
        end = times(parse_time(episode["closed_at"] or found["to"]))
        said = f"alarm ({episode['kind']}), {episode['alarm']}: {episode['reason']}"
        yield rect(start, y - 5, max(end - start, 4), 10, f"e-{episode['alarm']}", title=said)
    for attempt in policy["attempts"]:
        at = parse_time(attempt["at"])
        kind = "up" if attempt["version"] is not None else "no"
        said = f"{at:%Y-%m-%d} " + (
            f"v{attempt['version']}: {attempt['why']}" if kind == "up" else f"refused: {attempt['refused']}"
        )
        yield triangle(times(at), y, 5.5, f"{kind} {css}", said)


def _unknown(found: Document, times: Times) -> Iterator[str]:
    """What lies behind the newest known label."""
    until = parse_time(found["labelled_until"] or found["from"])
    x, box = times(until), times.box
    if x < box.right - 1:
        yield rect(x, box.top, box.right - x, box.height, "dim")
        days = f"insufficient data: labels take {found['known_after_days']:g} days"
        yield text((x + box.right) / 2, box.top + 18, days if box.right - x > 240 else "no labels yet", "a", "middle")  # noqa: PLR2004


def _changes(found: Document, times: Times, bottom: float) -> Iterator[str]:
    for change in found["changes"]:
        x = times(parse_time(change))
        yield rule(x, times.box.top, x, bottom, "change")
        yield text(x + 4, times.box.top + 10, "change", "a")


def _promotions(policy: Document, times: Times) -> Iterator[str]:
    for attempt in policy["attempts"]:
        if attempt["version"] is not None:
            yield triangle(
                times(parse_time(attempt["at"])), times.box.bottom - 5, 4.5, "up ink", f"v{attempt['version']}"
            )


def _strips(policies: Sequence[Document]) -> Sequence[tuple[Sequence[str], Document]]:
    strips: dict[str, tuple[list[str], Document]] = {}
    for policy in policies:
        key = str([attempt["at"] for attempt in policy["attempts"] if attempt["version"] is not None])
        strips.setdefault(key, ([], policy))[0].append(policy["name"])
    return list(strips.values())


def _gain(gain: Document, name: str, css: str, numbers: Numbers, y: float) -> Iterator[str]:
    yield text(numbers.box.left - 10, y + 4, f"{name} {gain['at'][:10]} v{gain['version']}", "a", "end")
    if gain["mean"] is None:
        yield text(numbers(0) + 8, y + 4, "insufficient data", "a")
        return
    if gain["low"] is not None:
        yield rule(numbers(gain["low"]), y, numbers(gain["high"]), y, f"whisker {css}")
    yield dot(numbers(gain["mean"]), y, 4, f"f {css}", gain["told"])
