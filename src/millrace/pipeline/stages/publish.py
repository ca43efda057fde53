"""Bringing the online store up to date with a feature table."""

from __future__ import annotations

from dataclasses import dataclass

from millrace.core.names import TableName
from millrace.features.publish import publish
from millrace.pipeline.context import RunContext
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.stages.stage import Outcome


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish the newest rows of a feature table. `after` is what the table depends on."""

    table: str
    after: str

    @property
    def name(self) -> str:
        """`publish <table>`."""
        return f"publish {TableName.parse(self.table)}"

    @property
    def fingerprint(self) -> str:
        """The table and what it depends on."""
        return fingerprint("publish", self.table, self.after)

    def run(self, context: RunContext) -> Outcome:
        """Write to the online store."""
        services = context.services
        online = publish(services.lake, services.online, self.table, as_of=services.clock.now())
        return Outcome(f"{online.keys:,} keys online", {"keys": online.keys, "version": int(online.version)})
