"""The rules by the operation's name, and the arguments they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scalesearch.models.surgery.tagger import Tagger

Rule = Callable[[Tagger, "Args", Any], Any]
RULES: dict[str, Rule] = {}


class Args:
    """The arguments of a call, by position or by name."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args, self.kwargs = args, kwargs

    def get(self, index: int, name: str, default: Any = None) -> Any:
        """The argument at a position or of a name; ``default`` where it was not given."""
        if len(self.args) > index:
            return self.args[index]
        return self.kwargs.get(name, default)

    def __getitem__(self, index: int) -> Any:
        return self.args[index] if len(self.args) > index else list(self.kwargs.values())[index - len(self.args)]

    def rest(self, start: int, name: str) -> tuple[Any, ...]:
        """Sizes given one by one or as one sequence."""
        rest = self.args[start:] or (self.kwargs[name],)
        return tuple(rest[0]) if len(rest) == 1 and isinstance(rest[0], (tuple, list)) else rest


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register the function below as the rule of these operations."""

    def add(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return add
