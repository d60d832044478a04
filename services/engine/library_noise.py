"""Keeps diffusers and transformers from drawing progress bars and logging beside our own log."""

import diffusers.utils.logging as diffusers_logging
import transformers.utils.logging as transformers_logging


def silence_libraries() -> None:
    """Errors only; their warnings may quote prompts, which must not be logged."""
    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
