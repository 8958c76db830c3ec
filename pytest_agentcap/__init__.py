"""Corpora of prompts as pytest tests that drive real coding agents and capture every model call."""

__version__ = "0.1.0"
