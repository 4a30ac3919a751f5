"""The project's exceptions: each names the place, the value, the reason and the remedy."""


class UecError(Exception):
    """Anything that the user can mend; the command line prints it without a traceback and exits with `status`."""

    status = 2


class ConfigError(UecError):
    """A configuration that is refused: the message names the key, the value, the reason and the remedy."""


class DataError(UecError):
    """A data source, a row or a picture that is refused by name."""


class PromptError(UecError):
    """A sample that cannot become a prompt (too long, placeholders that do not match the pictures)."""


class ModelError(UecError):
    """A model folder that cannot be loaded or is of a family that is not supported."""


class EngineError(UecError):
    """A rollout engine that cannot be reached or answers what it must not."""


class CheckpointError(UecError):
    """A checkpoint that is missing, torn or does not belong to the run."""


class RunError(UecError):
    """A run folder that cannot be used as asked."""


class RunStopped(UecError):
    """A run that ended because it was asked to: the message says what is saved and how to go on.

    status: 128 plus the number of the signal.
    """

    def __init__(self, message: str, *, signal: int) -> None:
        """Keep the message and the signal's number."""
        super().__init__(message)
        self.status = 128 + signal


class LeftOut(UserWarning):
    """Something damaged that a result goes without: the message names it, the reason and the remedy."""
