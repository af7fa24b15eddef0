"""An ONNX file in INT8: calibrated on images, and its operators counted (onnxruntime's tools).

Static quantisation in QDQ form: weights int8, symmetric, a scale per output channel; activations uint8, a scale and a
zero point per tensor, from the ranges seen on calibration images (Jacob et al. 2018, arXiv:1712.05877).
"""

from __future__ import annotations

import contextlib
import io
import logging
import platform
import re
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scalesearch.errors import RecipeError, ScaleSearchError
from scalesearch.models.onnx_file import INPUT, said

Method = Literal["minmax", "entropy", "percentile"]

CONVERSIONS = ("QuantizeLinear", "DequantizeLinear")
MOVES = frozenset(
    {
        "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Slice", "Split", "Gather", "Expand",
        "MaxPool", "NhwcMaxPool", "Concat", "Pad", "DepthToSpace", "SpaceToDepth", "ReorderInput", "ReorderOutput",
        "Shape", "Cast", "Constant",
    }
)  # fmt: skip
"""Operators that pass values on without computing with them: they are neither INT8 nor float."""

Images = NDArray[np.float32]


@dataclass(frozen=True)
class Calibration:
    """How ranges are found and what is left in float.

    ``method``: the extremes, the range of least divergence (entropy), or the 99.999th percentile of magnitudes.
    ``keep_float``: patterns of layers or kinds of operators that stay as they are.
    """

    method: Method = "minmax"
    keep_float: tuple[str, ...] = ()


@dataclass(frozen=True)
class Int8:
    """What became of a network: ``in_int8`` and ``in_float`` count operators by kind, as onnxruntime runs the file on
    this machine; ``kept`` are the layers that were to be left in float, ``idle`` those of them for which that changes
    nothing: onnxruntime computes them in INT8 all the same, between neighbours in INT8, or they have no INT8 form."""

    reduce_range: bool
    in_int8: Mapping[str, int]
    in_float: Mapping[str, int]
    kept: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()


def reduced_range(wish: bool | None, cpu_flags: str | None, machine: str | None = None) -> tuple[bool, str]:
    """Whether to use seven bits, and why.

    onnxruntime's kernels for x86 without VNNI add two products in 16 bits, which eight-bit values overflow
    (onnxruntime's documentation, "Quantize ONNX models", on U8S8 and reduce_range).

    Args:
        cpu_flags: the processor's, as /proc/cpuinfo lists them; None where that is not known.
        machine: the kind of processor; this machine's by default.
    """
    machine = (machine or platform.machine()).lower()
    if wish is not None:
        return wish, "as asked for"
    if machine not in ("x86_64", "amd64", "i386", "i686"):
        return False, f"{machine} multiplies INT8 without saturating"
    if cpu_flags is None:
        return True, "this x86 processor does not say whether it has VNNI: 7 bits are safe on either"
    found = sorted({"avx512_vnni", "avx_vnni"} & set(cpu_flags.split()))
    return (False, f"this processor has {found[0]}") if found else (True, "this processor has no VNNI")


def processor_flags() -> str | None:
    """What this machine's first processor can do, as Linux says it; None elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2] for line in lines if line.startswith("flags")), None)


class _Reader:
    """Batches for onnxruntime's calibrators, one at a time, so that the activations of one are in memory."""

    def __init__(self, batches: Sequence[Callable[[], Images]], told: Callable[[int], None]) -> None:
        self._batches, self._told, self._left = batches, told, iter(range(0))

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Give out these batches next."""
        self._left = iter(range(start_index, end_index))

    def get_next(self) -> dict[str, Images] | None:
        """The next batch; None at the end."""
        place = next(self._left, None)
        if place is None:
            return None
        self._told(place)
        return {INPUT: self._batches[place]()}


def save_int8(
    source: Path,
    target: Path,
    batches: Sequence[Callable[[], Images]],
    settings: Calibration,
    *,
    reduce_range: bool,
    told: Callable[[int], None] = lambda _: None,
) -> Int8:
    """Write the INT8 form of the float file ``source``.

    Args:
        reduce_range: seven bits in place of eight.
        batches: each makes a batch of calibration images, float32 (N, 3, S, S), normalised.
        told: hears the number of every batch as it is taken.

    Raises:
        RecipeError: a pattern of ``keep_float`` fits no layer.
        ScaleSearchError: onnxruntime cannot quantise the file, or found nothing to quantise.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    method = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }[settings.method]
    with tempfile.TemporaryDirectory() as scratch, quietly():
        prepared, written = Path(scratch) / "prepared.onnx", Path(scratch) / "int8.onnx"
        try:
            quant_pre_process(source, prepared)
            excluded = _matching(onnx.load(str(prepared)), settings.keep_float)
            quantize_static(
                prepared,
                written,
                _Reader(batches, told),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=reduce_range,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=method,
                nodes_to_exclude=list(excluded),
                extra_options={"WeightSymmetric": True, "CalibStridedMinMax": 1},
            )
        except ScaleSearchError:
            raise
        except Exception as failure:
            raise ScaleSearchError(f"onnxruntime cannot quantise this network: {said(failure)}") from failure
        running = _running(written)
        in_int8, in_float = _counted(running)
        if not in_int8:
            what = "everything was kept in float" if settings.keep_float else "none of its operators has an INT8 form"
            raise ScaleSearchError(f"nothing of this network is INT8: {what}")
        idle = _idle(running, onnx.load(str(prepared)), excluded)
        shutil.move(written, target)
    return Int8(reduce_range, in_int8, in_float, *(tuple(dict.fromkeys(each.values())) for each in (excluded, idle)))


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without what onnxruntime's tools print and log."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(before)


def layer_of(node: Any, constants: Mapping[str, Any]) -> str:
    """The module that a node of a file comes from: that of its weight, else what torch's exporter noted, else its name.

    Args:
        node: an onnx NodeProto.
        constants: the file's tensors by name.
    """
    for name in node.input:
        if name in constants and name.endswith((".weight", ".bias")):
            return str(name.rpartition(".")[0])
    noted = next((each.value for each in node.metadata_props if each.key == "pkg.torch.onnx.name_scopes"), "")
    scopes = [scope.strip(" '\"") for scope in noted.strip("[]").split(",")]
    return scopes[-2] if len(scopes) > 1 and scopes[-2] else str(node.name)


def _layers(model: Any) -> dict[str, tuple[str, str]]:
    """Each node's layer and kind of operator, by the node's name."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    return {node.name: (layer_of(node, constants), node.op_type) for node in model.graph.node}


def _matching(model: Any, patterns: Sequence[str]) -> dict[str, str]:
    """The nodes that patterns name, with their layers."""
    layers = _layers(model)
    found: dict[str, str] = {}
    for pattern in patterns:
        some = {
            name: layer
            for name, (layer, kind) in layers.items()
            if fnmatchcase(layer, pattern) or fnmatchcase(kind, pattern)
        }
        if not some:
            known = list(dict.fromkeys(layer for layer, _ in layers.values()))
            kinds = sorted({kind for _, kind in layers.values()})
            raise RecipeError(
                "--keep-float", f"a layer ({', '.join(known[:3])}, …) or an operator ({', '.join(kinds)})", pattern
            )
        found |= some
    return found


def _idle(running: Sequence[Any], prepared: Any, excluded: Mapping[str, str]) -> dict[str, str]:
    """Those of the nodes that were left out of quantisation, with their layers, of which nothing comes.

    onnxruntime computes in INT8 all the same where neighbours quantise all that a node takes and gives; and some
    operators have no INT8 form anyway.
    """
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    fused = {re.sub(r"_token_\d+$", "", node.name) for node in running if _is_int8(node)}
    formless = {node.name for node in prepared.graph.node if node.op_type not in {**QDQRegistry, **QLinearOpsRegistry}}
    return {name: layer for name, layer in excluded.items() if name in fused | formless}


def _is_int8(node: Any) -> bool:
    kind = str(node.op_type)
    return kind.startswith(("QLinear", "QGemm", "QAttention")) or kind.endswith("Integer")


def operators(path: Path) -> tuple[dict[str, int], dict[str, int]]:
    """How many operators of each kind compute in INT8, and how many in float, once onnxruntime has fused the file for
    this machine; those that move values are not counted."""
    return _counted(_running(path))


def _running(path: Path) -> list[Any]:
    """The nodes of a file as onnxruntime runs it on this machine."""
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as scratch:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(Path(scratch) / "optimised.onnx")
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return list(onnx.load(options.optimized_model_filepath).graph.node)


def _counted(nodes: Sequence[Any]) -> tuple[dict[str, int], dict[str, int]]:
    in_int8, in_float = Counter[str](), Counter[str]()
    for node in nodes:
        if node.op_type not in CONVERSIONS and node.op_type not in MOVES:
            (in_int8 if _is_int8(node) else in_float)[node.op_type] += 1
    return dict(in_int8.most_common()), dict(in_float.most_common())
