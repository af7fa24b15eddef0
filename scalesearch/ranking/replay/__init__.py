"""Searches played again over a bank: an exhaustive run whose every curve is known.

`bank` holds the curves, `game` is one search over them and what it spends, `policies` are scalesearch's own ways to
play it, `optuna_peers`, `syne_tune_peers` and `neps_peers` those of other packages, and `regret` is what they lose over
what they spend.
"""
