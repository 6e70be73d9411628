"""Folders in which a model runs as it stands: Python, web, C++, phones."""

from kbp.deploy.deploy import deploy
from kbp.deploy.registry import register_target

__all__ = ["deploy", "register_target"]
