"""Which networks a search trains: the grid's points, rows solved for an equal cost, a comparison's rows. Never torch.

`grid` enumerates the coefficients, realises them as networks, collapses equal ones and admits those within the
target; `equal_cost` bends candidates until their measured costs agree; `strategies` solves a row for one cost;
`comparison` is what a comparison's file says and `comparison_rows` makes candidates of its rows.
"""
