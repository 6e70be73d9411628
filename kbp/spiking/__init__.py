"""Spiking networks: neurons, codes, and conversion of trained networks."""

from kbp.spiking.clip_floor_shift import ClipFloorShift
from kbp.spiking.conversion import to_clip_floor_shift, to_spiking
from kbp.spiking.cost import Cost, LayerCost, cost
from kbp.spiking.encoders import (
    DeltaModulation,
    DirectCurrent,
    Latency,
    PoissonRate,
)
from kbp.spiking.neurons import IntegrateAndFire, IntegrateAndFireCell
from kbp.spiking.over_steps import outputs_over_time
from kbp.spiking.over_time import OverTime
from kbp.spiking.raster import raster
from kbp.spiking.readouts import Readout
from kbp.spiking.surrogates import spike

__all__ = [
    "ClipFloorShift",
    "Cost",
    "DeltaModulation",
    "DirectCurrent",
    "IntegrateAndFire",
    "IntegrateAndFireCell",
    "Latency",
    "LayerCost",
    "OverTime",
    "PoissonRate",
    "Readout",
    "cost",
    "outputs_over_time",
    "raster",
    "spike",
    "to_clip_floor_shift",
    "to_spiking",
]
