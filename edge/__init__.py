"""What flies: frames in, pedestrians out; numpy, OpenCV and ONNX Runtime only."""
