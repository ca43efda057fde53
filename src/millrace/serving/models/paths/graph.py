"""Building an ONNX graph, one operation after the other."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from millrace.serving.models.paths.forest import Forest, Link, negated, node_attributes

NUMBERS: Final = "numbers"
CODES: Final = "codes"
SCORES: Final = "scores"
_VERSIONS: Final = {"": 21, "ai.onnx.ml": 5}
_TENSORS: Final = {"nodes_modes", "nodes_splits", "leaf_weights"}


class Graph:
    """A graph from `numbers` (n x k float64) and, where a model takes text, `codes` (n x t int64) to `scores` (n x w).

    All is float64, as in the libraries, but for what they do in float32; names of tensors are what `add` and `constant` return.
    """

    def __init__(self, numbers: int, texts: int) -> None:
        self._numbers, self._texts = numbers, texts
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: object) -> str:
        """Add an operation; the name of what it gives."""
        from onnx.helper import make_node

        name = f"t{len(self._nodes)}"
        self._nodes.append(make_node(operator, inputs, [name], domain=domain, **attributes))
        return name

    def constant(self, values: Any, kind: type = np.float64) -> str:
        """Add a constant; its name."""
        from onnx.numpy_helper import from_array

        name = f"c{len(self._constants)}"
        self._constants.append(from_array(np.asarray(values, dtype=kind), name))
        return name

    def choose(self, tensor: str, columns: Any) -> str:
        """Some columns of a matrix, in that order."""
        return self.add("Gather", tensor, self.constant(columns, np.int64), axis=1)

    def rounded(self, tensor: str) -> str:
        """The nearest float32, as float64 again."""
        from onnx import TensorProto

        return self.add("Cast", self.add("Cast", tensor, to=TensorProto.FLOAT), to=TensorProto.DOUBLE)

    def double(self, tensor: str) -> str:
        """A tensor as float64."""
        from onnx import TensorProto

        return self.add("Cast", tensor, to=TensorProto.DOUBLE)

    def forest(self, tensor: str, forest: Forest) -> str:
        """What the trees say to each row."""
        if forest.single:
            return self._single(tensor, forest)
        scores = self._sums(self.rounded(tensor) if forest.rounded else tensor, forest)
        if forest.divisor is not None:
            scores = self.add("Div", scores, self.constant(forest.divisor))
        return self.link(scores, forest.link)

    def link(self, tensor: str, link: Link) -> str:
        """Sums to answers."""
        operators = {"sigmoid": "Sigmoid", "exp": "Exp"}
        if link == "softmax":
            return self.add("Softmax", tensor, axis=1)
        return tensor if link == "identity" else self.add(operators[link], tensor)

    def _sums(self, tensor: str, forest: Forest) -> str:
        from onnx.numpy_helper import from_array

        attributes = node_attributes(forest)
        tensors = {name: from_array(attributes[name]) for name in _TENSORS}
        return self.add("TreeEnsemble", tensor, domain="ai.onnx.ml", **{**attributes, **tensors})

    def _single(self, tensor: str, forest: Forest) -> str:
        """The same in float32, rounded after each operation as XGBoost rounds, so that both say the same to the bit but rarely."""
        from onnx import TensorProto

        tensor = self.add("Cast", tensor, to=TensorProto.FLOAT)
        if forest.link == "sigmoid":
            # One minus sign less to compute: sums of negated leaves are the negated sums, exactly.
            odds = self._single_exp(self._sums(tensor, negated(forest)))
            return self.add("Reciprocal", self.add("Add", odds, self.constant(1, np.float32)))
        sums = self._sums(tensor, forest)
        if forest.link == "softmax":
            columns = self.constant([1], np.int64)
            parts = self._single_exp(self.add("Sub", sums, self.add("ReduceMax", sums, columns)))
            whole = self.add("ReduceSum", self.add("Cast", parts, to=TensorProto.DOUBLE), columns)
            return self.add("Div", parts, self.add("Cast", whole, to=TensorProto.FLOAT))
        return self._single_exp(sums) if forest.link == "exp" else sums

    def _single_exp(self, tensor: str) -> str:
        """The nearest float32; ONNX Runtime's own is a fast approximation."""
        from onnx import TensorProto

        exact = self.add("Exp", self.add("Cast", tensor, to=TensorProto.DOUBLE))
        return self.add("Cast", exact, to=TensorProto.FLOAT)

    def model(self, scores: str, *, single: bool = False) -> bytes:
        """The whole graph, in ONNX's file format, checked; `single` tells that the scores are float32."""
        from onnx import TensorProto, checker
        from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

        nodes = [*self._nodes, make_node("Identity", [scores], [SCORES])]
        inputs = [make_tensor_value_info(NUMBERS, TensorProto.DOUBLE, [None, self._numbers])]
        if self._texts:
            inputs.append(make_tensor_value_info(CODES, TensorProto.INT64, [None, self._texts]))
        outputs = [make_tensor_value_info(SCORES, TensorProto.FLOAT if single else TensorProto.DOUBLE, [None, None])]
        graph = make_graph(nodes, "millrace", inputs, outputs, self._constants)
        versions = [make_opsetid(domain, version) for domain, version in _VERSIONS.items()]
        model = make_model(graph, opset_imports=versions, ir_version=10)
        checker.check_model(model)
        return bytes(model.SerializeToString())
