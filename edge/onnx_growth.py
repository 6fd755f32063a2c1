"""What may a model's graph consist of, and what may its constants ask for? Judged before anything is computed.

ONNX Runtime computes at load whatever depends on constants alone, so a few bytes can ask for gigabytes.
"""

import math
from dataclasses import dataclass

MAX_GROWTH = 4_000_000  # what constants may ask for: elements of a shape, of a range, of a repetition
MAX_SIDES = 8  # of one tensor
MAX_ENLARGED = 4_096  # times, by all operators together that multiply what the picture gives
_UNKNOWN = math.inf

# What kestrel-export and the quantiser write, and close relatives. No control flow, no sequences, no strings, no random
# numbers, no files.
_SHUFFLES = frozenset(
    "Cast Concat Constant DepthToSpace DequantizeLinear Flatten Gather GatherElements GatherND Identity "  # noqa: SIM905
    "QuantizeLinear Reshape Shape Size Slice SpaceToDepth Split Squeeze Transpose Unsqueeze".split()
)
_ELEMENTWISE = frozenset(
    "Abs Add And Ceil Clip Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish "  # noqa: SIM905
    "LeakyRelu Less LessOrEqual Log Max Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Sigmoid Sign "
    "Softmax Softplus Sqrt Sub Sum Tanh Where".split()
)
_LAYERS = frozenset(
    "ArgMax AveragePool BatchNormalization Conv Gemm GlobalAveragePool GlobalMaxPool InstanceNormalization "  # noqa: SIM905
    "LayerNormalization MatMul MaxPool ReduceMax ReduceMean ReduceMin ReduceSum TopK".split()
)
# Operators that make tensors as large as a number says, and which of their inputs say so. (Reshape claims it: what is
# computed from the claim must stay small, too.)
_GROWING = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (2, 3),
    "Tile": (1,),
}
_MULTIPLYING = frozenset({"Resize", "Tile"})
_REARRANGING = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})
_SHAPE_ARITHMETIC = _REARRANGING | {"Add", "Concat", "Div", "Gather", "Max", "Min", "Mul", "Sub", "Where"}
OPERATORS = _SHUFFLES | _ELEMENTWISE | _LAYERS | _GROWING.keys()
DOMAINS = frozenset({"", "ai.onnx"})


class RefusedError(Exception):
    """Well formed, but no model of ours."""

    def __init__(self, rule: str, got: object) -> None:
        super().__init__(f"must be {rule}, got {got}; export it with kestrel-export")


@dataclass(frozen=True, slots=True)
class Constant:
    """A tensor that the file holds."""

    name: str
    elements: int
    numbers: tuple[float, ...] | None  # where they are few


@dataclass(frozen=True, slots=True)
class Node:
    """One operator of the graph."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constant: Constant | None = None  # of the operator Constant
    sides: int = MAX_SIDES  # that the operator Shape tells, at most


@dataclass(frozen=True, slots=True)
class Graph:
    """What is judged of a graph."""

    nodes: tuple[Node, ...]
    constants: tuple[Constant, ...]


@dataclass(frozen=True, slots=True)
class _Reach:
    """Bounds of a tensor that may become a shape. The sides of the picture count as 1."""

    largest: float  # magnitude of its numbers
    count: float  # of its numbers
    volume: float  # product of its numbers
    least: float = 0.0  # magnitude


_ANYTHING = _Reach(_UNKNOWN, _UNKNOWN, _UNKNOWN)


def check_growth(graph: Graph) -> None:
    """Small constants must not be able to ask for large tensors.

    For every tensor that may become a shape, its reach is followed through the graph. For every tensor that depends on
    constants alone, which ONNX Runtime computes at load, `folded` bounds its elements.
    """
    folded = {constant.name: constant.elements for constant in graph.constants}
    reach = {constant.name: _reach(constant.numbers) for constant in graph.constants}
    budget = MAX_GROWTH + 2 * sum(folded.values())
    enlarged = 1
    due = {name for node in graph.nodes for name in node.outputs}
    for node in graph.nodes:
        inputs = [name for name in node.inputs if name]
        if not due.isdisjoint(inputs):  # ONNX Runtime would sort them, and compute what we took for no constant
            raise RefusedError("made of nodes in the order in which they run", f"{node.operator} before its inputs")
        due.difference_update(node.outputs)
        elements = node.constant.elements if node.constant else _folded_after(node, inputs, folded)
        if node.operator in _GROWING:
            asked = _asked_for(node, reach)
            elements = max(elements, asked)
            enlarged *= asked if node.operator in _MULTIPLYING else 1
            if enlarged > MAX_ENLARGED:
                raise RefusedError(f"made to enlarge at most {MAX_ENLARGED} times", f"more at {node.operator}")
        if node.constant or all(name in folded for name in inputs):
            folded.update(dict.fromkeys(node.outputs, elements))
            budget -= elements
        after = _reach(node.constant.numbers) if node.constant else _reach_after(node, reach)
        reach.update(dict.fromkeys(node.outputs, after))
        if budget < 0:
            rule = f"made of constants that grow to at most {MAX_GROWTH} numbers"
            raise RefusedError(rule, f"more at {node.operator}")


def _reach(numbers: tuple[float, ...] | None) -> _Reach:
    if numbers is None:
        return _ANYTHING
    sizes = [abs(n) for n in numbers]
    if not all(map(math.isfinite, sizes)):
        return _ANYTHING
    product = math.prod(max(1.0, size) for size in sizes)
    return _Reach(max(sizes, default=0.0), len(sizes), product, min(sizes, default=0.0))


def _reach_after(node: Node, reach: dict[str, _Reach]) -> _Reach:
    """What may come out of a node, if it computes shapes at all."""
    sources = [reach.get(name, _ANYTHING) for name in node.inputs if name]
    if node.operator in ("Shape", "Size"):
        return _Reach(1.0, node.sides, 1.0)
    if not sources or node.operator not in _SHAPE_ARITHMETIC:
        return _ANYTHING
    first = sources[0]
    if node.operator in _REARRANGING:
        return _Reach(first.largest, first.count, first.volume)
    if node.operator == "Concat":
        count, volume = sum(one.count for one in sources), math.prod(max(1.0, one.volume) for one in sources)
        return _Reach(max(one.largest for one in sources), count, volume)
    if node.operator == "Div":
        largest = first.largest if sources[-1].least >= 1 else _UNKNOWN
    elif node.operator == "Mul":
        largest = math.prod(max(1.0, one.largest) for one in sources)
    elif node.operator == "Gather":
        largest = first.largest
    else:
        largest = sum(one.largest for one in sources)
    count = math.prod(max(1.0, one.count) for one in sources)  # broadcast, or gathered again and again
    return _Reach(largest, count, _power(largest, count))


def _power(base: float, exponent: float) -> float:
    """Infinite where it would be too large to tell."""
    if base <= 1:
        return 1.0
    return base**exponent if exponent * math.log(base) < 100 else _UNKNOWN


def _folded_after(node: Node, inputs: list[str], folded: dict[str, int]) -> int:
    """Elements that come out of constants; 0 where something depends on the picture.

    Raises RefusedError for a layer on constants alone: the exporter has computed it already.
    """
    if not all(name in folded for name in inputs):
        return 0
    if node.operator in _SHUFFLES - {"Gather", "GatherND", "GatherElements"}:
        return sum(folded[name] for name in inputs)
    if node.operator in _LAYERS:
        raise RefusedError("made of layers that depend on the picture", f"{node.operator} of constants alone")
    return math.prod(max(1, folded[name]) for name in inputs)


def _asked_for(node: Node, reach: dict[str, _Reach]) -> int:
    """Elements that the numbers of a growing operator ask for.

    Raises RefusedError where they are too many, or depend on what the picture shows.
    """
    names = [node.inputs[k] for k in _GROWING[node.operator] if k < len(node.inputs) and node.inputs[k]]
    asking = [reach.get(name, _ANYTHING) for name in names]
    if node.operator == "Range":  # of three single numbers; steps below 1 would make many of them
        asked = asking[0].largest + asking[1].largest if len(asking) == 3 and asking[2].least >= 1 else _UNKNOWN
    else:
        asked = math.prod(max(1.0, one.volume) for one in asking)
    if not asked <= MAX_GROWTH:
        raise RefusedError(f"free of shapes beyond {MAX_GROWTH} numbers", f"{node.operator} that asks for more")
    return int(asked)
