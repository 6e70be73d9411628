"""How each kind of layer treats the channels of its inputs.

A rule takes the trace, the use of a layer and the inputs' channels, and returns
the output's, or `None` if it does not cover the use. Operations that only move
values, as reshaping does, move the groups in the same way; those that add or
multiply values of two tensors merge their groups; those that sum over channels
read them and begin new ones. Which rule a class of layers follows says its
`kbp.graph.LayerTraits`; every module of this folder is imported.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
