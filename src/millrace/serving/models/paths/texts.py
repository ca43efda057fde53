"""Text inputs as numbers: what a fitted encoder makes of each text is asked of the encoder itself, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from millrace.core.errors import InvalidInput
from millrace.serving.inputs import Inputs
from millrace.serving.models.paths.path import Unsuitable

_MOST_TEXTS = 100_000
_UNSEEN = "\x00 a text that no training row has"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The texts of one input that the model tells apart.

    Attributes:
        column: the input's name.
        codes: known text, or None for missing, to its code.
        other: the code of all other texts, not of a missing one; None where the model refuses them.
    """

    column: str
    codes: Mapping[str | None, int]
    other: int | None

    def encode(self, texts: Sequence[str | None]) -> list[int]:
        """The codes of some texts.

        Raises:
            InvalidInput: a text that the model refuses.
        """
        codes, other = self.codes, self.other
        found = [codes.get(text, other if text is not None else None) for text in texts]
        if None in found:
            raise InvalidInput(
                f"column '{self.column}' has a text that the model does not know",
                hint="send one that it was trained with",
                column=self.column,
            )
        return found  # type: ignore[return-value]


def encode(vocabularies: Sequence[Vocabulary], inputs: Inputs) -> np.ndarray:
    """The text inputs as n x t codes."""
    pairs = zip(vocabularies, inputs.texts, strict=True)
    return np.array([vocabulary.encode(texts) for vocabulary, texts in pairs], dtype=np.int64).T


@dataclass(frozen=True, slots=True)
class Table:
    """What an encoder makes of one column: a row for each code, and where in its output that stands."""

    vocabulary: Vocabulary
    rows: np.ndarray
    places: np.ndarray


def tabulate(encoder: Any, columns: Sequence[str]) -> tuple[list[Table], int]:
    """What a fitted transformer of text columns makes of each text of each column, and its output's width.

    One column is varied at a time, so it must look at each column alone, as encoders and imputers do.

    Raises:
        Unsuitable: it mixes columns, or has too many texts.
    """
    known = _known(encoder, columns)
    if sum(map(len, known)) > _MOST_TEXTS:
        raise Unsuitable("it has too many texts")
    usual: list[str | None] = [texts[0] if texts else None for texts in known]
    base = _transformed(encoder, columns, [usual])
    if base is None:
        raise Unsuitable("its encoder refuses texts that it was trained with")
    taken = np.zeros(base.shape[1], dtype=bool)
    tables = []
    for place, column in enumerate(columns):
        asked: list[str | None] = [*known[place], None, _UNSEEN]
        rows, accepted = _answers(encoder, columns, usual, place, asked)
        varies = (rows != base).any(axis=0) & ~(np.isnan(rows) & np.isnan(base)).all(axis=0)
        if (varies & taken).any():
            raise Unsuitable("its encoder mixes columns")
        if place == len(columns) - 1:
            varies |= ~(taken | varies)  # what no text changes goes with the last
        taken |= varies
        codes = {text: code for code, text in enumerate(accepted) if text != _UNSEEN}
        other = accepted.index(_UNSEEN) if _UNSEEN in accepted else None
        tables.append(Table(Vocabulary(column, codes, other), rows[:, varies], np.flatnonzero(varies)))
    return tables, base.shape[1]


def _known(encoder: Any, columns: Sequence[str]) -> list[list[str]]:
    """The texts in the categories and fill values of a transformer, or of a pipeline's steps."""
    found: list[dict[str, None]] = [{} for _ in columns]
    for step in getattr(encoder, "named_steps", {"": encoder}).values():
        for name in ("categories_", "statistics_"):
            values = getattr(step, name, None)
            if values is not None and len(values) == len(columns):
                for texts, each in zip(found, values, strict=True):
                    texts |= {text: None for text in np.atleast_1d(each) if isinstance(text, str)}
    return [list(texts) for texts in found]


def _answers(
    encoder: Any, columns: Sequence[str], usual: Sequence[str | None], place: int, asked: Sequence[str | None]
) -> tuple[np.ndarray, list[str | None]]:
    """What comes out for each text of one column, and which texts are not refused."""
    rows = [[*usual[:place], text, *usual[place + 1 :]] for text in asked]
    whole = _transformed(encoder, columns, rows)
    if whole is not None:
        return whole, list(asked)
    # None and the unseen text are asked alone where they are refused; what is known is not.
    each = [(text, _transformed(encoder, columns, [row])) for text, row in zip(asked[-2:], rows[-2:], strict=True)]
    first = _transformed(encoder, columns, rows[:-2])
    answers = [(text, answer) for text, answer in each if answer is not None]
    parts = [part for part in (first, *(answer for _, answer in answers)) if part is not None]
    return np.concatenate(parts), [*asked[:-2], *(text for text, _ in answers)]


def _transformed(encoder: Any, columns: Sequence[str], rows: Sequence[Sequence[str | None]]) -> np.ndarray | None:
    import pandas as pd

    if not rows:
        return None
    frame = pd.DataFrame(rows, columns=list(columns), dtype=object)
    try:
        answer = encoder.transform(frame)
        return np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer, dtype=np.float64)
    except Exception:  # noqa: BLE001 - a foreign encoder may raise anything
        return None
