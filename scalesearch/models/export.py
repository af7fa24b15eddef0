"""A spec's network as a file that other programs run: `torch.export`'s ``.pt2`` or ONNX, checked against the module."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from scalesearch.errors import RunError, ScaleSearchError
from scalesearch.models.catalogue import build_model
from scalesearch.scaling.spec_files import Spec

TOLERANCE = 1e-3
"""Of the largest logit: more than this between the file and the module is an error."""


def export_model(
    spec: Spec, target: Path, *, format_name: str, num_classes: int = 1000, weights: Path | None = None
) -> float:
    """Write the network of ``spec`` for any batch size; the largest difference of its logits to the eager module's.

    Args:
        weights: a state dict to load first; fresh weights if None.

    Raises:
        ScaleSearchError: it cannot be exported, a package is missing, or the file computes something else.
    """
    model = build_model(spec, num_classes)
    if weights is not None:
        _load(model, weights)
    model.eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, spec.resolution, spec.resolution, generator=generator)
    with torch.no_grad():
        wanted: Tensor = model(images)
    if not isinstance(wanted, Tensor):
        raise ScaleSearchError(f"{spec.name} returns a {type(wanted).__name__}, not logits: it cannot be exported")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = (_pt2 if format_name == "pt2" else _onnx)(model, images, target)
    difference = float((got - wanted).abs().max())
    if not difference <= TOLERANCE * max(1.0, float(wanted.abs().max())):
        target.unlink(missing_ok=True)
        raise ScaleSearchError(f"{target}: its logits differ from the module's by {difference:.2g}; it was deleted")
    return difference


def _load(model: nn.Module, weights: Path) -> None:
    try:
        model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except OSError as failure:
        raise RunError(f"cannot read {weights}: {failure.strerror}") from failure
    except Exception as failure:
        raise RunError(f"{weights} does not fit this network: {str(failure).partition(chr(10))[0]}") from failure


def _pt2(model: nn.Module, images: Tensor, target: Path) -> Tensor:
    with torch.no_grad():
        program = torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
        _written(target, lambda: torch.export.save(program, target))
        logits: Tensor = torch.export.load(target).module()(images)
    return logits


def _onnx(model: nn.Module, images: Tensor, target: Path) -> Tensor:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 torch's exporter needs it
    except ImportError as failure:
        raise ScaleSearchError("ONNX needs more packages: pip install 'scalesearch[onnx]'") from failure
    for name in ("torch.onnx", "onnxscript"):
        logging.getLogger(name).setLevel(logging.ERROR)
    program = torch.onnx.export(
        model,
        (images,),
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise ScaleSearchError("torch's ONNX exporter gave nothing")
    _written(target, lambda: program.save(str(target), external_data=False))
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def _written(target: Path, write: Callable[[], object]) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write()
    except (OSError, RuntimeError) as failure:
        raise RunError(f"cannot write {target}: {str(failure).partition(chr(10))[0]}") from failure
