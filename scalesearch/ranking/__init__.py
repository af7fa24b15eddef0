"""From trials to an answer. Nothing here trains, and nothing here prints.

`ranking` orders candidates by their seeds' mean; `standings`, `bootstrap` and `certainty` say how sure that is;
`quadratic_fit` and `fitted_optimum` fit the accuracies over the growth's shares; `pruning` stops candidates that
cannot win; `merit`, `policy_replay` and `compound_gain` ask finished runs; `finished_run` and `finished_comparison`
read their folders.
"""
