"""`python -m edge.sinks.draw_chart PNG` draws the chart on its standard input, for a run that could not wait."""

import pickle
import sys
from pathlib import Path

from edge.sinks.chart import Chart, render


def main() -> None:
    """Draw, and put the file in its place whole or not at all."""
    path = Path(sys.argv[1])
    chart = pickle.load(sys.stdin.buffer)
    assert isinstance(chart, Chart)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(render(chart))
    part.replace(path)


if __name__ == "__main__":
    main()
