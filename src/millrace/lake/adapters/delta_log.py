"""What millrace writes into a Delta log with each commit, and reads out of it again."""

from __future__ import annotations

from collections.abc import Mapping

from deltalake import CommitProperties, DeltaTable, Transaction  # noqa: TID253 - this is its adapter

from millrace.core.clock import epoch_us, from_epoch_us
from millrace.lake.types import CommitInfo, Version, VersionInfo

# The log's own names for how many rows a commit touched: writes, merges and deletes each have theirs.
_INSERTED = ("num_added_rows", "num_target_rows_inserted", "numOutputRows", "numTargetRowsInserted")
_UPDATED = ("num_target_rows_updated", "num_updated_rows", "numTargetRowsUpdated")
_DELETED = ("num_target_rows_deleted", "num_deleted_rows", "numTargetRowsDeleted", "numDeletedRows")


def commit_properties(commit: CommitInfo, retries: int | None = None) -> CommitProperties:
    """The commit's facts, as delta-rs takes them; `retries` is how often it may try again by itself."""
    about = {"millrace.at": str(epoch_us(commit.at)), "millrace.by": str(commit.by), "millrace.why": commit.why}
    transactions = None if commit.transaction is None else [Transaction(*commit.transaction)]
    return CommitProperties(custom_metadata=about, max_commit_retries=retries, app_transactions=transactions)


def already_there(table: DeltaTable, commit: CommitInfo) -> bool:
    """Whether the log has the commit's transaction, or a later one of the same application."""
    if commit.transaction is None:
        return False
    seen = table.transaction_version(commit.transaction[0])
    return seen is not None and seen >= commit.transaction[1]


def version_info(entry: Mapping[str, object]) -> VersionInfo:
    """A version from its line in the log."""
    at, by = entry.get("millrace.at"), entry.get("millrace.by")
    return VersionInfo(
        version=Version(int(str(entry["version"]))),
        at=None if at is None else from_epoch_us(int(str(at))),
        operation=_operation(entry),
        by=None if by is None else str(by),
        why=str(entry.get("millrace.why", "")),
        inserted=_metric(entry, _INSERTED),
        updated=_metric(entry, _UPDATED),
        deleted=_metric(entry, _DELETED),
    )


def _operation(entry: Mapping[str, object]) -> str:
    # Delta calls several things by one name, and only the parameters tell: rows that were added from rows that were
    # replaced, and a merge that upserts from one that deletes by key.
    parameters, operation = entry.get("operationParameters"), str(entry.get("operation", ""))
    if not isinstance(parameters, dict):
        return operation
    if str(parameters.get("mode")).lower() == "overwrite":
        return "OVERWRITE"
    matched, others = str(parameters.get("matchedPredicates", "")), str(parameters.get("notMatchedPredicates", "[]"))
    only_deletes = '"delete"' in matched and '"update"' not in matched and '"insert"' not in others
    return "DELETE" if operation == "MERGE" and only_deletes else operation


def _metric(entry: Mapping[str, object], names: tuple[str, ...]) -> int | None:
    metrics = entry.get("operationMetrics")
    found = [metrics[name] for name in names if name in metrics] if isinstance(metrics, dict) else []
    return int(found[0]) if found and str(found[0]).isdecimal() else None
