"""Files like the released weights of YOLOX-nano."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor


def write_onnx(file: Path, weights: list[tuple[Tensor, Tensor]]) -> Path:
    """Convolutions in this order, as the released file lists them; what lies between does not matter."""
    nodes, stored = [], []
    for k, pair in enumerate(weights):
        names = [f"w{k}", f"b{k}"]
        nodes.append(helper.make_node("Conv", ["x", *names], [f"y{k}"]))
        stored += [numpy_helper.from_array(t.numpy(), name) for t, name in zip(pair, names, strict=True)]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], [], stored)), file)
    return file
