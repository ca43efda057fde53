"""A converted model on ONNX Runtime, on the caller's thread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from millrace.serving.inputs import Inputs
from millrace.serving.models.paths.classes import Kind, answered
from millrace.serving.models.paths.graph import CODES, NUMBERS, SCORES
from millrace.serving.models.paths.path import PredictFunction
from millrace.serving.models.paths.texts import Vocabulary, encode
from millrace.serving.types import Prediction

_ERRORS_ONLY = 3


def open_onnx(
    graph: bytes | Path, kind: Kind, classes: Sequence[object] | None, vocabularies: Sequence[Vocabulary]
) -> PredictFunction:
    """A session over the graph (its bytes, or the file that has them)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    source = graph if isinstance(graph, bytes) else str(graph)
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    run, wanted = session.run, [SCORES]

    def predict(inputs: Inputs) -> Prediction:
        given = {NUMBERS: inputs.numbers}
        if vocabularies:
            given[CODES] = encode(vocabularies, inputs)
        return answered(run(wanted, given)[0], kind, classes)

    return predict
