"""Make the checkpoint that ships.

    python -m services.engine.training all       everything (`make train-checkpoint`)
    python -m services.engine.training judge     the judge alone
    python -m services.engine.training first     the judge and the VAE
    python -m services.engine.training second    text encoders and transformer; needs the first
    ... --rehearse                               all of it with tiny numbers, to find typos

On a GPU it takes a quarter of an hour, on a CPU a night. Each stage takes the seconds it is given,
saves its state as it goes, and goes on from it when it is called again. The work folder keeps what
the stages hand on to one another; remove it to begin anew.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from services.engine.library_noise import silence_libraries
from services.engine.training.stages import (
    ON_CPU,
    ON_GPU,
    REHEARSAL,
    SEED,
    Sizes,
    run_joint,
    run_judge,
    run_vae,
)


def main() -> None:
    """Run the stages that the command line names."""
    arguments = parse_arguments()
    silence_libraries()
    torch.manual_seed(SEED)
    torch.set_float32_matmul_precision("high")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sizes = choose_sizes(arguments, device)
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    if arguments.stage in {"judge", "first", "all"}:
        run_judge(sizes, work, device)
    if arguments.stage in {"first", "all"}:
        run_vae(sizes, work, device)
    if arguments.stage in {"second", "all"}:
        run_joint(sizes, work, arguments.output, device, arguments.start_from)


def choose_sizes(arguments: argparse.Namespace, device: torch.device) -> Sizes:
    """What suits the device, and what the command line says instead."""
    on_device = ON_GPU if device.type == "cuda" else ON_CPU
    sizes = REHEARSAL if arguments.rehearse else on_device
    names = ("pictures", "judge_pictures", "judge_seconds", "vae_seconds", "joint_seconds")
    for name in names:
        if (value := getattr(arguments, name)) is not None:
            sizes = replace(sizes, **{name: value})
    return sizes


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=("judge", "first", "second", "all"))
    parser.add_argument("--work", type=Path, default=Path(".training"))
    parser.add_argument("--output", type=Path, default=Path(".training/checkpoint"))
    parser.add_argument("--start-from", type=Path, help="a checkpoint to train further")
    parser.add_argument("--pictures", type=int)
    parser.add_argument("--judge-pictures", type=int)
    parser.add_argument("--judge-seconds", type=float)
    parser.add_argument("--vae-seconds", type=float)
    parser.add_argument("--joint-seconds", type=float)
    parser.add_argument("--rehearse", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
