"""The baseline by search: architectures of a space, proposed and trained one after the other on a search's ledger.

`wishes` says what a recipe means here, `setup` answers its open questions, `planner` says which architecture is next,
`outputs` what was found. Trials, workers and their deaths are those of every search.
"""
