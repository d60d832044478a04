"""The picture's decoder on a GPU: the norms that take most of its time, fused."""
