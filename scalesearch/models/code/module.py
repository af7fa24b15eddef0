"""A scaled module as a file of PyTorch: the original's constructor, and the edits that make the scaled one of it."""

from __future__ import annotations

from scalesearch.models.code.rendering import Written


def module_code(written: Written) -> str:
    """The file."""
    raise NotImplementedError
