"""How near one tensor comes to another: the measures of the fidelity gates."""

import math

import torch


def relative_error(given: torch.Tensor, expected: torch.Tensor) -> float:
    """Length of the difference over the length of what is expected."""
    difference = (given.double() - expected.double()).square().sum().sqrt()
    return float(difference / expected.double().square().sum().sqrt())


def signal_to_noise_db(given: torch.Tensor, expected: torch.Tensor) -> float:
    """Signal to quantisation noise (SQNR); 20 dB is a relative error of a tenth, inf none."""
    error = relative_error(given, expected)
    return -20.0 * math.log10(error) if error > 0.0 else math.inf


def cosine(given: torch.Tensor, expected: torch.Tensor) -> float:
    """Of the angle between the two, each as one long vector."""
    return float(
        torch.cosine_similarity(given.double().flatten(), expected.double().flatten(), dim=0)
    )
