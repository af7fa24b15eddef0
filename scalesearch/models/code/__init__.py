"""Networks as source code that needs no scalesearch: ``table`` and ``module`` write PyTorch, ``timm_entry`` an entry of
timm's registry, from ``templates``; ``edits`` finds what scaling changed in a module, ``proof`` runs what was written.
"""
