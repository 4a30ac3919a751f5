"""Where the starter policy lies: the small model that is shipped with the package."""

from pathlib import Path


def starter_folder() -> Path:
    """The folder of the starter policy, in Hugging Face format."""
    return Path(__file__).parent / "starter"
