"""The network as ONNX Runtime runs it, and its checks: the only file that knows ONNX Runtime.

    network = Network(content, model_file, metadata, outline, threads=2)
    [predictions] = network.run(tensor)  # (1, H, W, 3) uint8 BGR

Set for boards: threads are bounded and sleep between two frames. The provider (what computes: the processor, CUDA,
OpenVINO, ...) is the one that was asked for; ONNX Runtime would fall back to the processor without a word, here that
is an error.

Measured on two cores of an AMD EPYC, FP32, 960x544, peak memory of the process and time in ratios: memory patterns off
0.81 and 1.0, so they are off; with the arena off as well 1.4 and 1.1, so it stays; `kSameAsRequested` 1.0 and
1.0. In a batch each picture takes as long as alone and 40 MB more (1056x640): the processor gets at most four at once.

All networks of a process share one arena that is limited, so that a model file cannot ask for all memory of the board.
"""

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort  # type: ignore[import-untyped]  # ships no types

from edge.contract import INPUT_NAME, MAX_DETECTIONS, OUTPUT_NAMES, ModelMetadata
from edge.errors import ModelError, ProcessingError, UnusableInputError
from edge.machine import memory_bytes
from edge.onnx_wire import ModelOutline
from edge.records import PROCESSOR, Boxes, Scores

_MOST_ON_PROCESSOR = 4  # pictures in a batch
_MOST_ELSEWHERE = 32
_SUFFIX = "ExecutionProvider"
_MOST_MEMORY_BYTES = 4_000_000_000  # of all networks together, and at most half of what the machine has
_ERRORS_ONLY, _NOTHING = 3, 4  # ONNX Runtime's log levels; its errors are raised as well, and told in a line of ours
_LONGEST_REASON = 200  # letters
_ROUNDING = 1e-5  # of a number that a graph holds in float32

Tensor = npt.NDArray[np.uint8]  # (B, H, W, 3) BGR


@dataclass(frozen=True, slots=True)
class Predictions:
    """What was seen in one picture: boxes in input pixels by descending score, at most 500. Those of one look are 500,
    zero past the last peak."""

    boxes_xyxy: Boxes  # (N, 4)
    scores: Scores  # (N,)
    presence: float


def available_providers() -> tuple[str, ...]:
    """What the installed ONNX Runtime can compute with, by its own names, the fastest first."""
    return tuple(ort.get_available_providers())


def choose_provider(asked: str | None, available: tuple[str, ...]) -> str:
    """ONNX Runtime's name for what was asked for, in any case and with or without `ExecutionProvider`; None: processor.

    Raises:
        UnusableInputError: the installed ONNX Runtime does not offer it.
    """
    if asked is None:
        return PROCESSOR
    wanted = asked.lower().removesuffix(_SUFFIX.lower())
    for name in available:
        if name.lower().removesuffix(_SUFFIX.lower()) == wanted:
            return name
    offered = ", ".join(name.removesuffix(_SUFFIX) for name in available)
    raise UnusableInputError(
        f"provider must be one of {offered}, got {asked!r}; "
        "install the build of ONNX Runtime that has it, for example onnxruntime-gpu or onnxruntime-openvino"
    )


class Network:
    """One loaded model file on one provider.

    Raises:
        ModelError: no ONNX, or its graph breaks the contract or contradicts its metadata.
        UnusableInputError: the provider cannot be had, or would leave all the work to the processor.
    """

    def __init__(
        self,
        content: bytes,
        model_file: Path,
        metadata: ModelMetadata,
        outline: ModelOutline,
        threads: int,
        provider: str | None = None,
    ) -> None:
        _check_outline(metadata, outline, model_file)
        self.provider = choose_provider(provider, available_providers())
        self._session = _load(content, model_file, session_options(threads, self.provider), self.provider)
        _refuse_fallback(self._session, self.provider)
        _check_graph(self._session, model_file)
        _check_smallest(self._session, metadata, model_file)

    @property
    def on_processor(self) -> bool:
        """Whether the processor computes: it takes any shape at once, where others build an engine for each."""
        return self.provider == PROCESSOR

    @property
    def most_in_a_batch(self) -> int:
        """How many pictures to give it at once at most, for the sake of memory."""
        return _MOST_ON_PROCESSOR if self.on_processor else _MOST_ELSEWHERE

    def run(self, tensor: Tensor) -> tuple[Predictions, ...]:
        """What the network says of each picture of a batch (B, H, W, 3) uint8 BGR.

        Raises:
            ProcessingError: ONNX Runtime failed, for want of memory as a rule, or what it gave are no numbers.
        """
        try:
            boxes_xyxy, scores, presence = self._session.run(OUTPUT_NAMES, {INPUT_NAME: tensor})
        except Exception as error:  # ONNX Runtime's errors share no base class of their own
            raise ProcessingError(
                f"the network failed on an input of {tensor.shape[2]}x{tensor.shape[1]}: {_first_line(error)}; "
                "try a smaller --size"
            ) from error
        in_range = np.all((presence >= 0) & (presence <= 1))  # NaN is not; it is below any threshold, and so "clear"
        if not (in_range and np.isfinite(scores).all() and np.isfinite(boxes_xyxy).all()):
            raise ProcessingError(
                f"the network's outputs must be finite, with presence in 0..1, got others on an input of "
                f"{tensor.shape[2]}x{tensor.shape[1]} by {self.provider}; try another --provider or --precision"
            )
        return tuple(Predictions(boxes_xyxy[k], scores[k], float(presence[k])) for k in range(len(tensor)))


def session_options(threads: int, provider: str = PROCESSOR) -> ort.SessionOptions:
    """How ONNX Runtime is set, see the module's docstring."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Else bytes that hold a second model in ONNX Runtime's own format would be taken for that: what is walked, runs.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.log_severity_level = _NOTHING if provider == PROCESSOR else _ERRORS_ONLY
    options.enable_mem_pattern = False
    _limit_memory()
    options.add_session_config_entry("session.use_env_allocators", "1")  # the limited arena
    # Spinning threads burn whole cores between two frames (AutoSplit64 #51).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if provider != PROCESSOR:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


@functools.cache
def _limit_memory() -> None:
    """ONNX Runtime's own arena, with a limit; it takes one for the whole process."""
    place = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    usual = dict.fromkeys(("arena_extend_strategy", "initial_chunk_size_bytes", "max_dead_bytes_per_chunk"), -1)
    machine = memory_bytes()
    most = _MOST_MEMORY_BYTES if machine is None else min(_MOST_MEMORY_BYTES, machine // 2)
    ort.create_and_register_allocator(place, ort.OrtArenaCfg({"max_mem": most, **usual}))


def _load(content: bytes, model_file: Path, options: ort.SessionOptions, provider: str) -> ort.InferenceSession:
    providers = [provider] if provider == PROCESSOR else [provider, PROCESSOR]  # for the few nodes that it lacks
    try:
        # enable_fallback: else a failure, now or in flight, moves all the work to the processor
        session = ort.InferenceSession(content, options, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's errors share no base class of their own
        if provider != PROCESSOR:
            raise UnusableInputError(
                f"provider {provider} cannot run this model here: {_first_line(error)}; try --provider cpu"
            ) from None
        raise ModelError(f"{model_file} must be an ONNX model: {_first_line(error)}") from None
    session._model_bytes = None  # the whole file, which it would keep for a fallback
    return session


def _refuse_fallback(session: ort.InferenceSession, provider: str) -> None:
    """A provider that could not start, or takes no node, would leave all the work to the processor in silence."""
    if provider == PROCESSOR:
        return
    used = session.get_providers()
    if used[0] != provider:
        raise UnusableInputError(
            f"provider must be one that starts on this machine, got {provider!r}, which left its work to {used[0]}; "
            "check its driver and libraries, or use --provider cpu"
        )
    nodes = nodes_by_provider(session)
    if nodes is not None and not nodes.get(provider):
        raise UnusableInputError(
            f"provider must be one that can run this model, got {provider!r}, which takes none of its "
            f"{sum(nodes.values())} nodes; use --provider cpu"
        )


def nodes_by_provider(session: ort.InferenceSession) -> dict[str, int] | None:
    """How many nodes of the graph each provider has taken; None where this ONNX Runtime cannot tell (before 1.24)."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return None
    counts: dict[str, int] = {}
    for part in session.get_provider_graph_assignment_info():
        counts[part.ep_name] = counts.get(part.ep_name, 0) + len(part.get_nodes())
    return counts


def _check_graph(session: ort.InferenceSession, model_file: Path) -> None:
    inputs = session.get_inputs()
    if [(node.name, node.type) for node in inputs] != [(INPUT_NAME, "tensor(uint8)")]:
        got = [(node.name, node.type) for node in inputs]
        raise ModelError(f"{model_file} must have the one input {INPUT_NAME!r} of uint8, got {got}; export it again")
    shape = inputs[0].shape
    if len(shape) != 4 or shape[3] != 3 or any(isinstance(side, int) for side in shape[:3]):
        rule = f"take {INPUT_NAME!r} as (B, H, W, 3) with B, H and W dynamic"
        raise ModelError(f"{model_file} must {rule}, got {shape}; export it again")
    outputs = {node.name: node for node in session.get_outputs()}
    for name, rest in zip(OUTPUT_NAMES, ([MAX_DETECTIONS, 4], [MAX_DETECTIONS], []), strict=True):
        node = outputs.get(name)
        if node is None or node.type != "tensor(float)" or not _matches(node.shape, rest):
            rule = f"have an output {name!r} of float32 and shape {['B', *rest]}"
            found = None if node is None else f"{node.type} {node.shape}"
            raise ModelError(f"{model_file} must {rule}, got {found}; export it again")


def _check_outline(metadata: ModelMetadata, outline: ModelOutline, model_file: Path) -> None:
    """What can be told from the bytes alone; a file of before the stride had a name is not asked for it."""
    quantised = "QuantizeLinear" in outline.operators
    if quantised != (metadata.precision == "int8"):
        found = "quantised" if quantised else "not quantised"
        raise ModelError(f"{model_file} says that it is {metadata.precision}, but is {found}; export it again")
    for name, said in metadata.constants.items():
        held = outline.constants.get(name, said)
        if not math.isclose(held, said, rel_tol=_ROUNDING, abs_tol=_ROUNDING):
            rule = f"say in its metadata what its graph computes with, {name} {held:g}"
            raise ModelError(f"{model_file} must {rule}, got {said:g}; export it again")


def _check_smallest(session: ort.InferenceSession, metadata: ModelMetadata, model_file: Path) -> None:
    """What the metadata promise is tried on the smallest picture that they allow."""
    side = metadata.input_multiple
    try:
        found = session.run(OUTPUT_NAMES, {INPUT_NAME: np.full((1, side, side, 3), metadata.pad_value, np.uint8)})
    except Exception as error:  # ONNX Runtime's errors share no base class of their own
        raise ModelError(
            f"{model_file} must take sides of {side} as its metadata say, got {_first_line(error)}; export it again"
        ) from None
    due = [(1, MAX_DETECTIONS, 4), (1, MAX_DETECTIONS), (1,)]
    if [values.shape for values in found] != due or not all(np.isfinite(values).all() for values in found):
        shapes = [values.shape for values in found]
        raise ModelError(f"{model_file} must give finite outputs of shapes {due}, got {shapes}; export it again")


def _matches(shape: list[int | str | None], rest: list[int]) -> bool:
    """Whether an output has a batch axis and then `rest`; an axis that the graph leaves open may be anything."""
    return len(shape) == 1 + len(rest) and all(
        not isinstance(got, int) or got == due for got, due in zip(shape[1:], rest, strict=True)
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:_LONGEST_REASON] if lines else type(error).__name__
