"""Pruning while training: apply masks, drive them, make them permanent."""

from kbp.sparsity.apply import apply_dtm
from kbp.sparsity.branches import drop_branches
from kbp.sparsity.budget import BUDGETS
from kbp.sparsity.channels.cost import multiply_adds
from kbp.sparsity.masks import hard_mask, masked_layers
from kbp.sparsity.schedule import MEASURES, DTMSchedule
from kbp.sparsity.shrink import shrink
from kbp.sparsity.strip import fix_masks, strip
from kbp.sparsity.summary import (
    KernelSummary,
    channel_count,
    kernel_sparsity,
    summary,
)
from kbp.sparsity.taylor import score_by_taylor, taylor_importance
from kbp.sparsity.unmasked import left_out

__all__ = [
    "BUDGETS",
    "DTMSchedule",
    "MEASURES",
    "KernelSummary",
    "apply_dtm",
    "channel_count",
    "drop_branches",
    "fix_masks",
    "hard_mask",
    "kernel_sparsity",
    "left_out",
    "masked_layers",
    "multiply_adds",
    "score_by_taylor",
    "shrink",
    "strip",
    "summary",
    "taylor_importance",
]
