"""What an audit says."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from millrace.core.errors import MillraceError
from millrace.core.names import TableName, did_you_mean

Severity = Literal["ok", "warning", "leak"]
Check = Literal["functions", "dimensions", "lookups", "label likeness", "around the lake", "history", "label windows"]

# A future row that a function saw is a mistake in its code; of these one can know better and take the risk.
_CAN_BE_ACCEPTED: frozenset[Check] = frozenset({"dimensions", "lookups", "label likeness"})
_RANK: Mapping[Severity, int] = {"leak": 0, "warning": 1, "ok": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that an audit found.

    Attributes:
        check: which check found it.
        severity: `leak` makes the audit fail; `warning` is for a person to judge; `ok` says what was checked.
        subject: the table, column or file that it is about; what `--accept` names.
        fact: one sentence.
        hint: what to do about it; empty where there is nothing to do.
        as_of: the time that the future was changed after; None where there was none.
        column: the column that it shows in; None where it is not about one.
        evidence: figures and examples behind the fact, JSON-compatible.
    """

    check: Check
    severity: Severity
    subject: str
    fact: str
    hint: str = ""
    as_of: datetime | None = None
    column: str | None = None
    evidence: Mapping[str, object] = field(default_factory=dict)

    def accepted(self, names: Collection[str]) -> Finding:
        """The same as a warning, where its subject or its column is among the names and the risk is one that can be taken."""
        is_named = self.subject in names or (self.column is not None and self.column in names)
        if self.severity != "leak" or not is_named or self.check not in _CAN_BE_ACCEPTED:
            return self
        return replace(self, severity="warning", fact=f"accepted: {self.fact}")


@dataclass(frozen=True, slots=True)
class AuditReport:
    """All findings, the worst first."""

    pipeline: str
    as_of: Sequence[datetime]
    findings: Sequence[Finding]

    @property
    def leaks(self) -> Sequence[Finding]:
        """The findings that make the audit fail."""
        return [finding for finding in self.findings if finding.severity == "leak"]

    @property
    def audited(self) -> bool:
        """Whether any check came to an answer: where none did, "no leak" says nothing."""
        return any(finding.severity in {"leak", "ok"} for finding in self.findings)


def ordered(findings: Collection[Finding]) -> list[Finding]:
    """The worst first, else in the order of the checks; the same thing said twice is said once."""
    once = {(finding.check, finding.severity, finding.subject, finding.fact): finding for finding in findings}
    return sorted(once.values(), key=lambda finding: _RANK[finding.severity])


def taken(findings: Sequence[Finding], accept: Collection[str]) -> list[Finding]:
    """The findings, those about names to accept as warnings, and a warning for each name that nothing was found about."""
    names = {name: _short(name) for name in accept}
    known = {name for finding in findings for name in (finding.subject, finding.column) if name}
    nothing = "was to be accepted, but nothing was found about it"
    unknown = [
        Finding("dimensions", "warning", name, nothing, did_you_mean(name, known))
        for name, short in sorted(names.items())
        if not {name, short} & known
    ]
    return [finding.accepted({*names, *names.values()}) for finding in findings] + unknown


def _short(name: str) -> str:
    """A table's name as findings have it; a column's as it is."""
    try:
        return str(TableName.parse(name))
    except MillraceError:
        return name
