"""Answer, with evidence, whether a model can be fine-tuned on this machine."""

__version__ = "0.1.0"
