"""What a .tflite file takes of storage and memory, and limits of both."""

from kbp.export.memory.arena import ArenaPlan, Block, plan_arena
from kbp.export.memory.budget import Budget
from kbp.export.memory.footprint import Footprint, LayerSize, footprint

__all__ = [
    "ArenaPlan",
    "Block",
    "Budget",
    "Footprint",
    "LayerSize",
    "footprint",
    "plan_arena",
]
