"""A checkpoint leaves its run: with its model card, into a folder or to the Hub. Nothing is uploaded unasked."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from uec_vlm.config import RunConfig
from uec_vlm.errors import CheckpointError, ModelError
from uec_vlm.policy import FAMILIES, Policy, save_policy
from uec_vlm.reports.card import model_card
from uec_vlm.runlog import RunFolder, read_run
from uec_vlm.trainer.state import step_of


def save_with_card(
    policy: Policy,
    target: Path,
    *,
    run: RunFolder,
    step: int,
    config: RunConfig,
    state_dict: Mapping[str, Tensor] | None = None,
) -> None:
    """The weights as `checkpoint.lora` says, processor and tokenizer, and the card of the run so far.

    state_dict: the gathered weights where the model in memory holds only a shard.
    """
    save_policy(policy, target, state_dict=state_dict, lora=config.checkpoint.lora)
    adapter = policy.has_adapter and config.checkpoint.lora == "adapter"
    card = model_card(run, step=step, family=policy.family, sees=policy.traits.sees, adapter=adapter)
    (target / "README.md").write_text(card, encoding="utf-8")


def stage(checkpoint: Path, target: Path) -> Path:
    """Copies what others need of a checkpoint: no training state, and a card with all that its run knows by now."""
    if not any((checkpoint / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise CheckpointError(
            f"{checkpoint} is no checkpoint (config.json is missing); give runs/.../checkpoints/step_N."
        )
    shutil.copytree(checkpoint, target, ignore=shutil.ignore_patterns("state"), dirs_exist_ok=True)
    run_path = checkpoint.absolute().parents[1]
    if (run_path / "metrics.jsonl").is_file():
        from uec_vlm.policy import load_config

        family = load_config(checkpoint).model_type
        card = model_card(
            read_run(run_path),
            step=step_of(checkpoint),
            family=family,
            sees=FAMILIES[family].sees,
            adapter=(checkpoint / "adapter_config.json").is_file(),
        )
        curves = run_path / "report" / "curves.png"
        if curves.is_file():
            shutil.copy(curves, target / "curves.png")
            card += "\n![curves of the run](curves.png)\n"
        (target / "README.md").write_text(card, encoding="utf-8")
    return target


def push(checkpoint: Path, *, repo: str, private: bool = False, endpoint: str | None = None) -> str:
    """Uploads a checkpoint to the Hub and returns its address. ModelError says plainly why it could not.

    endpoint: of the Hub, None for the public one.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, LocalTokenNotFoundError

    with tempfile.TemporaryDirectory() as folder:
        staged = stage(checkpoint, Path(folder) / "model")
        api = HfApi(endpoint=endpoint)
        try:
            address = api.create_repo(repo, private=private, exist_ok=True)
            api.upload_folder(repo_id=repo, folder_path=staged, commit_message=f"Checkpoint {checkpoint.name}")
        except HFValidationError as error:
            raise ModelError(f"--repo {repo}: not a repository's name ({error}). Write USER/NAME.") from error
        except LocalTokenNotFoundError as error:
            raise ModelError(f"--repo {repo}: nobody is logged in. Run `hf auth login`, or set HF_TOKEN.") from error
        except Exception as error:  # the client's own errors, and those of whichever library carries it
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ModelError(
                f"--repo {repo}: the Hub could not be reached or refused ({reason}). Check the connection and the "
                f"token; nothing is lost, {checkpoint} is as it was."
            ) from error
    return str(address)
