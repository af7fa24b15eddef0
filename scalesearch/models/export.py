"""A network as a file that other programs run, checked against the module: torch.export, ONNX, ExecuTorch or LiteRT."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from scalesearch.errors import RunError, ScaleSearchError
from scalesearch.models.onnx_file import OnnxNetwork, need_onnx, said, save_onnx

TOLERANCE = 1e-3
"""Of the largest logit: more than this between the file and the module is an error."""
NOTHING = 1e-7
"""A difference between logits that float32 makes of numbers of any size."""

Write = Callable[[nn.Module, Tensor, Path], None]
Run = Callable[[Path, Tensor], list[Tensor]]


@dataclass(frozen=True)
class Format:
    """A kind of file: how it is written and run, both on images float32 (2, C, H, W).

    ``any_batch``: it takes batches of any size, or one image at a time. ``needs`` raises where a package is missing.
    """

    suffix: str
    any_batch: bool
    needs: Callable[[], None]
    write: Write
    run: Run


@dataclass(frozen=True)
class Agreement:
    """The largest difference between the file's outputs and the module's, and the module's largest number."""

    difference: float
    largest: float

    @property
    def holds(self) -> bool:
        """Whether the two compute the same, as far as float32 goes."""
        return self.difference <= TOLERANCE * self.largest + NOTHING


def export_network(network: nn.Module, image: tuple[int, int, int], target: Path, format_name: str) -> Agreement:
    """Write a network in evaluation mode that gives out logits or maps; the file appears once they are checked.

    Args:
        image: channels, height and width of its images.
        format_name: one of `FORMATS`.

    Raises:
        ScaleSearchError: it cannot be exported, a package is missing, or the file computes something else.
        RunError: the file cannot be written.
    """
    form = FORMATS[format_name]
    form.needs()
    images = torch.randn(2, *image, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted: list[Tensor] = pytree.tree_leaves(network(images))
    if target.is_dir():
        raise RunError(f"cannot write {target}: it is a folder, and --out names a file")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-")
    except OSError as failure:
        raise RunError(f"cannot write {target}: {failure.strerror}") from failure
    with scratch:
        file = Path(scratch.name) / f"network{form.suffix}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                form.write(network, images, file)
                got = form.run(file, images)
        except ScaleSearchError:
            raise
        except OSError as failure:
            raise RunError(f"cannot write {target}: {failure.strerror or failure}") from failure
        except Exception as failure:  # of the exporters, in many kinds
            raise ScaleSearchError(f"{format_name} cannot hold this network: {said(failure)}") from failure
        if [tuple(each.shape) for each in got] != [tuple(each.shape) for each in wanted]:
            raise ScaleSearchError(f"{target} was not written: it would give out {len(got)} outputs of other shapes")
        agreement = Agreement(
            max(float((a - b).abs().max()) for a, b in zip(got, wanted, strict=True)),
            max(float(each.abs().max()) for each in wanted),
        )
        if not agreement.holds:
            raise ScaleSearchError(
                f"{target} was not written: its outputs would differ from the module's by {agreement.difference:.2g}, "
                f"where the largest is {agreement.largest:.2g}"
            )
        try:
            shutil.move(file, target)
        except OSError as failure:
            raise RunError(f"cannot write {target}: {failure.strerror}") from failure
    return agreement


def _nothing() -> None:
    """What torch.export needs beside torch."""


def _write_pt2(network: nn.Module, images: Tensor, target: Path) -> None:
    with torch.no_grad():
        program = torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    torch.export.save(program, target)


def _run_pt2(file: Path, images: Tensor) -> list[Tensor]:
    with torch.no_grad():
        outputs: list[Tensor] = pytree.tree_leaves(torch.export.load(file).module()(images))
    return outputs


def _run_onnx(file: Path, images: Tensor) -> list[Tensor]:
    return [torch.from_numpy(output) for output in OnnxNetwork(file).outputs(images.numpy())]


def _needed(package: str, extra: str, *modules: str) -> Callable[[], None]:
    """See that modules can be imported, without what they say when they are."""

    def check() -> None:
        try:
            with _silence():
                for name in modules:
                    __import__(name)
        except ModuleNotFoundError as failure:
            lacking = (failure.name or "").partition(".")[0]
            also = "" if lacking in {name.partition(".")[0] for name in modules} else f" ({lacking} is missing)"
            raise ScaleSearchError(f"{package} is not installed{also}: pip install 'scalesearch[{extra}]'") from failure
        except Exception as failure:  # of its own modules and libraries
            raise ScaleSearchError(f"{package} is installed and cannot be loaded: {said(failure)}") from failure

    return check


def _write_executorch(network: nn.Module, images: Tensor, target: Path) -> None:
    """One image at a time, for XNNPACK, which is what ExecuTorch runs ConvNets with on the CPU of a phone."""
    with _silence():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        with torch.no_grad():
            program = torch.export.export(network, (images[:1],))
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    target.write_bytes(lowered.buffer)


def _run_executorch(file: Path, images: Tensor) -> list[Tensor]:
    with _silence():
        from executorch.runtime import Runtime

        method = Runtime.get().load_program(str(file)).load_method("forward")
        each = [[out.clone() for out in method.execute([image[None].contiguous()])] for image in images]
    return [torch.cat(outputs) for outputs in zip(*each, strict=True)]


def _write_litert(network: nn.Module, images: Tensor, target: Path) -> None:
    with _silence():
        import litert_torch

        litert_torch.convert(network, (images[:1],)).export(str(target))


def _run_litert(file: Path, images: Tensor) -> list[Tensor]:
    with _silence():
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(file))
        interpreter.allocate_tensors()
        (taken,), given = interpreter.get_input_details(), interpreter.get_output_details()
        each = []
        for image in images:
            interpreter.set_tensor(taken["index"], image[None].numpy())
            interpreter.invoke()
            each.append([torch.from_numpy(interpreter.get_tensor(output["index"]).copy()) for output in given])
    return [torch.cat(outputs) for outputs in zip(*each, strict=True)]


@contextmanager
def _silence() -> Iterator[None]:
    """Without what compilers and runtimes print, in Python and below it."""
    sys.stdout.flush()
    sys.stderr.flush()
    disabled, logging.root.manager.disable = logging.root.manager.disable, logging.WARNING
    kept = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, before in zip((1, 2), kept, strict=True):
            os.dup2(before, number)
            os.close(before)
        os.close(nowhere)
        logging.root.manager.disable = disabled


FORMATS = {
    "pt2": Format(".pt2", True, _nothing, _write_pt2, _run_pt2),
    "onnx": Format(".onnx", True, need_onnx, save_onnx, _run_onnx),
    "executorch": Format(
        ".pte",
        False,
        _needed("executorch", "executorch", "executorch.exir", "executorch.runtime"),
        _write_executorch,
        _run_executorch,
    ),
    "litert": Format(
        ".tflite",
        False,
        _needed("litert-torch", "litert", "litert_torch", "ai_edge_litert.interpreter"),
        _write_litert,
        _run_litert,
    ),
}
"""By the name that ``--format`` takes."""
