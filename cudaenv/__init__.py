"""Plan, render and lock Python environments for CUDA deep learning."""

__version__ = "0.1.0"
