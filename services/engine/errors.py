"""What can go wrong in the engine, as far as a caller can act on it."""

from enum import StrEnum


class EngineError(Exception):
    """Root of this package's errors."""


class ModelLoadError(EngineError):
    """The model cannot be served; the message says which file or setting to mend."""


class ModelNotFoundError(ModelLoadError):
    """There is no such folder, and no such name on the hub or in its local cache."""


class DamagedModelError(ModelLoadError):
    """Files are missing, cut short, or not safetensors."""


class WrongArchitectureError(ModelLoadError):
    """The folder holds a model, but not a Stable Diffusion 3.5."""


class ModelTooLargeError(ModelLoadError):
    """Its weights and one image do not fit the device's free memory."""


class UnknownBackendError(ModelLoadError):
    """No backend of the transformer has that name."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"there is no backend {name!r}: use one of {', '.join(known)}")


class EngineClosedError(EngineError):
    """The engine was closed before the image was drawn, or did not start."""


class FailureReason(StrEnum):
    """Why one image could not be drawn."""

    INVALID_SPEC = "INVALID_SPEC"
    TEXT_ENCODING_FAILED = "TEXT_ENCODING_FAILED"
    STEP_FAILED = "STEP_FAILED"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    NOT_FINITE = "NOT_FINITE"
    DECODING_FAILED = "DECODING_FAILED"


class ImageFailedError(EngineError):
    """One image could not be drawn; the engine and its other images go on.

    `began_step` tells whether the attempt counts as one that may have been poisonous.
    """

    def __init__(self, reason: FailureReason, message: str, *, began_step: bool) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.began_step = began_step


class ImageCancelledError(EngineError):
    """The image was cancelled before it was drawn."""

    def __init__(self, message: str = "the image was cancelled", *, began_step: bool) -> None:
        super().__init__(message)
        self.began_step = began_step
