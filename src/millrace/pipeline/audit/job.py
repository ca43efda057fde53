"""What is asked of one child process of an audit, and what it answers: JSON and Arrow files in a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from millrace.core.clock import iso, parse_time
from millrace.pipeline.audit import rules as table_rules
from millrace.pipeline.audit.alter import Change
from millrace.pipeline.audit.findings import Finding
from millrace.pipeline.audit.rules import TableRule

if TYPE_CHECKING:
    import pyarrow as pa

JOB, ANSWER = "job.json", "answer.json"
Snapshot = tuple[str, datetime]  # table and time


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From when on a column nearly equals the label.

    Attributes:
        auc: area under the ROC curve of the column alone, whichever way round.
        purity: share of the label's entropy that the column's categories (or its nulls) explain.
        min_rows: with fewer rows, or fewer than a tenth of that of either class, nothing is said.
    """

    auc: float = 0.995
    purity: float = 0.98
    min_rows: int = 100


@dataclass(frozen=True)
class Job:
    """One home to make, and what to compute in it.

    Attributes:
        file: the pipeline's file, loaded anew.
        pipeline: which pipeline in it.
        database_url: the workspace that is copied.
        change: how the tables of `rules` are changed.
        cut: the time after which.
        features: times of which the feature tables are computed.
        labels: times of which the label table is computed.
        look: whether to report what the pipeline's code reads around the lake.
        trains: whether training sets are built over what was computed, and compared.
        samples: for these, times of the features that label rows are taken near to, where others fill the label table.
        thresholds: for that training set.
    """

    file: Path
    pipeline: str
    database_url: str
    change: Change = "none"
    cut: datetime | None = None
    rules: Sequence[TableRule] = ()
    features: Sequence[datetime] = ()
    labels: Sequence[datetime] = ()
    look: bool = False
    trains: bool = False
    samples: Sequence[datetime] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        document = {
            "file": str(self.file),
            "pipeline": self.pipeline,
            "database_url": self.database_url,
            "change": self.change,
            "cut": iso(self.cut) if self.cut else None,
            "rules": table_rules.to_document(self.rules),
            "features": [iso(time) for time in self.features],
            "labels": [iso(time) for time in self.labels],
            "look": self.look,
            "trains": self.trains,
            "samples": [iso(time) for time in self.samples],
            "thresholds": [self.thresholds.auc, self.thresholds.purity, self.thresholds.min_rows],
        }
        (folder / JOB).write_text(json.dumps(document))

    @classmethod
    def load(cls, folder: Path) -> Job:
        """Read it from a folder."""
        document: dict[str, Any] = json.loads((folder / JOB).read_text())
        return cls(
            file=Path(document["file"]),
            pipeline=document["pipeline"],
            database_url=document["database_url"],
            change=document["change"],
            cut=parse_time(document["cut"]) if document["cut"] else None,
            rules=table_rules.from_document(document["rules"]),
            features=[parse_time(text) for text in document["features"]],
            labels=[parse_time(text) for text in document["labels"]],
            look=document["look"],
            trains=document["trains"],
            samples=[parse_time(text) for text in document["samples"]],
            thresholds=Thresholds(*document["thresholds"]),
        )


@dataclass(frozen=True)
class Answer:
    """What a child process answers.

    Attributes:
        snapshots: rows of each table and time.
        failures: in place of rows, why there are none, for each table and time.
        findings: what it found itself.
        error: why the whole job could not be done (the page did not load); message and hint.
    """

    snapshots: Mapping[Snapshot, pa.Table] = field(default_factory=dict)
    failures: Mapping[Snapshot, str] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    error: tuple[str, str] | None = None

    def save(self, folder: Path) -> None:
        """Write it into a folder, the rows first: a folder with an answer is complete."""
        import pyarrow.parquet as pq

        kept = []
        for number, ((table, time), rows) in enumerate(self.snapshots.items()):
            pq.write_table(rows, folder / f"{number}.parquet")
            kept.append([table, iso(time), f"{number}.parquet"])
        document = {
            "snapshots": kept,
            "failures": [[table, iso(time), why] for (table, time), why in self.failures.items()],
            "findings": [finding_document(finding) for finding in self.findings],
            "error": self.error,
        }
        (folder / ANSWER).write_text(json.dumps(document))

    @classmethod
    def load(cls, folder: Path) -> Answer:
        """Read it from a folder."""
        import pyarrow.parquet as pq

        document: dict[str, Any] = json.loads((folder / ANSWER).read_text())
        rows = {(table, parse_time(time)): pq.read_table(folder / file) for table, time, file in document["snapshots"]}
        return cls(
            snapshots=rows,
            failures={(table, parse_time(time)): why for table, time, why in document["failures"]},
            findings=[_finding(one) for one in document["findings"]],
            error=tuple(document["error"]) if document["error"] else None,
        )


class Runner(Protocol):
    """Does a job in a process of its own, in a home of its own, and leaves neither behind.

    The home is gone when this returns, also by an error or an interruption; the answer stays as long as the runner does.
    """

    def run(self, job: Job) -> Answer:
        """What came of it.

        Raises:
            InvalidState: the process died without an answer.
        """
        ...


def finding_document(finding: Finding) -> Mapping[str, object]:
    """JSON of a finding."""
    return {
        "check": finding.check,
        "severity": finding.severity,
        "subject": finding.subject,
        "fact": finding.fact,
        "hint": finding.hint,
        "as_of": iso(finding.as_of) if finding.as_of else None,
        "column": finding.column,
        "evidence": finding.evidence,
    }


def _finding(one: dict[str, Any]) -> Finding:
    return Finding(**{**one, "as_of": parse_time(one["as_of"]) if one["as_of"] else None})
