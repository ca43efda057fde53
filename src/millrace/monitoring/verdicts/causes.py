"""What moved, what of it matters, and what made it move: columns in the order in which a person should look at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from millrace.monitoring.types import MonitorSpec, Severity
from millrace.monitoring.verdicts.budget import FAR
from millrace.monitoring.verdicts.tracks import Track
from millrace.monitoring.windows import Granularity

UNIMPORTANT = 0.01
_NAMED = 4


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each column matters.

    Attributes:
        importances: feature to its share of the model's importance; empty: all count alike.
        answers: columns that hold what the model said, or what came true; they always matter, and move because features do.
    """

    importances: Mapping[str, float] = field(default_factory=dict)
    answers: frozenset[str] = frozenset()

    @classmethod
    def of(cls, spec: MonitorSpec, importances: Mapping[str, float]) -> Weights:
        """By the log's columns."""
        return cls(importances, frozenset({spec.proba_col, spec.prediction_col, spec.label_col}))

    def of_column(self, name: str) -> float:
        """Its share, 1 where nothing is known of it."""
        return 1.0 if name in self.answers else self.importances.get(name, 1.0)

    def matters(self, name: str) -> bool:
        """Whether the model uses it enough for anybody to be told."""
        return self.of_column(name) >= UNIMPORTANT


@dataclass(frozen=True, slots=True)
class Finding:
    """A track that is called at a window."""

    track: Track
    at: int
    alpha: float

    @property
    def column(self) -> str:
        """Its name."""
        return self.track.column

    @property
    def effect(self) -> float:
        """How large."""
        return float(self.track.effects[self.at])

    @property
    def p_value(self) -> float:
        """How sure."""
        return float(self.track.p_values[self.at])

    @property
    def beyond(self) -> float:
        """The effect in floors."""
        return self.effect / float(self.track.floors[self.at])

    @property
    def critical(self) -> bool:
        """Half as much again as the floor: no second window is waited for. That it is sure, the budget has seen to."""
        return self.beyond >= FAR

    def sentence(self, granularity: Granularity) -> str:
        """What was found, with its figures."""
        span = granularity.span(self.track.scale)
        return f"{self.column}: {_what(self.track, self.at)} over {span} (n={self.track.rows[self.at]})"

    def figures(self) -> Mapping[str, float]:
        """The same for programs."""
        return {
            "windows": float(self.track.scale),
            "rows": float(self.track.rows[self.at]),
            "effect": self.effect,
            "limit": float(self.track.floors[self.at]),
            "p_value": self.p_value,
            "alpha": self.alpha,
        }


def ranked(findings: Sequence[Finding], weights: Weights) -> Sequence[Finding]:
    """The worst finding of each column: features before answers, then by importance times effect in floors, ties by name."""
    worst: dict[str, Finding] = {}
    for one in findings:
        if one.column not in worst or one.beyond > worst[one.column].beyond:
            worst[one.column] = one
    return sorted(
        worst.values(),
        key=lambda one: (one.column in weights.answers, -weights.of_column(one.column) * one.beyond, one.column),
    )


def severity(findings: Sequence[Finding], weights: Weights) -> Severity:
    """Info where nothing of it matters, critical where something that matters is far over its floor."""
    mattering = [one for one in findings if weights.matters(one.column)]
    if not mattering:
        return "info"
    return "critical" if any(one.critical for one in mattering) else "warning"


def also(ordered: Sequence[Finding], weights: Weights) -> str:
    """The other columns, and that answers follow features."""
    rest = [one.column for one in ordered[1:] if one.column not in weights.answers]
    answers = [one.column for one in ordered if one.column in weights.answers]
    names = ", ".join(rest[:_NAMED]) + (f" and {len(rest) - _NAMED} more" if len(rest) > _NAMED else "")
    text = f"; also {names}" if rest else ""
    if answers and ordered[0].column not in weights.answers:
        text += f"; {', '.join(answers)} moved with it"
    return text


def ranked_figures(ordered: Sequence[Finding], weights: Weights) -> Mapping[str, float]:
    """Of each column its effect, and its importance where that is known."""
    effects = {f"{one.column}.effect": one.effect for one in ordered}
    known = {one.column: weights.importances[one.column] for one in ordered if one.column in weights.importances}
    return effects | {f"{name}.importance": share for name, share in known.items()}


def _what(track: Track, at: int) -> str:
    effect, limit = float(track.effects[at]), float(track.floors[at])
    sign = int(track.details[at])
    if track.measure == "position":
        return f"moved {'up' if sign >= 0 else 'down'} by {effect:.2f} (KS), limit {limit:.2f},"
    if track.measure in ("shape", "mix"):
        return f"{'KS' if track.measure == 'shape' else 'TV'} {effect:.2f} beyond chance, limit {limit:.2f},"
    if track.measure == "absent":
        return f"{effect:.1%} logged without the column, or with values that can't be read as it,"
    before = _before(track)
    if track.measure == "share":
        moved = float(track.effects[at])
        return f"share of {_category(track, sign)} moved by {moved:.1%}, {before[sign]:.1%} in the reference,"
    share = before[0] + sign * effect
    words = {
        "missing": "missing",
        "outside": "outside of the reference's range",
        "new": "in categories that the reference does not list",
    }
    return f"{share:.1%} {words[track.measure]}, {before[0]:.1%} in the reference,"


def _before(track: Track) -> Sequence[float]:
    profile = track.profile
    values = max(sum(profile.counts), 1)
    if track.measure == "missing":
        return [profile.missing / max(profile.rows, 1)]
    if track.measure == "outside":
        return [0.0]
    if track.measure == "new":
        return [profile.counts[-1] / values]
    shares = [0.0] * (int(profile.coarse[-1]) + 1)
    for cell, count in zip(profile.coarse.tolist(), profile.counts, strict=True):
        shares[cell] += count / values
    return shares


def _category(track: Track, group: int) -> str:
    categories = track.profile.categories
    alone = group < len(categories) and list(track.profile.coarse).count(group) == 1
    return f"'{categories[group]}'" if alone else "rare categories"
