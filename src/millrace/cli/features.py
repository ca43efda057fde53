"""`millrace features`: what is done with feature tables."""

from __future__ import annotations

from cyclopts import App

app = App(name="features", help="List, show, refresh, publish and audit feature tables.")
app.command("millrace.cli.features_audit:audit", name="audit", help="Look for leaks: change the future, compute again.")
