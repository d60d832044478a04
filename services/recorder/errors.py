"""What can go wrong with what a worker or the meter sends."""


class RecorderError(Exception):
    """Root of this package's errors."""


class MessageInvalidError(RecorderError):
    """A message breaks a rule of the internal contract; sending it again changes nothing."""


class PictureDamagedError(RecorderError):
    """The bytes that arrived are not those that were announced; they may be sent again."""


class PictureRefusedError(RecorderError):
    """The bytes are not the picture that was asked for; the image fails."""


class SessionUnknownError(RecorderError):
    """The session has not attended since the recorder started; it will in a moment."""


class SpoolUnusableError(RecorderError):
    """The spool's disk is full or fails: the picture can be brought again later."""
