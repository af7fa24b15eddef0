"""Batch-norm statistics estimated afresh, with the weights as they are (Wu & Johnson 2021, "Rethinking 'Batch' in
BatchNorm", §3)."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from copy import deepcopy
from itertools import islice

import torch
from torch import Tensor, nn

from scalesearch.training.trainer import Trainer


def with_fresh_statistics(trainer: Trainer, model: nn.Module, images: Iterable[Tensor], batches: int) -> nn.Module:
    """A copy of ``model`` whose batch norms hold the mean over the first ``batches`` of the images (B, 3, r, r)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fvcore.nn.precise_bn import BN_MODULE_TYPES, update_bn_stats
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    copy = deepcopy(model).eval()
    for module in copy.modules():
        if isinstance(module, BN_MODULE_TYPES):
            module.train()
    seen = [trainer.normalise(batch) for batch in islice(images, batches)]
    with torch.inference_mode(), trainer.autocast():
        update_bn_stats(copy, seen, num_iters=len(seen))
    return copy
