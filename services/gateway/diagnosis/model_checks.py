"""Whether the catalogue's models are there and are what their hashes say."""

from collections.abc import Iterator
from pathlib import Path

from services.engine.errors import DamagedModelError
from services.engine.weight_hashes import SUMS_NAME, check_hashes
from services.gateway.diagnosis.finding import Finding, failed, healthy, unknown, warning
from services.jobs.model_catalogue import RANDOM_CHECKPOINT, ModelCatalogue


def look_at_models(catalogue: ModelCatalogue, folder: Path) -> Iterator[Finding]:
    """Look at each model; reads every byte of the weights, so it takes its time."""
    for model_id, model in catalogue.items():
        yield look_at_model(f"model {model_id}", model.source, folder)


def look_at_model(check: str, source: str, catalogue_folder: Path) -> Finding:
    """Look at one model's folder."""
    if source == RANDOM_CHECKPOINT:
        return warning(
            check,
            "it has random weights and draws noise",
            "Name a model with trained weights in the catalogue before anybody pays for it.",
        )
    folder = catalogue_folder / source
    if not folder.is_dir():
        return unknown(
            check,
            f"{source} is no folder beside the catalogue: workers look in their own cache",
            "Fetch it with `atelier-worker fetch` and name its folder in the catalogue.",
        )
    if not (folder / "model_index.json").is_file():
        return failed(
            check,
            f"{folder} is no model in diffusers' format: it has no model_index.json",
            "Fetch it again with `atelier-worker fetch`.",
        )
    try:
        check_hashes(folder)
    except DamagedModelError as error:
        return failed(check, str(error), "Fetch it again with `atelier-worker fetch`.")
    if not (folder / SUMS_NAME).exists():
        return warning(
            check,
            f"its folder has no {SUMS_NAME}: a damaged file would not be noticed",
            "Fetch it again with `atelier-worker fetch`, which writes the hashes.",
        )
    return healthy(check, "its weights are what their hashes say")
