"""Bringing the online store up to date with a feature table."""

from __future__ import annotations

from dataclasses import dataclass

from millrace.core.names import TableName
from millrace.features.online.publish import publish_table
from millrace.pipeline.context import RunContext
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.port import Services
from millrace.pipeline.stages.stage import Outcome


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish the newest rows of a feature table: those that changed. `after` is what the table depends on."""

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

    def stands(self, services: Services) -> bool:
        """Whether what is online is the table's newest version: rows are deleted and written by others too, and stores change."""
        if not services.lake.exists(self.table):
            return True
        online = services.online.table(TableName.parse(self.table))
        return online is not None and online.version == services.lake.pin(self.table).version

    def run(self, context: RunContext) -> Outcome:
        """Write to the online store."""
        services = context.services
        done = publish_table(services.lake, services.online, self.table, as_of=services.clock.now(), mode="TRIGGERED")
        keys, changed = done.table.keys, done.mode == "TRIGGERED"
        detail = f"{keys:,} keys online" + (f", {done.written:,} of them written" if changed else "")
        detail += f", {done.removed:,} removed" if done.removed else ""
        return Outcome(
            detail, {"keys": keys, "version": int(done.table.version), "written": done.written, "mode": done.mode}
        )
