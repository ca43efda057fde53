"""`millrace alert mute`, `unmute`, `silence`, `unsilence` and `silences`."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from typing import Annotated

from cyclopts import Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import print_json, print_table, say
from millrace.core.errors import InvalidInput, UsageError

For = Annotated[str | None, Parameter(name="--for", help="How long: 4h, 2d, 1w.")]
Until = Annotated[str | None, Parameter(help="Until when: a date or time.")]
Reason = Annotated[str, Parameter(help="Why; it is in the history of what was not told.")]


def mute(
    rule: str, *, for_: For = None, until: Until = None, reason: Reason = "", home: Home = None, json: Json = False
) -> int:
    """Let a rule tell nothing. It is evaluated all the same, and what is still open at the end is told then."""
    from millrace.alerts.documents import mute_document
    from millrace.alerts.types import Mute
    from millrace.core.clock import iso
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        desk, now = workspace.alerts, workspace.clock.now()
        ends = _end(for_, until, now)
        made = Mute(now, str(workspace.principal), ends, reason)
        desk.rules.set_mute(rule, made)
    if json:
        print_json({"rule": rule, "mute": mute_document(made)})
    else:
        say(f"rule {rule} is muted {'until it is unmuted' if ends is None else f'until {iso(ends)}'}")
    return 0


def unmute(rule: str, *, home: Home = None, json: Json = False) -> int:
    """Let a muted rule speak again; what is still open is told by the next evaluation."""
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        workspace.alerts.rules.set_mute(rule, None)
    if json:
        print_json({"rule": rule, "mute": None})
    else:
        say(f"rule {rule} speaks again")
    return 0


def silence(
    *matchers: Annotated[str, Parameter(help="team=risk, rule!=churn, kind=~'drift|estimate', subject!~'.*v1'.")],
    for_: For = None,
    until: Until = None,
    starts: Annotated[str | None, Parameter(help="From when; now by default.")] = None,
    reason: Reason = "",
    home: Home = None,
    json: Json = False,
) -> int:
    """Tell nothing of episodes whose labels hold all matchers, until a time. Beside a rule's labels: rule, subject, kind, severity."""
    from millrace.alerts.show import silence_json
    from millrace.alerts.suppress import parse_matcher
    from millrace.alerts.types import Silence
    from millrace.core.clock import iso
    from millrace.workspace import require_home

    if not matchers:
        raise UsageError("no label is named", hint="write millrace alert silence team=risk --for 4h")
    parsed = tuple(parse_matcher(text) for text in matchers)
    with closing(require_home(home)) as workspace:
        now = workspace.clock.now()
        begin = _time("--starts", starts) if starts else now
        ends = _end(for_, until, begin)
        if ends is None:
            raise UsageError("a silence needs an end", hint="give --for 4h or --until 2025-03-01T06:00:00Z")
        made = Silence(0, parsed, begin, ends, reason, str(workspace.principal), now)
        made = workspace.alerts.rules.add_silence(made)
    if json:
        print_json(silence_json(made))
    else:
        say(f"silence {made.id} until {iso(made.ends_at)}")
    return 0


def unsilence(number: int, *, home: Home = None, json: Json = False) -> int:
    """End a silence now; what is still open is told by the next evaluation."""
    from millrace.alerts.show import silence_json
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        ended = workspace.alerts.rules.end_silence(number, workspace.clock.now())
    if json:
        print_json(silence_json(ended))
    else:
        say(f"silence {number} has ended")
    return 0


def silences(
    *,
    past: Annotated[bool, Parameter(name="--all", negative="", help="Those that have ended, too.")] = False,
    home: Home = None,
    json: Json = False,
) -> int:
    """List the silences that are in force or to come."""
    from millrace.alerts.show import silence_json
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        found = workspace.alerts.rules.silences(ending_after=None if past else workspace.clock.now())
    shown = [silence_json(each) for each in found]
    if json:
        print_json({"silences": shown})
    elif found:
        rows = [
            [each.id, " ".join(told["matchers"]), each.starts_at, each.ends_at, each.by, each.reason]
            for each, told in zip(found, shown, strict=True)
        ]
        print_table(["silence", "labels", "from", "until", "by", "reason"], rows)
    else:
        say("no silence is in force")
    return 0


def _end(span: str | None, until: str | None, now: datetime) -> datetime | None:
    from millrace.core.clock import parse_span

    if span is not None and until is not None:
        raise UsageError("--for and --until are both given", hint="give one of them")
    try:
        ends = _time("--until", until) if until else now + parse_span(span) if span else None
    except InvalidInput as error:
        raise UsageError(error.message, hint=error.hint) from error
    if ends is not None and ends <= now:
        raise UsageError(f"the end {until} is over already", hint="give a time to come, or --for 4h")
    return ends


def _time(option: str, text: str) -> datetime:
    from millrace.core.clock import parse_time

    try:
        return parse_time(text)
    except InvalidInput as error:
        raise UsageError(f"{option}: {error.message}", hint=error.hint) from error
