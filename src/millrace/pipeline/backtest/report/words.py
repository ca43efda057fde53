"""What a backtest found, in words and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
_COLUMNS = ("policy", "loss", "95 % interval", "retrainings", "refused", "training s", "alarms", "false", "unknown")


def headline(found: Document) -> str:
    """One line about what was replayed."""
    return (
        f"{found['pipeline']}, {found['from'][:10]} to {found['to'][:10]}: {found['replayed']:,} requests, "
        f"a decision every {_days(found['step_days'])}"
    )


def summary(found: Document) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Columns, and a row for each policy; the recommended one is marked."""
    chosen = found["recommendation"]["policy"]
    rows = []
    for policy in found["policies"]:
        loss, cost, alarms = policy["loss"], policy["cost"], policy["alarms"]
        rows.append(
            (
                policy["name"] + (" *" if policy["name"] == chosen else ""),
                "insufficient data" if loss["mean"] is None else f"{loss['mean']:.4f}",
                "" if loss["low"] is None else f"{loss['low']:.4f} to {loss['high']:.4f}",
                str(cost["promoted"]),
                str(cost["refused"]),
                f"{cost['seconds']:.1f}",
                str(sum(alarms.values())),
                str(alarms["false"]),
                str(alarms["unknown"]),
            )
        )
    return _COLUMNS, rows


def remarks(found: Document) -> Sequence[str]:
    """What a reader must know before believing the table: where there was nothing to judge by, and what was explained."""
    said = [*_first_model(found), *_unlabelled(found), *_explained(found)]
    return list(dict.fromkeys(said))


def _first_model(found: Document) -> Sequence[str]:
    policy = found["policies"][0]
    promoted = next((each for each in policy["attempts"] if each["version"] is not None), None)
    if promoted is None:
        refused = [each for each in policy["attempts"] if each["refused"]]
        why = refused[-1]["refused"] if refused else "nothing could be trained"
        return [f"no model passed its gates, so nothing was served: {why}"]
    if promoted["at"] == found["from"]:
        return []
    earlier = [each for each in policy["attempts"] if each["refused"]]
    why = f": before it the gates refused {_times(len(earlier))} ({earlier[-1]['refused']})" if earlier else ""
    return [f"the first model is of {promoted['at'][:10]}; until then nobody is answered{why}"]


def _unlabelled(found: Document) -> Sequence[str]:
    until, wait = found["labelled_until"], _days(found["known_after_days"])
    answered = [each for each in found["policies"][0]["quality"] if each["version"] is not None]
    rows = sum(each["rows"] - each["labelled"] for each in answered)
    if not rows:
        return []
    return [
        f"insufficient data after {until[:10]}: labels take {wait}, so nobody knows yet how good {rows:,} answers were"
    ]


def _explained(found: Document) -> Sequence[str]:
    shares, sample = [], ""
    for policy in found["policies"]:
        explained = [each for each in policy["drift"] if each["status"] == "explained"]
        if explained:
            shares.append(f"{len(explained)} of {len(policy['drift'])} under {policy['name']}")
            sample = sample or explained[0]["reason"]
    if not shares:
        return []
    return [f"drift verdicts that are explained, which is no alarm: {', '.join(shares)} ({sample})"]


def _days(days: float) -> str:
    return "day" if days == 1 else f"{days:g} days"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
