"""`millrace alert list`, `show`, `delete` and `history`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import duration, print_facts, print_json, print_table, say, shown

if TYPE_CHECKING:
    from millrace.alerts.condition import Condition
    from millrace.alerts.port import AlertDesk
    from millrace.alerts.types import Episode, KeptRule


def list_(*, home: Home = None, json: Json = False) -> int:
    """List the rules, how they stand, and what is open."""
    from millrace.alerts.show import episode_json, rule_json
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        desk = workspace.alerts
        rules, are_open, now = desk.rules.list(), desk.episodes.open_now(), desk.clock.now()
    if json:
        print_json({"rules": [rule_json(kept) for kept in rules], "open": [episode_json(one) for one in are_open]})
        return 0
    if not rules:
        say("there are no alert rules yet; `millrace run` makes a pipeline's own, `millrace alert create` any other")
        return 0
    rows = []
    for kept in rules:
        mine = sum(one.rule == kept.rule.name for one in are_open)
        state = kept.state.state if kept.state else None
        rows.append([kept.rule.name, _about(kept), state, mine, _muted(kept, now), ", ".join(kept.rule.channels)])
    print_table(["rule", "about", "state", "open", "muted", "channels"], rows)
    return 0


def show(name: str, *, home: Home = None, json: Json = False) -> int:
    """Show a rule, or an episode by its number, with its history.

    Parameters:
        name: A rule's name, or an episode's number.
    """
    from millrace.alerts.show import episode_json, history, rule_json
    from millrace.alerts.types import EpisodeId
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        desk = workspace.alerts
        if name.isdecimal() and desk.rules.find(name) is None:
            episode = desk.episodes.get(EpisodeId(int(name)))
            lines = history(desk, episode)
            if json:
                print_json({**episode_json(episode), "history": lines})
            else:
                _show_episode(episode, lines)
            return 0
        kept, episodes = desk.rules.get(name), desk.episodes.list(name, 10)
        if json:
            print_json({**rule_json(kept), "episodes": [episode_json(one) for one in episodes]})
        else:
            _show_rule(desk, kept, episodes)
    return 0


def delete(name: str, *, home: Home = None, json: Json = False) -> int:
    """Delete a rule. Its open episodes end, which is told; their history stays."""
    from millrace.alerts.evaluate_all import remove
    from millrace.core.errors import InvalidState
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        kept = workspace.alerts.rules.get(name)
        if kept.pipeline is not None and kept.pipeline in (workspace.home_settings.get("pipelines") or {}):  # type: ignore[operator]
            raise InvalidState(
                f"rule '{name}' is declared by pipeline {kept.pipeline}",
                hint="take it out of the pipeline's file and run that, or mute it",
            )
        remove(workspace.alerts, name, "the rule was deleted")
    if json:
        print_json({"deleted": name})
    else:
        say(f"rule {name} is deleted")
    return 0


def history(
    rule: Annotated[str | None, Parameter(help="Only this rule's.")] = None,
    *,
    limit: Annotated[int, Parameter(help="How many episodes.")] = 20,
    home: Home = None,
    json: Json = False,
) -> int:
    """List episodes, newest first, with their notes and why something was not told."""
    from millrace.alerts.show import episode_json
    from millrace.alerts.show import history as lines_of
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        desk = workspace.alerts
        episodes = desk.episodes.list(rule, max(1, limit))
        if rule is not None and not episodes:
            desk.rules.get(rule)  # an unknown rule is told with the nearest
        found = [{**episode_json(one), "history": lines_of(desk, one)} for one in episodes]
        notes = {one.id: [note.text for note in desk.episodes.notes(one.id)] for one in episodes}
    if json:
        print_json({"episodes": found})
    elif not episodes:
        say("no episodes")
    else:
        rows = [
            [
                one.id,
                one.rule,
                one.subject,
                one.kind,
                one.status,
                one.opened_at,
                one.closed_at,
                one.reason,
                "; ".join(notes[one.id]),
            ]
            for one in episodes
        ]
        print_table(["episode", "rule", "about", "kind", "status", "opened", "closed", "reason", "notes"], rows)
        say("one with all that happened in it: millrace alert show NUMBER")
    return 0


def _show_episode(episode: Episode, lines: list[dict[str, str]]) -> None:
    facts = {
        "episode": int(episode.id),
        "rule": episode.rule,
        "about": episode.subject,
        "kind": episode.kind,
        "status": episode.status,
        "began": episode.began_at,
        "opened": episode.opened_at,
        "last seen": episode.last_at,
        "closed": episode.closed_at,
        "reason": episode.reason,
        "not told": episode.data.get("suppressed") if episode.owed else None,
    }
    print_facts({name: value for name, value in facts.items() if value is not None})
    print_table(["at", "by", "what"], [line.values() for line in lines], title="history")  # type: ignore[misc]


def _show_rule(desk: AlertDesk, kept: KeptRule, episodes: Sequence[Episode]) -> None:
    rule, state = kept.rule, kept.state
    print_facts(
        {
            "rule": rule.name,
            "about": _about(kept),
            "opens": f"at {rule.breaches} bad of the last {rule.out_of}"
            + (", or a critical one" if rule.critical_at_once and rule.condition is None else ""),
            "ends": f"after {rule.resolve_after} good in a row" + ("" if rule.notify_on_ok else ", untold"),
            "told again": "never" if rule.repeat_after is None else f"after {duration(rule.repeat_after)}",
            "channels": ", ".join(rule.channels) or "none: only the log of this home",
            "labels": ", ".join(f"{key}={value}" for key, value in rule.labels.items()) or None,
            "quiet": "; ".join(rule.quiet) or None,
            "muted": _muted(kept, desk.clock.now()),
            "declared by": f"pipeline {kept.pipeline}" if kept.pipeline else kept.owner,
            "state": None if state is None else f"{state.state}: {state.reason}",
            "evaluated": None if state is None else state.at,
        }
    )
    rows = [[one.id, one.kind, one.subject, one.status, one.opened_at, one.closed_at, one.reason] for one in episodes]
    if rows:
        print_table(["episode", "kind", "about", "status", "opened", "closed", "reason"], rows, title="episodes")
    else:
        say("no episodes")


def _about(kept: KeptRule) -> str:
    condition = kept.rule.condition
    return f"verdicts: {', '.join(kept.rule.kinds)}" if condition is None else _asked(condition)


def _asked(condition: Condition) -> str:
    column = condition.column or "the first column"
    value = f"{condition.aggregation} of {column}" if condition.aggregation else column
    where = condition.table or f"({condition.sql})"
    within = f" within {duration(condition.window)}" if condition.window else ""
    against = condition.threshold_column or ("" if condition.threshold is None else shown(condition.threshold))
    return f"{value} of {where}{within} {condition.operator} {against}".strip()


def _muted(kept: KeptRule, now: datetime) -> str | None:
    from millrace.alerts.suppress import is_muted
    from millrace.core.clock import iso

    mute = kept.mute
    if mute is None or not is_muted(mute, now):
        return None
    return "until it is unmuted" if mute.until is None else f"until {iso(mute.until)}"
