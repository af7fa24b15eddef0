"""Spec files: a network as a table of stages, or a scaled module with its account."""

from __future__ import annotations

from pathlib import Path

from scalesearch.errors import SpecError
from scalesearch.scaling.module_spec import ModuleSpec, dump_module_spec
from scalesearch.scaling.spec import ModelSpec, dump_model_spec
from scalesearch.validation import parse, read_yaml

Spec = ModelSpec | ModuleSpec


def load_spec(path: str | Path) -> Spec:
    """Read a network spec from YAML.

    Raises:
        SpecError: a field breaks its rule; the message names its path, e.g. ``stages[3].kernel``.

    >>> from pathlib import Path
    >>> from scalesearch import dump_spec, load_spec
    >>> from scalesearch.models.catalogue import builtin
    >>> _ = Path("mine.yaml").write_text(dump_spec(builtin("mobilenet_v2")))
    >>> load_spec("mine.yaml") == builtin("mobilenet_v2")
    True
    """
    return parse_spec(read_yaml(Path(path), SpecError))


def parse_spec(data: object) -> Spec:
    """A network spec from what its YAML holds.

    Raises:
        SpecError: a field breaks its rule.
    """
    kind: type[Spec] = ModuleSpec if isinstance(data, dict) and "module" in data else ModelSpec
    return parse(kind, data, SpecError)


def dump_spec(spec: Spec) -> str:
    """The spec as YAML in the form a person would write, defaults left out.

    >>> from scalesearch import dump_spec
    >>> from scalesearch.models.catalogue import builtin
    >>> print(dump_spec(builtin("resnet18")))
    name: resnet18
    ...
    """
    return dump_module_spec(spec) if isinstance(spec, ModuleSpec) else dump_model_spec(spec)
