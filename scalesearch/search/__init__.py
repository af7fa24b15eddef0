"""Many trainings: claimed from the ledger, trained by workers here, in processes or on Ray, ranked as they end.

`run` is the whole of it; `setup` makes a recipe ready, `estimate` says what it will take, `session` hands out trials
and hears of their ends, `worker` trains them, `processes` and `ray_cluster` are where workers live (`engine` is what
they share), `finalists` and `outputs` write what came of it.
"""
