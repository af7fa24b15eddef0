"""A network as an ONNX file that onnxruntime runs on the CPU."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from scalesearch.errors import ScaleSearchError

INPUT, OUTPUT = "images", "logits"
"""What the file calls its input, float32 (N, 3, S, S), and its output, float32 (N, classes)."""


def need_onnx() -> None:
    """See that the packages are there, before any work.

    Raises:
        ScaleSearchError: one is missing; the message has the line that installs it.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401 torch's exporter needs it
    except ImportError as failure:
        raise ScaleSearchError("ONNX needs more packages: pip install 'scalesearch[onnx]'") from failure


def save_onnx(model: nn.Module, images: Tensor, target: Path) -> None:
    """Write a network in evaluation mode, for any batch size.

    Args:
        images: two or more images of the size that the file is to take, float32 (N, 3, S, S).

    Raises:
        ScaleSearchError: it cannot be exported, or a package is missing.
    """
    need_onnx()
    for name in ("torch.onnx", "onnxscript"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with torch.no_grad():
        count = len(pytree.tree_leaves(model(images)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                model,
                (images,),
                input_names=[INPUT],
                output_names=[OUTPUT] if count == 1 else [f"map{place}" for place in range(count)],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                dynamo=True,
                verbose=False,
            )
    except Exception as failure:  # of torch.export's and onnxscript's, in many kinds
        raise ScaleSearchError(f"torch's ONNX exporter failed: {said(failure)}") from failure
    if program is None:
        raise ScaleSearchError("torch's ONNX exporter gave nothing")
    program.save(str(target), external_data=False)


def describe(path: Path, about: Mapping[str, str]) -> None:
    """Have a file say these things of itself, in its metadata."""
    import onnx

    written = onnx.load(str(path))
    onnx.helper.set_model_props(written, dict(about))
    onnx.save(written, str(path))


def said(failure: BaseException) -> str:
    """The first line of a failure that says anything, with its kind."""
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    return f"{type(failure).__name__}: {lines[0][:200] if lines else 'no reason given'}"


class OnnxNetwork:
    """A file's network, ready to run on the CPU."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """``threads`` within an operator; None: onnxruntime's own choice, one per physical core."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def outputs(self, images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """All that the network gives out for normalised images, (N, 3, S, S)."""
        outputs: list[NDArray[np.float32]] = self._session.run(None, {INPUT: images})
        return outputs

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits, (N, classes), of normalised images, (N, 3, S, S)."""
        logits: NDArray[np.float32] = self._session.run([OUTPUT], {INPUT: images})[0]
        return logits
