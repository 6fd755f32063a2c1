"""A hand-made model that honours the contract to the letter: it finds bright spots of 12 px on dark ground.

Score of a cell (stride 4) = mean brightness of the 12x12 px around it; a peak is a cell no neighbour of which is
brighter; every box is 12x12 px; presence is the best score.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from edge.contract import MAX_DETECTIONS, Calibration, ModelMetadata, TrainingData, VerdictRule

STRIDE = 4
SPOT_PX = 12

METADATA = ModelMetadata(
    name="bright-spots",
    version="1.0",
    modality="thermal",  # spots are grey
    size="small",
    precision="fp32",
    classes=("pedestrian",),
    input_layout="BHWC uint8 BGR",
    strides=(STRIDE,),
    input_multiple=16,
    pad_value=0,
    score_threshold=0.6,
    nms_iou=0.5,
    default_long_side=320,
    max_enlarge=1.5,
    calibration=Calibration(slope=1.0, intercept=0.0),
    verdict=VerdictRule(enter=0.6, leave=0.4, enter_s=0.1, leave_s=0.5),
    intended_use="tests",
    data=(TrainingData("none", "CC0"),),
    metrics={"spots-val": {"ap50": 0.99}},
    commit="0000000",
    settings={},
)


def write_spot_model(path: Path, **changes: object) -> Path:
    """Write the model to `path`; `changes` replace fields of its metadata."""
    return save(path, spot_model(), replace(METADATA, **changes))  # type: ignore[arg-type]


def save(path: Path, model: onnx.ModelProto, metadata: ModelMetadata | None) -> Path:
    """Write any graph with, or without, metadata."""
    if metadata is not None:
        helper.set_model_props(model, metadata.to_props())
    path.write_bytes(model.SerializeToString())
    return path


def spot_model(
    input_type: int = TensorProto.UINT8, input_shape: tuple[object, ...] = ("B", "H", "W", 3)
) -> onnx.ModelProto:
    """The graph; both arguments are there to break the contract."""
    constants = {
        "size_bytes": np.array([1 / 255], np.float32),
        "channel_axis": np.array([3], np.int64),
        "map_axis": np.array([1], np.int64),
        "as_rows": np.array([0, -1], np.int64),
        "no_score": np.zeros(MAX_DETECTIONS, np.float32),
        "one": np.array([1], np.int64),
        "top": np.array([MAX_DETECTIONS], np.int64),
        "last_axis": np.array(-1, np.int64),
        "width_axis": np.array(3, np.int64),
        "zero": np.array(0, np.int64),
        "box_axis": np.array([2], np.int64),
        "stride": np.array(STRIDE, np.float32),
        "half_cell": np.array(STRIDE / 2, np.float32),
        "half_box": np.array(SPOT_PX / 2, np.float32),
        "none": np.array(0, np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        node("ReduceMean", ["float", "channel_axis"], ["grey"], keepdims=1),
        node("Mul", ["grey", "size_bytes"], ["bright"]),
        node("Transpose", ["bright"], ["map"], perm=[0, 3, 1, 2]),
        node(
            "AveragePool",
            ["map"],
            ["scores_map"],
            kernel_shape=[12, 12],
            strides=[4, 4],
            pads=[4, 4, 4, 4],
            count_include_pad=1,
        ),
        node("MaxPool", ["scores_map"], ["highest"], kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]),
        node("Equal", ["scores_map", "highest"], ["is_peak"]),
        node("Where", ["is_peak", "scores_map", "none"], ["peaks"]),
        node("Reshape", ["peaks", "as_rows"], ["flat"]),
        # (B, 500) zeros, so that TopK works for a map with fewer cells
        node("Shape", ["flat"], ["flat_shape"], end=1),
        node("Concat", ["flat_shape", "top"], ["zeros_shape"], axis=0),
        node("Expand", ["no_score", "zeros_shape"], ["zeros"]),
        node("Concat", ["flat", "zeros"], ["candidates"], axis=1),
        node("TopK", ["candidates", "top"], ["scores", "index"], axis=1, sorted=1),
        node("Shape", ["scores_map"], ["map_shape"]),
        node("Gather", ["map_shape", "width_axis"], ["cells_wide"]),
        node("Mod", ["index", "cells_wide"], ["column"]),
        node("Div", ["index", "cells_wide"], ["row"]),
        node("Cast", ["column"], ["column_float"], to=TensorProto.FLOAT),
        node("Cast", ["row"], ["row_float"], to=TensorProto.FLOAT),
        node("Mul", ["column_float", "stride"], ["x_corner"]),
        node("Mul", ["row_float", "stride"], ["y_corner"]),
        node("Add", ["x_corner", "half_cell"], ["x"]),
        node("Add", ["y_corner", "half_cell"], ["y"]),
        *[node(op, [axis, "half_box"], [f"{axis}{end}"]) for axis in "xy" for op, end in (("Sub", 0), ("Add", 1))],
        *[node("Unsqueeze", [edge, "box_axis"], [f"{edge}_column"]) for edge in ("x0", "y0", "x1", "y1")],
        node("Concat", ["x0_column", "y0_column", "x1_column", "y1_column"], ["all_boxes"], axis=2),
        node("Greater", ["scores", "none"], ["is_real"]),
        node("Unsqueeze", ["is_real", "box_axis"], ["is_real_box"]),
        node("Where", ["is_real_box", "all_boxes", "none"], ["boxes_xyxy"]),
        node("Gather", ["scores", "zero"], ["presence"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "bright_spots",
        [helper.make_tensor_value_info("image", input_type, input_shape)],
        [
            helper.make_tensor_value_info("boxes_xyxy", TensorProto.FLOAT, ("B", MAX_DETECTIONS, 4)),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("B", MAX_DETECTIONS)),
            helper.make_tensor_value_info("presence", TensorProto.FLOAT, ("B",)),
        ],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    # Old enough for every ONNX Runtime that we support.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
