"""FusionInfer: one InferenceService says how a large language model is served on Kubernetes."""

from importlib.metadata import version

__version__ = version("fusioninfer")
"""As pyproject.toml says it, which alone says it."""
