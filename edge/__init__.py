"""What flies: frames in, pedestrians out. It never imports torch, training or export."""

import os

# ONNX Runtime's wheels tell Microsoft of their use (1.29 and later, onnxruntime's Privacy.md), and keep a device id
# below $HOME. Not from a drone, unless its owner says so. Read when onnxruntime is first imported, hence here.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
