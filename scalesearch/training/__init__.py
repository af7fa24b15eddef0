"""One network, trained: `train` is the whole of it, `trainer` a step, and what is measured before the first one."""
