"""Where records go: one file a kind, all with the same verbs: `write`, `skip`, `idle`, `settle`, `close`."""

from edge.sinks.chart import ChartSink
from edge.sinks.csv import CsvSink
from edge.sinks.jsonl import JsonLinesSink
from edge.sinks.pictures import AnnotatedPicturesSink
from edge.sinks.sink import Sink
from edge.sinks.summary import SummarySink
from edge.sinks.video import VideoSink

__all__ = ["AnnotatedPicturesSink", "ChartSink", "CsvSink", "JsonLinesSink", "Sink", "SummarySink", "VideoSink"]
