"""Everything a stage needs to go on after an interruption, as safetensors (never a pickle)."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from services.engine.training.budget import Budget


class Average:
    """An exponential moving average of a module's parameters; what is shipped."""

    def __init__(self, module: torch.nn.Module, *, decay: float) -> None:
        self.module = module
        self.decay = decay
        self.updates = 0
        self.values = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        values = list(self.values.values())
        parameters: list[Tensor] = list(self.module.parameters())
        # One call for all tensors; torch offers it under this name alone.
        torch._foreach_lerp_(values, parameters, 1.0 - decay)  # pyright: ignore[reportPrivateImportUsage]

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange average and module; a second call undoes it."""
        for name, parameter in self.module.named_parameters():
            kept = parameter.detach().clone()
            parameter.copy_(self.values[name])
            self.values[name].copy_(kept)


def save_state(
    folder: Path, average: Average, optimizer: torch.optim.Optimizer, budget: Budget
) -> None:
    """Write the module, its average, the optimizer's moments and the clock; atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for name, parameter in average.module.named_parameters():
        tensors[f"weight/{name}"] = parameter.detach().contiguous()
        tensors[f"average/{name}"] = average.values[name].contiguous()
        for moment, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{moment}/{name}"] = torch.as_tensor(value).contiguous()
    clock = {"spent": budget.spent, "updates": average.updates}
    unfinished = folder / "state.safetensors.new"
    save_file(tensors, unfinished, metadata={"clock": json.dumps(clock)})
    unfinished.replace(folder / "state.safetensors")
    (folder / "clock.json").write_text(json.dumps(clock))


def load_state(
    folder: Path, average: Average, optimizer: torch.optim.Optimizer, budget: Budget
) -> bool:
    """Go on from the folder's state, if there is one."""
    if not (folder / "state.safetensors").exists():
        return False
    tensors = load_file(folder / "state.safetensors")
    for name, parameter in average.module.named_parameters():
        parameter.data.copy_(tensors[f"weight/{name}"])
        average.values[name].copy_(tensors[f"average/{name}"])
        moments = ("step", "exp_avg", "exp_avg_sq")
        if f"exp_avg/{name}" in tensors:
            optimizer.state[parameter] = {
                m: tensors[f"{m}/{name}"].to(parameter.device if m != "step" else "cpu")
                for m in moments
            }
    clock = json.loads((folder / "clock.json").read_text())
    budget.spent_before = clock["spent"]
    average.updates = clock["updates"]
    print(f"going on after {budget.spent_before:.0f} s, update {average.updates}", flush=True)
    return True
