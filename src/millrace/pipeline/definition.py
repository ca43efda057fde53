"""What makes a pipeline the one that it is: another definition asks for a training."""

from __future__ import annotations

from millrace.features.functions.store import FunctionStore, code_hash
from millrace.pipeline.declare import FeatureTable, LabelTable, Pipeline
from millrace.pipeline.fingerprint import fingerprint


def definition(pipeline: Pipeline, functions: FunctionStore) -> str:
    """Hash of everything that a training depends on besides data: another one asks for a training.

    Raises:
        NotFound: the pipeline uses a feature function that nobody has registered.
    """
    computed = [(table.name, table.compute) for table in computed_tables(pipeline)]
    called = [(function, code_hash(functions, function.udf_name)) for function in pipeline.functions]
    return fingerprint(
        computed,
        pipeline.labels,
        pipeline.all_lookups,
        pipeline.split,
        pipeline.holdout,
        pipeline.exclude,
        pipeline.candidates,
        pipeline.gates,
        pipeline.choose_by,
        pipeline.model_name,
        pipeline.seed,
        *called,
        *pipeline.skip_gates,
    )


def computed_tables(pipeline: Pipeline) -> list[FeatureTable | LabelTable]:
    """The tables that the pipeline computes: its feature tables, and its labels unless somebody else fills them."""
    return [table for table in [*pipeline.features, pipeline.label] if isinstance(table, FeatureTable | LabelTable)]
