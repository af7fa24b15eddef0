"""What a recipe means for a search for a baseline: decided before torch is loaded, to tell mistakes at once."""

from __future__ import annotations

from typing import Any

from scalesearch.errors import RecipeError
from scalesearch.recipe import Budget, Recipe
from scalesearch.scaling.compound import Rounding
from scalesearch.settings import SearchSettings

DEFAULT_TRIALS = 40
"""Architectures that are trained where the recipe has neither trials nor a budget."""


def recipe_for_nas(recipe: Recipe) -> Recipe:
    """The recipe with what a search for a baseline does not use at its default, and with a budget.

    Nothing is scaled (φ = 0), and no training is ended early: an architecture that is behind by accuracy may be ahead
    by reward, or on the front.

    Raises:
        RecipeError: there are trials and a budget, or a budget that is a share of everything.
    """
    trials, budget = recipe.nas.trials, recipe.budget
    if trials is not None and budget is not None:
        raise RecipeError("--trials", f"nothing beside a budget (it is {budget})", trials)
    if budget is not None and Budget.parse(budget).unit == "share":
        raise RecipeError("--budget", "a time or a number of trials: nobody trains the whole space", budget)
    changes: dict[str, Any] = {
        "phi": 0.0,
        "confidence": None,
        "exhaustive": True,
        "objective": "accuracy" if recipe.objective == "acc_macs" else recipe.objective,
        "search": SearchSettings(),
        "rounding": Rounding(),
        "budget": budget or f"{trials or DEFAULT_TRIALS}-trials",
    }
    return recipe.model_copy(update=changes)
