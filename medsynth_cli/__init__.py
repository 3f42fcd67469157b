"""Synthesis of medical images from anatomy and pathology terms."""

__version__ = "0.1.0"
