"""Growing a trained network: a larger one that computes the same function (Net2Net, Chen, Goodfellow & Shlens 2016).

`grown.grown` puts it together. Depth first: `deepen` copies the weights into a network with more blocks, whose new
blocks pass on what they get. Then width: `follow` runs the network before and after on channels that carry a number of
their own, `matching` finds for every channel of the wider one the channel it is a copy of, `widen` copies the weights,
those of what reads a copied channel divided among the copies. `proof` runs both and compares.
"""
