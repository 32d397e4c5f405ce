"""A detector as an ONNX graph: one small file for each step from pixels to decision, and what proves the whole."""
