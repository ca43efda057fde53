"""`millrace alert channel`: add, list, test, remove."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import print_json, print_table, say
from millrace.core.errors import InvalidState, UsageError

if TYPE_CHECKING:
    from millrace.alerts.port import AlertDesk

app = App(name="channel", help="Places to send to: add, list, test, remove.")


@app.command
def add(
    name: str,
    url: Annotated[str | None, Parameter(help="Read from standard input where it is not given, or is -.")] = None,
    *,
    env: Annotated[str | None, Parameter(help="Take the URL from this variable, once, and keep it.")] = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Keep a URL under a name: one of Apprise's (slack://..., mailto://...), webhook+https://host/path, or env:VARIABLE.

    A URL on the command line stays in the shell's history: better give it on standard input, or keep only `env:VARIABLE`, which is
    looked up each time. A webhook without a secret gets one, which is printed this once.
    """
    from millrace.alerts.channel_names import add_channel
    from millrace.alerts.secrets import signed_url
    from millrace.alerts.show import channel_json
    from millrace.workspace import require_home

    given = _from_env(env) if env else sys.stdin.readline().strip() if url in (None, "-") else str(url)
    if not given:
        raise UsageError("no URL is given", hint="write it to standard input, or name a variable with --env")
    given, secret = signed_url(given)
    with closing(require_home(home)) as workspace:
        channel = add_channel(workspace.alerts, name, given)
    if json:
        print_json({**channel_json(channel), **({"secret": secret} if secret else {})})
        return 0
    say(f"channel {name} sends to {channel_json(channel)['url']}")
    if secret:
        say(f"its receiver verifies signatures with {secret}; keep that now: it can't be shown again")
    return 0


@app.command(name="list")
def list_(*, home: Home = None, json: Json = False) -> int:
    """List the channels, without what is secret in them."""
    from millrace.alerts.show import channel_json
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        found = [channel_json(each) for each in workspace.alerts.book.list()]
    if json:
        print_json({"channels": found})
    elif found:
        print_table(["channel", "sends to", "made by", "made"], [list(each.values()) for each in found])
    else:
        say("there are no channels yet; make one: millrace alert channel add NAME")
    return 0


@app.command(name="test")
def try_(name: str, *, home: Home = None, json: Json = False) -> int:
    """Send a test notification, now and once."""
    from millrace.alerts.deliver import send_test
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        key = send_test(workspace.alerts, name)
    if json:
        print_json({"channel": name, "key": key, "sent": True})
    else:
        say(f"channel {name} took the test")
    return 0


@app.command
def remove(name: str, *, home: Home = None, json: Json = False) -> int:
    """Delete a channel that no rule names."""
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        _check_is_unused(workspace.alerts, name)
        workspace.alerts.book.remove(name)
    if json:
        print_json({"removed": name})
    else:
        say(f"channel {name} is removed")
    return 0


def _check_is_unused(desk: AlertDesk, name: str) -> None:
    users = [kept.rule.name for kept in desk.rules.list() if name in kept.rule.channels]
    if users:
        raise InvalidState(f"channel '{name}' is used by {', '.join(users)}", hint="change or delete these rules first")


def _from_env(variable: str) -> str:
    import os

    value = os.environ.get(variable, "")
    if not value:
        raise UsageError(
            f"the environment variable {variable} is not set", hint="set it, or write the URL to standard input"
        )
    return value
