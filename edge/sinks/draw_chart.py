"""`python -m edge.sinks.draw_chart PNG` draws the chart on its standard input, for a run that could not wait."""

import pickle
import sys
from pathlib import Path

from edge.sinks.chart import Chart, render
from edge.whole_file import write_whole


def main() -> None:
    """Draw."""
    path = Path(sys.argv[1])
    chart = pickle.load(sys.stdin.buffer)
    assert isinstance(chart, Chart)
    write_whole(path, render(chart))


if __name__ == "__main__":
    main()
