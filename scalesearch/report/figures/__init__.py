"""What a run looks like. One file per figure: each makes a `Drawing` from frames; `canvas` draws, `files` saves.

`accuracy` (against MACs), `simplex` (over the shares of the growth), `curves` (while training), `growth` (nominal
against measured), `times` (where they went), `rows` (a comparison's rows and its lines, as the paper's Figs. 3, 4, 8),
`merit` (two grids over their cost), `cam` (where networks look: pictures, which no page themes, saved by itself).
"""
