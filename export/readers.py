"""Who reads which tensor of a graph."""

import onnx


def readers_of(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """Name of a tensor -> the nodes that read it, in order; one that reads it twice comes twice."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return readers
