"""What `export` does where it writes weights or source code: files that need no scalesearch and can be trained on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from torch import Tensor, nn

from scalesearch.errors import BaselineError, RecipeError, RunError, ScaleSearchError
from scalesearch.files import write_text
from scalesearch.image_size import image_shape
from scalesearch.models.code.module import module_code
from scalesearch.models.code.proof import prove_same, running
from scalesearch.models.code.rendering import Written
from scalesearch.models.code.table import table_code
from scalesearch.models.code.timm_entry import timm_code, with_their_names
from scalesearch.models.export import Agreement
from scalesearch.models.protocols import ScaledModel
from scalesearch.models.weights_file import SAFE, About, write_weights
from scalesearch.recipe import Recipe
from scalesearch.scaling.module_spec import ModuleSpec
from scalesearch.scaling.spec import ModelSpec
from scalesearch.training.normalisation import Normalisation
from scalesearch.training.timm_schedule import timm_schedule
from scalesearch.training.trained_files import TrainedFiles

FORMATS = {"safetensors": SAFE, "pt": ".pt", "python": ".py", "timm": ".py"}
"""By the name that ``--format`` takes, how the file's name ends."""

WRITTEN = re.compile(r'"""[^\n]* parameters, [^\n]* multiply-adds for an image of ')
"""How every file of code begins that `export` writes."""


@dataclass(frozen=True)
class Network:
    """A network with its weights; ``files`` says where they are from, and is None where they are fresh."""

    name: str
    model: ScaledModel
    module: nn.Module
    classes: int
    normalisation: Normalisation
    files: TrainedFiles | None

    @property
    def names(self) -> tuple[str, ...] | None:
        """Of its classes, where they are known and as many as its outputs."""
        known = self.files.classes if self.files is not None else None
        return known if known is not None and len(known) == self.classes else None

    @property
    def crop(self) -> float:
        """The central share of an image that it sees in evaluation; all of it where nobody has said."""
        known = self.files.crop if self.files is not None else None
        return 1.0 if known is None else known


def write_weights_alone(network: Network, target: Path) -> list[str]:
    """Write the weights, and say so.

    Raises:
        BaselineError: they are fresh.
        RunError: they cannot be written.
    """
    if network.files is None:
        raise BaselineError(f"{network.name} has fresh weights, and those are nobody's: --weights FILE says which")
    see_it_is_no_input(network, target)
    _write(network, target, network.module.state_dict())
    what = "classes, resolution, normalisation and spec are in it" if target.suffix == SAFE else "a state dict alone"
    return [f"wrote {target} ({target.stat().st_size / 1e6:.1f} MB), {what}"]


def write_code(network: Network, target: Path) -> list[str]:
    """Write source code once it has proved to make this network, and the weights beside it; what there is to say of it.

    Raises:
        ScaleSearchError: the network cannot be written so, or the code makes another one.
        RunError: a file cannot be written.
    """
    _see_it_is_free(network, target)
    beside, module = target.with_suffix(SAFE), isinstance(network.model.spec, ModuleSpec)
    kept = network.files is not None or module
    written = _as_written(network, beside.name if kept else "FILE.safetensors")
    code = module_code(written, network.module) if module else table_code(written)
    with running(code, f"written_{identifier(target.stem)}", target) as made:
        built, image = made.build_model(), image_shape(network.model.channels, network.model.resolution)
        agreement = prove_same(network.module, built, image, network.classes, network.name)
    return _wrote(network, target, code, agreement, network.module.state_dict() if kept else None)


def write_entry(network: Network, target: Path, recipe: Recipe | None) -> list[str]:
    """Write an entry of timm's registry once it has proved to make this network, and the weights under timm's names.

    Raises:
        ScaleSearchError: timm cannot make the network, or makes another one.
        RunError: a file cannot be written.
    """
    _see_it_is_free(network, target)
    entry, kept = identifier(target.stem), network.files is not None
    if network.model.channels != 3:
        said = f"{network.model.channels} channel{'s' * (network.model.channels != 1)}"
        raise BaselineError(f"{network.name} sees images of {said}, and entries of timm are for three: --format python")
    if target.stem != entry:
        raise RecipeError("--out", f"a name that Python can import, such as {entry}.py", target.name)
    if theirs_already(entry):
        raise RecipeError(
            "--out", f"a name that timm has not given to a network of its own: {entry}_own.py", target.name
        )
    spec = network.model.spec
    dropout = spec.head.dropout if isinstance(spec, ModelSpec) else 0.0
    schedule = None if recipe is None else timm_schedule(recipe, entry, network.files, dropout)
    written = _as_written(network, target.with_suffix(SAFE).name)
    momentum = None if recipe is None else recipe.train.norm_momentum
    code = timm_code(written, entry, schedule, crop=network.crop, momentum=momentum, has_weights=kept)
    with running(code, entry, target) as made:
        theirs: nn.Module = getattr(made, entry)()
        state = with_their_names(network.module, theirs)
        agreement = prove_same(
            network.module, theirs, image_shape(3, network.model.resolution), network.classes, network.name, state=state
        )
    return _wrote(network, target, code, agreement, state if kept else None)


def see_it_is_no_input(network: Network, target: Path) -> None:
    """See that nothing is overwritten of which the network is made.

    Raises:
        RecipeError: it would be.
    """
    spec, files = network.model.spec, network.files
    source = spec.module.rpartition(":")[0] if isinstance(spec, ModuleSpec) else ""
    asked = [Path(source)] if source.endswith(".py") else []
    if files is not None:
        asked += [files.weights, *([Path(files.spec)] if isinstance(files.spec, str) else [])]
    if any(each.exists() and target.exists() and each.samefile(target) for each in asked):
        raise RecipeError("--out", f"another name than {target}, of which the network is made", str(target))


def _see_it_is_free(network: Network, target: Path) -> None:
    """See that code replaces nothing but what `export` wrote, and its weights nothing of which the network is made.

    Raises:
        RecipeError: it would.
    """
    for each in (target, target.with_suffix(SAFE)):
        see_it_is_no_input(network, each)
    if target.is_file() and not WRITTEN.match(target.read_text(encoding="utf-8", errors="replace")):
        raise RecipeError("--out", f"another name: {target} is there, and export did not write it", str(target))


def theirs_already(entry: str) -> bool:
    """Whether timm has a network of its own under this name.

    Raises:
        ScaleSearchError: timm is not installed.
    """
    try:
        import timm
    except ImportError as failure:
        raise ScaleSearchError("timm is not installed: pip install 'scalesearch[timm]'") from failure
    return timm.is_model(entry) and timm.models.model_entrypoint(entry).__module__.startswith("timm.")


def _as_written(network: Network, weights: str) -> Written:
    normal = network.normalisation
    return Written(network.model, network.classes, network.names, weights, normal.mean, normal.std)


def _wrote(
    network: Network, target: Path, code: str, agreement: Agreement, state: Mapping[str, Tensor] | None
) -> list[str]:
    _save(lambda: write_text(target, code), target)
    lines = f"{len(code.splitlines())} lines"
    said = [f"wrote {target} ({lines}), {network.model.resolution} px, {network.classes:,} classes"]
    if state is not None:
        beside = target.with_suffix(SAFE)
        _write(network, beside, state)
        fresh = "" if network.files is not None else ": fresh weights, as the network's own scheme draws them"
        said.append(f"wrote {beside} ({beside.stat().st_size / 1e6:.1f} MB){fresh}")
    said.append(
        f"with the same weights its logits and ours differ by at most {agreement.difference:.1e} (the largest is "
        f"{agreement.largest:.2g}); `python {target}` counts it"
    )
    return said


def identifier(name: str) -> str:
    """``name`` as Python can import it."""
    word = re.sub(r"\W+", "_", name).strip("_") or "network"
    return f"network_{word}" if word[0].isdigit() else word


def _write(network: Network, target: Path, state: Mapping[str, Tensor]) -> None:
    normal, side = network.normalisation, network.model.resolution
    about = About(network.model.spec, network.names, side, normal.mean, normal.std, network.crop)
    _save(lambda: write_weights(target, state, about), target)


def _save(write: Callable[[], object], target: Path) -> None:
    if target.is_dir():
        raise RunError(f"cannot write {target}: it is a folder, and --out names a file")
    try:
        write()
    except (OSError, ValueError) as failure:
        raise RunError(f"cannot write {target}: {getattr(failure, 'strerror', None) or failure}") from failure


def show(lines: list[str], console: Console) -> None:
    """What was written, and below it, fainter, what else there is to say."""
    for line in lines:
        console.print(line, style="" if line.startswith("wrote") else "dim")
