"""From trials to an answer. Nothing here trains, and nothing here prints.

`ranking` lists candidates with their seeds' means; `pooled` is the model of all trials, of which `standings` and
`certainty` say how sure an order is, and `allocation` what to train next; `quadratic_fit` and `fitted_optimum` fit the
accuracies over the growth's shares; `pruning` stops candidates that cannot win; `signal` says whether they differ;
`merit`, `replay` and `compound_gain` ask finished runs; `finished_run` and `finished_comparison` read their
folders.
"""
