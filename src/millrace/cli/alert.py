"""`millrace alert`: rules, silences, channels, and what became of them."""

from __future__ import annotations

from cyclopts import App

app = App(name="alert", help="Alerts over verdicts, metrics and SQL: rules, silences, channels, history.")
_RULES = "millrace.cli.alert_rules"
app.command(f"{_RULES}:list_", name="list", help="List the rules, how they stand, and what is open.")
app.command(f"{_RULES}:show", name="show", help="Show a rule, or an episode by its number, with its history.")
app.command(f"{_RULES}:delete", name="delete", help="Delete a rule; its open episodes end.")
app.command(f"{_RULES}:history", name="history", help="List episodes, newest first.")
app.command("millrace.cli.alert_create:create", name="create", help="Make a rule over a metric or SQL.")
_EVALUATE = "millrace.cli.alert_evaluate"
app.command(f"{_EVALUATE}:evaluate", name="evaluate", help="Evaluate the rules now, and deliver what waits.")
app.command(f"{_EVALUATE}:outbox", name="outbox", help="List what waits to be sent, and what was given up.")
_SILENCE = "millrace.cli.alert_silences"
app.command(f"{_SILENCE}:mute", name="mute", help="Let a rule tell nothing, for a while or until it is unmuted.")
app.command(f"{_SILENCE}:unmute", name="unmute", help="Let a muted rule speak again.")
app.command(f"{_SILENCE}:silence", name="silence", help="Tell nothing of episodes whose labels match, until a time.")
app.command(f"{_SILENCE}:unsilence", name="unsilence", help="End a silence now.")
app.command(f"{_SILENCE}:silences", name="silences", help="List the silences.")
app.command("millrace.cli.alert_channels:app", name="channel", help="Places to send to: add, list, test, remove.")
