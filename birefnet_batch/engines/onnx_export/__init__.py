"""Write a network as an ONNX file: fixed resolution, any batch, weights inside.

The graph is written node by node from the published architecture, not traced: the rearrangements that a fixed
resolution knows in advance become single nodes, a half model keeps float32 exactly where it matters, and it takes
seconds. Every file is checked against torch after it is made (`check`).
"""
