"""Stable Diffusion 3.5, batched step by step: the only package that imports torch."""
