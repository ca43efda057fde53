"""Why something about an episode is not told: the rule is muted, it is quiet time, a silence, or greater trouble."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast

from millrace.alerts.quiet import quiet_now
from millrace.alerts.types import AlertRule, Episode, KeptRule, Matcher, MatchOperator, Mute, Silence
from millrace.core.clock import iso
from millrace.core.errors import InvalidInput

_MATCHER = re.compile(r"\s*([A-Za-z_][\w.-]*)\s*(=~|!~|!=|=)(.*)", re.DOTALL)


def why_untold(
    kept: KeptRule, episode: Episode, silences: Sequence[Silence], are_open: Sequence[Episode], now: datetime
) -> str | None:
    """The reason why nothing is told about the episode now; None where it is to be told."""
    if kept.mute is not None and is_muted(kept.mute, now):
        return f"the rule is muted{_until(kept.mute.until)} by {kept.mute.by}{_because(kept.mute.reason)}"
    quiet = quiet_now(kept.rule.quiet, now)
    if quiet is not None:
        return f"it is quiet time ({quiet})"
    labels = labels_of(kept.rule, episode)
    for silence in silences:
        if silence.starts_at <= now < silence.ends_at and holds(silence.matchers, labels):
            return f"silence {silence.id}{_until(silence.ends_at)} by {silence.by}{_because(silence.reason)}"
    return _inhibited(kept.rule, episode, are_open)


def is_muted(mute: Mute, now: datetime) -> bool:
    """Whether it has not ended."""
    return mute.until is None or now < mute.until


def labels_of(rule: AlertRule, episode: Episode) -> Mapping[str, str]:
    """What silences match: the rule's labels, with the episode's rule, subject, kind and severity."""
    severity = str(episode.data.get("severity") or "warning")
    own = {"rule": episode.rule, "subject": episode.subject, "kind": episode.kind, "severity": severity}
    return {**rule.labels, **own}


def parse_matcher(text: str) -> Matcher:
    """Read `team=risk`, `team!=risk`, `kind=~drift|estimate` or `kind!~drift`.

    Raises:
        InvalidInput: it is none of these, or the regular expression is broken.
    """
    found = _MATCHER.fullmatch(text)
    if found is None:
        raise InvalidInput(
            f"'{text}' matches no label", hint="write team=risk, team!=risk, kind=~'drift|estimate' or kind!~drift"
        )
    label, operator, value = found.groups()
    if operator in {"=~", "!~"}:
        try:
            re.compile(value)
        except re.error as error:
            raise InvalidInput(
                f"'{value}' is not a regular expression: {error}", hint="quote what is meant literally"
            ) from error
    return Matcher(label, cast("MatchOperator", operator), value)


def holds(matchers: Sequence[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether all matchers hold; a label that is not there is the empty text, and expressions match the whole value."""
    return all(_matches(matcher, labels.get(matcher.label, "")) for matcher in matchers)


def _matches(matcher: Matcher, value: str) -> bool:
    if matcher.operator in {"=", "!="}:
        return (matcher.value == value) == (matcher.operator == "=")
    return (re.fullmatch(matcher.value, value) is not None) == (matcher.operator == "=~")


def _inhibited(rule: AlertRule, episode: Episode, are_open: Sequence[Episode]) -> str | None:
    by = {kind for each in rule.inhibitions if episode.kind in each.of for kind in each.by}
    for other in are_open:
        if other.subject == episode.subject and other.kind in by and other.id != episode.id:
            return f"{other.kind} episode {other.id} about the same subject is open, which may be its cause"
    return None


def _until(moment: datetime | None) -> str:
    return "" if moment is None else f" until {iso(moment)}"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
