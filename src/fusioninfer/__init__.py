"""FusionInfer: one InferenceService says how a large language model is served on Kubernetes."""

__version__ = "0.1.0"
