"""From a trained student to one ONNX file that carries everything it needs."""
