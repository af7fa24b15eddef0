"""Which part of a network INT8 hurts: each part is rounded alone, and what that does to the answers is counted."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scalesearch.models.int8 import Images, layer_of, quietly
from scalesearch.models.onnx_file import INPUT, OUTPUT

MOST_PARTS = 24
"""Parts of a network that are told apart; of more, those one name shorter are taken."""


def hurt_by_part(source: Path, quantised: Path, batches: Sequence[Images]) -> list[tuple[str, float]]:
    """For every part, the share of images of which the float network says another class once that part alone has the
    INT8 file's weights and rounds its outputs to the file's steps; the largest first, without parts that do nothing.

    A part is what shares the first two names of its layers' paths (``blocks.3``, ``layer2.0``).

    Args:
        batches: of images, float32 (N, 3, S, S).
    """
    import onnx
    from onnxruntime.quantization import qdq_loss_debug as debug
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as scratch, quietly():
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(source, prepared)
        weights = debug.create_weight_matching(str(prepared), str(quantised))
        network = onnx.load(str(prepared))
    steps = {tensor.name: tensor for tensor in onnx.load(str(quantised)).graph.initializer}
    plain = _classes(network, batches)
    shares = {}
    for part, nodes in _parts(network.graph).items():
        rounded = onnx.ModelProto()
        rounded.CopyFrom(network)
        if _round(rounded.graph, nodes, weights, steps):
            shares[part] = float(np.mean(_classes(rounded, batches) != plain))
    return sorted(((part, share) for part, share in shares.items() if share), key=lambda item: -item[1])


def _parts(graph: Any) -> dict[str, set[str]]:
    """The names of each part's nodes. Those of a bare function, such as ``relu()``, are with what makes their input."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    made: dict[str, str] = {}
    layers: dict[str, str] = {}
    for node in graph.node:  # in the order in which they run
        layer = layer_of(node, constants)
        if layer == node.name:
            layer = next((made[name] for name in node.input if name in made), layer)
        layers[node.name] = layer
        made |= dict.fromkeys(node.output, layer)
    depth = 2 if len({_start(layer, 2) for layer in layers.values()}) <= MOST_PARTS else 1
    parts: dict[str, set[str]] = {}
    for name, layer in layers.items():
        parts.setdefault(_start(layer, depth), set()).add(name)
    return parts


def _start(layer: str, names: int) -> str:
    return ".".join(layer.split(".")[:names])


def _round(graph: Any, nodes: set[str], weights: Any, steps: dict[str, Any]) -> bool:
    """Give these nodes INT8's weights and round their outputs, in place; whether there was anything to do."""
    import onnx

    chosen = [node for node in graph.node if node.name in nodes]
    changed = False
    used = {name for node in chosen for name in node.input}
    for tensor in graph.initializer:
        if tensor.name in used and tensor.name in weights:
            values = np.asarray(weights[tensor.name]["dequantized"], np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
            changed = True
    for name in [name for node in chosen for name in node.output if f"{name}_scale" in steps and name != OUTPUT]:
        step, zero = steps[f"{name}_scale"], steps[f"{name}_zero_point"]
        for node in graph.node:
            node.input[:] = [f"{name}_rounded" if each == name else each for each in node.input]
        known = {tensor.name for tensor in graph.initializer}
        graph.initializer.extend([tensor for tensor in (step, zero) if tensor.name not in known])
        graph.node.extend(
            [
                onnx.helper.make_node("QuantizeLinear", [name, step.name, zero.name], [f"{name}_bits"]),
                onnx.helper.make_node("DequantizeLinear", [f"{name}_bits", step.name, zero.name], [f"{name}_rounded"]),
            ]
        )
        changed = True
    return changed


def _classes(model: Any, batches: Sequence[Images]) -> Any:
    """What a network says of all images, int64 (N,), computed as it stands: fused, it would be INT8 in more places."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run([OUTPUT], {INPUT: images})[0].argmax(1) for images in batches])
