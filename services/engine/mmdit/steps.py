"""One denoising step of several images: velocity, guidance, Euler; on a GPU replayed as a graph."""

from collections import OrderedDict
from dataclasses import dataclass, fields
from typing import Final, Protocol

import torch

from services.engine.mmdit.mmdit import Mmdit

# A graph holds the launches, not the activations: those lie in one pool that all graphs share.
GRAPHS_MAX: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInputs:
    """What one step of a group of images is worked out from; one row per image."""

    latents: torch.Tensor
    """[images, 16, h, w], float32."""
    modulation: torch.Tensor
    """[images, copies, pieces · width], of the step each image is in."""
    context: torch.Tensor
    """[images, copies, text tokens, width]"""
    guidance: torch.Tensor
    """[images], guidance scales; with a single copy they are not looked at."""
    sigma_change: torch.Tensor
    """[images], how far Euler goes along the velocity."""

    @property
    def shape_key(self) -> tuple[torch.Size, ...]:
        """Steps with the same key run the same kernels on the same shapes."""
        return tuple(getattr(self, field.name).shape for field in fields(self))

    def copied(self) -> "StepInputs":
        return StepInputs(**{f.name: getattr(self, f.name).clone() for f in fields(self)})

    def overwrite(self, other: "StepInputs") -> None:
        for field in fields(self):
            getattr(self, field.name).copy_(getattr(other, field.name))


def take_step(transformer: Mmdit, inputs: StepInputs) -> torch.Tensor:
    """Where the latents stand after the step, float32."""
    velocities = transformer.velocities(
        inputs.latents, modulation=inputs.modulation, context=inputs.context
    ).float()
    velocity = velocities[:, 0]
    if velocities.shape[1] > 1:
        velocity = velocity + column(inputs.guidance) * (velocities[:, 1] - velocity)
    return inputs.latents + column(inputs.sigma_change) * velocity


def column(numbers: torch.Tensor) -> torch.Tensor:
    """[images] → [images, 1, 1, 1]."""
    return numbers.view(-1, 1, 1, 1)


class Steps(Protocol):
    """Takes steps; the result is the caller's."""

    def take(self, inputs: StepInputs) -> torch.Tensor: ...

    def forget(self) -> None:
        """Give memory back that was kept to make later steps faster."""
        ...


class EagerSteps:
    """Launches every kernel anew."""

    def __init__(self, transformer: Mmdit) -> None:
        self._transformer = transformer

    def take(self, inputs: StepInputs) -> torch.Tensor:
        return take_step(self._transformer, inputs)

    def forget(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class _CapturedStep:
    graph: torch.cuda.CUDAGraph
    inputs: StepInputs
    output: torch.Tensor


class GraphedSteps:
    """Replays a CUDA graph per shape: a step's thousand launches become one.

    A shape is captured when it comes the second time; the first run is its warm-up. The least
    recently used shape is forgotten when there are too many.
    """

    def __init__(self, transformer: Mmdit, *, graphs_max: int = GRAPHS_MAX) -> None:
        self._transformer = transformer
        self._graphs_max = graphs_max
        self._captured: OrderedDict[tuple[torch.Size, ...], _CapturedStep] = OrderedDict()
        self._seen: set[tuple[torch.Size, ...]] = set()
        self._pool = torch.cuda.graph_pool_handle()

    def take(self, inputs: StepInputs) -> torch.Tensor:
        key = inputs.shape_key
        if key not in self._seen:
            output = take_step(self._transformer, inputs)
            self._seen.add(key)
            return output
        captured = self._captured.get(key) or self._capture(key, inputs)
        self._captured.move_to_end(key)
        captured.inputs.overwrite(inputs)
        captured.graph.replay()
        return captured.output.clone()

    def forget(self) -> None:
        self._captured.clear()
        self._seen.clear()

    def _capture(self, key: tuple[torch.Size, ...], inputs: StepInputs) -> _CapturedStep:
        while len(self._captured) >= self._graphs_max:
            self._captured.popitem(last=False)
        graph, own = torch.cuda.CUDAGraph(), inputs.copied()
        with torch.cuda.graph(graph, pool=self._pool):
            output = take_step(self._transformer, own)
        self._captured[key] = _CapturedStep(graph, own, output)
        return self._captured[key]


def make_steps(transformer: Mmdit) -> Steps:
    """Graphs where there is a GPU."""
    if transformer.device.type == "cuda":
        return GraphedSteps(transformer)
    return EagerSteps(transformer)
