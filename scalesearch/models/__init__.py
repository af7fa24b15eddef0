"""From data to modules."""

from scalesearch.models.build import build_model

__all__ = ["build_model"]
