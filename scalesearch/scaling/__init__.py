"""The arithmetic of scaling: specs, multipliers, rounding, costs in closed form. Never torch.

`spec` is a network as a table of stages, `module_spec` a scaled `nn.Module` as data, `spec_files` reads and writes
both; `compound` turns coefficients into multipliers and multipliers into whole layers and channels; `cost` and
`batched_cost` count parameters, MACs and activations; `points` is the grid of coefficients, `shares` the division of
the growth among depth, width and resolution.
"""
