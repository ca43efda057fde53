"""A model as an ONNX graph, and what its answers mean."""

from __future__ import annotations

from dataclasses import dataclass

from millrace.serving.models.paths.classes import Kind
from millrace.serving.models.paths.forest import Forest
from millrace.serving.models.paths.texts import Vocabulary


@dataclass(frozen=True, slots=True)
class Conversion:
    """A converted model.

    Attributes:
        graph: the ONNX file.
        kind: what its scores are.
        classes: of a classifier; None for a regressor.
        vocabularies: one for each text input.
        forest: the model's trees; None for a model of another kind.
        direct: whether the trees look at the inputs themselves, not at what a pipeline made of them.
    """

    graph: bytes
    kind: Kind
    classes: tuple[object, ...] | None
    vocabularies: tuple[Vocabulary, ...]
    forest: Forest | None
    direct: bool
