"""How torch's operations carry tagged sizes from their inputs to their outputs, by kind.

`registry` finds the rule of an operation; `layers` holds those with weights, `reductions` pools and means, `slices`
what joins and takes apart, `shapes` what only moves sizes about.
"""
