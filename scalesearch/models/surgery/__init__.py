"""Any `nn.Module`, deeper, wider, sharper: `scale.scale_module`, and `network.Network` for more than one copy.

The way of a network through this package: `skeleton` takes its tree without its numbers, `trace` runs it on tagged
shapes (`tagger`, `symbolic`, `rules/`) and finds what is tied, `stages` what repeats, `widths` chooses new sizes,
`repeats` adds blocks and takes them away, `network` puts it together as `scaled` copies, `account` says what was done,
`measure` and `proof` check it by running. `initialisation` and `fan_in` give a copy its fresh weights.
"""
