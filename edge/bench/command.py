"""`kestrel bench` from words to files: what was asked for, the measurement, its JSON, its picture, its table."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge.bench.run import BenchRequest, run_bench
from edge.errors import InvalidValueError, ProcessingError
from edge.interruption import Stop
from edge.model_files import SHIPPED_NAMES, PrecisionChoice, resolve
from edge.options import rounding_note
from edge.recognizer import Recognizer, RecognizerSettings
from edge.sources import files_of

STDOUT = Path("-")
DEFAULT_CHART = Path("kestrel-bench.png")


@dataclass(frozen=True, slots=True)
class BenchOutputs:
    """Where figures and picture go; files that are there are replaced, as each run makes them anew."""

    json_file: Path | None = None  # STDOUT for standard output; the table goes to stderr then
    chart: Path | None = None  # beside the JSON, else ./kestrel-bench.png

    def __post_init__(self) -> None:
        for name, file in (("json", self.json_file), ("chart", self.chart)):
            if file is not None and file != STDOUT and (file.is_dir() or not file.parent.is_dir()):
                raise InvalidValueError(name, "a file in a folder that exists", str(file))
        if self.chart == STDOUT:
            raise InvalidValueError("chart", "a file", "-", "only --json goes to standard output")
        if self.json_file is not None and _same(self.json_file, self.chart_file):
            advice = "name another with --chart" if self.chart is None else ""
            raise InvalidValueError("chart", "another file than --json's", str(self.chart_file), advice)
        for name, file in (("json", self.json_file), ("chart", self.chart_file)):
            if file is not None and file != STDOUT:
                _refuse_unwritable(name, file)

    def refuse_inputs(self, inputs: Sequence[Path]) -> None:
        """Raises InvalidValueError where a file would be replaced that is measured: a recording, or a model."""
        for name, file in (("json", self.json_file), ("chart", self.chart_file)):
            if file is not None and file != STDOUT and any(_same(file, one) for one in inputs):
                advice = "name another with --chart" if name == "chart" and self.chart is None else ""
                raise InvalidValueError(name, "another file than what is measured", str(file), advice)

    @property
    def chart_file(self) -> Path:
        """Where the picture goes."""
        if self.chart is not None:
            return self.chart
        if self.json_file is None or self.json_file == STDOUT:
            return DEFAULT_CHART
        return self.json_file.with_suffix(".png")


@dataclass(frozen=True, slots=True)
class Operands:
    """The words after `kestrel bench` that belong to no option."""

    source: str | None
    models: tuple[str, ...] = ()  # with --compare


def sort_operands(words: Sequence[str], *, compare: bool) -> Operands:
    """With `--compare` models are told from the source by their names: `.onnx`, or one of the shipped.

    Raises:
        InvalidValueError: more than one source.
    """
    models = tuple(word for word in words if compare and (word.endswith(".onnx") or word in SHIPPED_NAMES))
    sources = [word for word in words if word not in models]
    if len(sources) > 1:
        advice = "models that are compared end in .onnx or have a shipped name" if compare else "name one at a time"
        raise InvalidValueError("SOURCE", "at most one", " ".join(sources), advice)
    return Operands(sources[0] if sources else None, models)


def bench(
    request: BenchRequest, model_file: Path, settings: RecognizerSettings, outputs: BenchOutputs, stop: Stop
) -> None:
    """The sustained run of one model.

    Raises:
        KestrelError: model or source cannot be used, or the results cannot be written.
    """
    from edge.bench.figures import in_words

    outputs.refuse_inputs((model_file, *files_of(request.source)))
    recognizer = Recognizer(model_file, replace(settings, frame_per_core=request.frame_per_core))
    notes = rounding_note(settings.input_wh, recognizer.exact_input_wh)
    report = run_bench(request, recognizer, model_file, stop, notes)
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    _say(outputs, in_words(report), report.to_json())
    from edge.bench.chart import report_chart

    _save_chart(outputs, report_chart(report))


def bench_comparison(
    request: BenchRequest,
    models: Sequence[str],
    precision: PrecisionChoice,
    settings: RecognizerSettings,
    outputs: BenchOutputs,
    stop: Stop,
) -> None:
    """Several models turn by turn.

    Raises:
        KestrelError: a model or the source cannot be used, or the results cannot be written.
    """
    from edge.bench.compare import Contender, compare, comparison_in_words

    files = [resolve(model, precision) for model in models]
    outputs.refuse_inputs((*files, *files_of(request.source)))
    contenders = [Contender(file, Recognizer(file, settings)) for file in files]
    comparison = compare(contenders, request, stop)
    for one in contenders:
        for note in rounding_note(settings.input_wh, one.recognizer.exact_input_wh):
            print(f"warning: {one.file.name}: {note}", file=sys.stderr)
    _say(outputs, comparison_in_words(comparison), comparison.to_json())
    from edge.bench.chart import comparison_chart

    _save_chart(outputs, comparison_chart(comparison))


def bench_sweep(
    request: BenchRequest, model_file: Path, settings: RecognizerSettings, outputs: BenchOutputs, stop: Stop
) -> None:
    """How the cost grows with the input's size and with people.

    Raises:
        KestrelError: the model cannot be used, or the results cannot be written.
    """
    from edge.bench.sweep import run_sweep, sweep_in_words

    if request.source is not None:
        raise InvalidValueError("SOURCE", "left out with --sweep", request.source, "it makes its own frames")
    outputs.refuse_inputs((model_file,))
    sweep = run_sweep(model_file, settings, request.seconds, stop)
    _say(outputs, sweep_in_words(sweep), sweep.to_json())
    from edge.bench.chart import sweep_chart

    _save_chart(outputs, sweep_chart(sweep))


def _refuse_unwritable(name: str, file: Path) -> None:
    """Raises InvalidValueError now, not after the run. What is there stays as it is, and nothing new stays there."""
    there = file.exists()
    if there and not file.is_file():
        return  # a pipe or a device, which somebody may wait at
    try:
        file.open("ab").close()
        if not there:
            file.resolve().unlink()  # a link to it stays
    except OSError as error:
        raise InvalidValueError(name, "a file that can be written to", str(file), error.strerror or "") from None


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _say(outputs: BenchOutputs, words: str, figures: dict[str, Any]) -> None:
    print(words, file=_words(outputs), flush=True)  # first: it stays, also where the file then fails
    text = json.dumps(figures, indent=1, allow_nan=False) + "\n"
    if outputs.json_file == STDOUT:
        sys.stdout.write(text)
    elif outputs.json_file is not None:
        _write(outputs.json_file, text.encode())


def _save_chart(outputs: BenchOutputs, png: bytes) -> None:
    _write(outputs.chart_file, png)
    print(f"picture: {outputs.chart_file}", file=_words(outputs))


def _words(outputs: BenchOutputs) -> Any:
    """Where words for people go: standard output, unless the JSON goes there."""
    return sys.stderr if outputs.json_file == STDOUT else sys.stdout


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise ProcessingError(f"{file} could not be written: {error.strerror}") from None
