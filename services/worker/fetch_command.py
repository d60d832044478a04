r"""`atelier-worker fetch`: a model's weights onto this host, with their hashes and their licence.

    atelier-worker fetch stabilityai/stable-diffusion-3.5-large --output models/large \
        --accept-licence

For a host with a network: workers have none. The folder it leaves can be copied anywhere; the
catalogue names it as `source`.
"""

import argparse
import os
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from huggingface_hub import (
    HfApi,
    snapshot_download,  # pyright: ignore[reportUnknownVariableType] - it names tqdm's class
)
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from services.engine.weight_hashes import SUMS_NAME, write_hashes
from services.worker.errors import FetchError

TERMS_NAME: Final = "LICENCE-TERMS.md"
# What a worker loads, and what says under which terms; not the weights of other programs.
_PATTERNS: Final = (
    "model_index.json",
    "*/*.json",
    "*/*.model",
    "*/*.safetensors",
    "*/*.txt",
    "LICENSE*",
    "LICENCE*",
    "README.md",
)
_STABILITY_TERMS: Final = (
    "Stability AI Community License: free for research and non-commercial use, and for commercial"
    " use by organisations with less than 1,000,000 USD of yearly revenue; above that Stability AI"
    " sells an enterprise licence. The model's page has the terms that bind you, its acceptable use"
    " policy among them; each studio you sell to is bound by them too."
)
_GATED_OWNER: Final = "stabilityai/"


def fetch_lines(arguments: Sequence[str]) -> Iterator[str]:
    """Fetch a model; yields what is done.

    Raises:
        FetchError: it cannot be; says what to mend. Nothing but the unfinished folder is left,
            where the next attempt goes on.
    """
    options = _parse(arguments)
    folder: Path = options.output
    if folder.exists():
        raise FetchError(f"{folder} is there already: name another folder, or delete it")
    yield terms_of(options.model)
    if not options.accept_licence:
        raise FetchError("nothing was fetched: read the terms, then add --accept-licence")
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise FetchError("HF_HUB_OFFLINE forbids the network: unset it, on a host that has one")
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    revision = _download(options, unfinished)
    yield f"fetched revision {revision}"
    seal(unfinished, model=options.model, revision=revision, accept_time=datetime.now(UTC))
    unfinished.rename(folder)
    yield f"{folder} is complete: name it in the catalogue as `source`"


def terms_of(model: str) -> str:
    """Say under which terms a model comes, as far as this version knows."""
    page = f"https://huggingface.co/{model}"
    if model.startswith(_GATED_OWNER):
        return f"{_STABILITY_TERMS}\nAgree to them on {page}; your token then opens the download."
    return f"{page} says under which terms {model} comes."


def seal(folder: Path, *, model: str, revision: str, accept_time: datetime) -> None:
    """Check that a download is a model, and leave its hashes and terms beside it.

    Raises:
        FetchError: it is none.
    """
    if not (folder / "model_index.json").is_file():
        raise FetchError(f"{model} is no model in diffusers' format: it has no model_index.json")
    if not any(folder.glob("*/*.safetensors")):
        raise FetchError(f"{model} has no safetensors weights")
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    write_hashes(folder)
    on_the_page = "on that page; the model came without a file"
    licences = sorted(path.name for path in folder.glob("LICEN[CS]E*") if path.name != TERMS_NAME)
    (folder / TERMS_NAME).write_text(
        f"# Terms of {model}\n\n"
        f"Fetched from https://huggingface.co/{model}, revision {revision}, on"
        f" {accept_time:%Y-%m-%d}; whoever fetched it accepted these terms.\n\n"
        f"{terms_of(model)}\n\n"
        f"The licence itself: {', '.join(licences) or on_the_page}.\n"
        f"The weights' hashes: {SUMS_NAME}.\n"
    )


def _download(options: argparse.Namespace, folder: Path) -> str:
    """Download into a folder, going on where the last attempt ended; return the revision."""
    token = options.token_file.read_text().strip() if options.token_file else None
    try:
        found = HfApi(token=token).model_info(
            options.model, revision=options.revision, files_metadata=True
        )
        _check_room(folder, sum(file.size or 0 for file in found.siblings or ()))
        snapshot_download(
            options.model,
            revision=found.sha,
            local_dir=folder,
            allow_patterns=list(_PATTERNS),
            token=token,
        )
    except GatedRepoError as error:
        raise FetchError(
            f"{options.model} is gated: agree to its terms on its page, then give a token of that"
            " account with --token-file"
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise FetchError(f"there is no {options.model} of revision {options.revision}") from error
    except (OfflineModeIsEnabled, LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise FetchError(f"the hub cannot be reached: {type(error).__name__}: {error}") from error
    return str(found.sha)


def _check_room(folder: Path, byte_count: int) -> None:
    existing = next(parent for parent in folder.resolve().parents if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < byte_count:
        raise FetchError(f"{byte_count / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="atelier-worker fetch", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", help="its name on the hub")
    parser.add_argument("--output", type=Path, required=True, help="a folder that is not there yet")
    parser.add_argument("--revision", default="main", help="a branch, tag or commit")
    parser.add_argument("--token-file", type=Path, help="holds the hub's token, for gated models")
    parser.add_argument("--accept-licence", action="store_true", help="you read the terms")
    return parser.parse_args(arguments)
