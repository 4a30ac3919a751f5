"""Open a checkpoint folder as a policy, and write one that `transformers` loads as it is."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from uec_vlm.durable import share_weights
from uec_vlm.errors import ModelError
from uec_vlm.policy.families import FAMILIES, REFUSED
from uec_vlm.policy.forward import backbone_of, takes_features
from uec_vlm.policy.model import Policy
from uec_vlm.policy.patches import embed_patches_by_product
from uec_vlm.policy.pictures import PictureStore
from uec_vlm.policy.quantize import dequantized, is_quantized, quantize

# Every linear layer of the language model; the vision tower, the head and routed experts stay as they are.
ADAPTED_LAYERS = r"^(?!.*(?:visual|\.experts)).*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)$"
_ALIGNED = 64  # bytes: what torch's allocator on the CPU gives
_VISION_CONFIG_IDS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
_VISION_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")


LoraFiles = Literal["merged", "adapter", "both"]


@dataclass(frozen=True)
class LoraSettings:
    """A low-rank adapter on the linear layers of the language model; a mixture's routed experts have none.

    rank: of each update, >= 1. alpha: the update is scaled by alpha / rank.
    dropout: in [0, 1); above 0 the scores in training differ from those at sampling.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0


@dataclass(frozen=True)
class Reader:
    """What writes prompts for a model, without its weights: configuration, processor (None: text only), tokenizer.

    end_ids: tokens that end a completion.
    """

    config: Any
    processor: Any
    tokenizer: Any
    end_ids: tuple[int, ...]


def load_reader(path: str | Path, *, min_pixels: int | None = None, max_pixels: int | None = None) -> Reader:
    """Open a folder's configuration, processor and tokenizer. ModelError with the reason and the remedy."""
    config = load_config(path)
    processor, tokenizer = _load_processor(path, FAMILIES[config.model_type].sees)
    if processor is not None:
        _limit_pixels(processor.image_processor, min_pixels, max_pixels)
    return Reader(config, processor, tokenizer, _end_ids(_generation_config(path, config), tokenizer, path))


def load_policy(
    path: str | Path,
    *,
    dtype: str = "float32",
    device: str | torch.device = "cpu",
    freeze_vision: bool = False,
    attn_implementation: str = "sdpa",
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    gradient_checkpointing: bool = False,
    lora: LoraSettings | None = None,
    picture_mib: int = 0,
    quantization: Literal["nf4"] | None = None,
) -> Policy:
    """Load a folder (or a Hub name) of a supported family.

    min_pixels, max_pixels: limits of a picture's area after resizing; None keeps what the checkpoint's processor says.
    freeze_vision: the vision tower, its merger included, gets no gradient. picture_mib: features of pictures that a
    tower without gradient made, kept in memory so that it is asked once (0: every time). quantization: nf4 puts the
    layers under an adapter into four bits. Raises ModelError with the reason and the remedy.
    """
    config = load_config(path)
    family = FAMILIES[config.model_type]
    model = _load_model(path, family.sees, _dtype(dtype), attn_implementation)
    if quantization is not None:
        quantize(model, ADAPTED_LAYERS, device=device)
    model = model.to(device)
    _align(model)
    embed_patches_by_product(model)
    processor, tokenizer = _load_processor(path, family.sees)
    if processor is not None:
        _limit_pixels(processor.image_processor, min_pixels, max_pixels)
    if freeze_vision and family.sees:
        backbone_of(model).visual.requires_grad_(False)
    if gradient_checkpointing:
        _checkpoint_activations(model)
    if lora is not None:
        model = _add_adapter(model, lora)
    model.eval()
    return Policy(
        model=model,
        processor=processor,
        tokenizer=tokenizer,
        banned_ids=_banned_ids(config, tokenizer) if family.sees else (),
        end_ids=_end_ids(getattr(model, "generation_config", None), tokenizer, path),
        pad_id=_pad_id(tokenizer, path),
        family=config.model_type,
        pictures=PictureStore(picture_mib * 2**20) if picture_mib and family.sees and takes_features(model) else None,
    )


def save_policy(
    policy: Policy,
    folder: str | Path,
    *,
    state_dict: Mapping[str, Tensor] | None = None,
    lora: LoraFiles = "merged",
) -> Path:
    """Write weights, configuration, generation configuration, processor, tokenizer and chat template.

    state_dict: the gathered weights where the model in memory holds only a shard.
    lora: where the policy has an adapter, `merged` adds it to the written weights, `adapter` writes it alone (loading
    finds the base model by its name), `both` writes merged weights and the adapter in `adapter/`. The policy in
    memory is not touched.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    model = cast(Any, policy.model)
    weights = dict(state_dict) if state_dict is not None else None
    base = model.get_base_model() if policy.has_adapter else model
    if policy.has_adapter and lora in ("adapter", "both"):
        place = target if lora == "adapter" else target / "adapter"
        model.save_pretrained(place, state_dict=weights)
        (place / "README.md").unlink(missing_ok=True)  # an empty form
    # Beside a config.json transformers would look for whole weights, and not for the adapter's base model.
    if not (policy.has_adapter and lora == "adapter"):
        base.save_pretrained(target, state_dict=_merged_weights(model, weights) if policy.has_adapter else weights)
    _save_generation_config(policy, base, target)
    (policy.processor or policy.tokenizer).save_pretrained(target)
    share_weights(target)
    return target


def _save_generation_config(policy: Policy, model: Any, target: Path) -> None:
    """The end tokens of the written folder are those at which the policy ends."""
    settings = copy.deepcopy(model.generation_config)
    ends = settings.eos_token_id
    if set(ends if isinstance(ends, (list, tuple)) else [ends]) != set(policy.end_ids):
        settings.eos_token_id = list(policy.end_ids)
    if settings.pad_token_id is None:
        settings.pad_token_id = policy.pad_id
    settings.save_pretrained(target)


def load_config(path: str | Path) -> Any:
    """The transformers configuration of a folder. ModelError if it is missing or of a family that is refused."""
    from transformers import AutoConfig

    if not Path(path).exists() and str(path).startswith((".", "/", "~")):
        raise ModelError(
            f"model '{path}': there is no such folder. Give a folder with a config.json, or a model's Hub name."
        )
    try:
        config = AutoConfig.from_pretrained(_base_of(path) or path)
    except (OSError, ValueError) as error:
        if not Path(path).exists():
            raise _nowhere(path, error) from error
        raise ModelError(
            f"model '{path}': its configuration cannot be read ({error}). Give a folder with a config.json."
        ) from error
    check_config(config, path)
    return config


def _nowhere(path: str | Path, error: Exception) -> ModelError:
    """What to say of a model that is no folder, and that the Hub did not give either."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    unasked = isinstance(error.__cause__ or error.__context__, LocalEntryNotFoundError)
    hub = "the Hub could not be asked" if unasked else "the Hub has no such model to read"
    return ModelError(
        f"model '{path}': there is no such folder, and {hub} ({str(error).splitlines()[0]}). Give a folder with a "
        "config.json, or a model's name on the Hub."
    )


def check_config(config: Any, path: str | Path) -> None:
    """ModelError if a model of this transformers configuration cannot be trained here, with the reason."""
    if config.model_type not in FAMILIES:
        reason = REFUSED.get(config.model_type)
        why = f" ({reason})" if reason else ""
        raise ModelError(
            f"model '{path}': the family '{config.model_type}' is not supported{why}. Supported: {', '.join(FAMILIES)}."
        )
    text = config.get_text_config()
    layers = getattr(text, "layer_types", None)
    window = getattr(text, "sliding_window", None) if layers is None else None
    windowed = window is not None and getattr(text, "use_sliding_window", True)
    if windowed or "sliding_attention" in (layers or ()):
        raise ModelError(
            f"model '{path}': sliding-window attention is not supported. Set use_sliding_window to false in its "
            "config, or sliding_window to null where there is no such key."
        )


def _load_model(path: str | Path, sees: bool, dtype: torch.dtype, attn_implementation: str) -> Any:
    """The model; that of an adapter's folder is its base model with the adapter merged."""
    base = _base_of(path)
    if base is None:
        return _load_weights(path, sees, dtype, attn_implementation)
    from peft import PeftModel

    model = _load_weights(base, sees, dtype, attn_implementation)
    try:
        return PeftModel.from_pretrained(model, str(path)).merge_and_unload()
    except SafetensorError as error:
        raise _torn(path, error) from None


def _base_of(path: str | Path) -> str | None:
    """The base model that an adapter's folder names; None for any other folder."""
    adapter = Path(path) / "adapter_config.json"
    if not adapter.is_file() or (Path(path) / "config.json").is_file():
        return None
    return str(json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"])


def _load_weights(path: str | Path, sees: bool, dtype: torch.dtype, attn_implementation: str) -> Any:
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    loader = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    # The grouped product of a mixture of experts knows no float64; models without experts ignore the setting.
    exact = {"experts_implementation": "eager"} if dtype is torch.float64 else {}
    try:
        return loader.from_pretrained(path, dtype=dtype, attn_implementation=attn_implementation, **exact)
    except (OSError, ImportError, ValueError) as error:
        raise ModelError(f"model '{path}': its weights cannot be loaded ({error}).") from error
    except SafetensorError as error:
        raise _torn(path, error) from None


def _torn(path: str | Path, error: SafetensorError) -> ModelError:
    """What to say of weights that are not whole: the first file that cannot be opened is named."""
    for file in sorted(Path(path).glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt"):
                continue
        except (OSError, SafetensorError):
            return ModelError(f"{file} is not a whole weight file ({error}). Copy it again.")
    return ModelError(f"model '{path}': its weights are not whole ({error}). Download it again.")


def _align(model: Any) -> None:
    """Copy weights that lie in the mapped file to memory of torch's own, which is aligned to 64 bytes.

    Matrix products on the CPU round differently by the place of their factors: the same weights from two files would
    not give the same last bit, so that a resumed run would not be the uninterrupted one.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type == "cpu" and tensor.data_ptr() % _ALIGNED:
            tensor.data = tensor.data.clone()


def _load_processor(path: str | Path, sees: bool) -> tuple[Any, Any]:
    from transformers import AutoProcessor, AutoTokenizer

    try:
        processor = AutoProcessor.from_pretrained(path) if sees else None
        return processor, processor.tokenizer if processor is not None else AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"model '{path}': its processor or tokenizer cannot be loaded ({error}).") from error


def _dtype(name: str) -> torch.dtype:
    known = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise ModelError(f"dtype = '{name}': not a known precision. Choose one of {', '.join(known)}.")
    return known[name]


def _limit_pixels(image_processor: Any, min_pixels: int | None, max_pixels: int | None) -> None:
    """Set the limits where they belong, in the processor, so that a saved checkpoint carries them."""
    size = image_processor.size
    smallest = min_pixels if min_pixels is not None else size["shortest_edge"]
    largest = max_pixels if max_pixels is not None else size["longest_edge"]
    if not 0 < smallest <= largest:
        raise ModelError(f"min_pixels = {smallest}, max_pixels = {largest}: need 0 < min_pixels <= max_pixels.")
    image_processor.size = type(size)(**{**dict(size), "shortest_edge": smallest, "longest_edge": largest})


def _checkpoint_activations(model: Any) -> None:
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable({"use_reentrant": False})
    else:  # its name before transformers 5.23
        model.gradient_checkpointing_enable({"use_reentrant": False})


def _add_adapter(model: Any, lora: LoraSettings) -> Any:
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=ADAPTED_LAYERS,
        bias="none",
        task_type=None,
    )
    return get_peft_model(model, settings)


def _merged_weights(model: Any, state_dict: dict[str, Tensor] | None) -> dict[str, Tensor]:
    """The base model's weights with the adapter added, computed aside: adding and taking off again would drift."""
    weights = state_dict if state_dict is not None else model.state_dict()
    merged: dict[str, Tensor] = {}
    for name, value in weights.items():
        if ".lora_" in name or ".weight." in name:  # the scales of four-bit weights stand below their name
            continue
        merged[name.removeprefix("base_model.model.").replace(".base_layer.", ".")] = value
    scales = {
        name: module
        for name, module in model.named_modules()
        if hasattr(module, "lora_A") and "default" in module.lora_A
    }
    for name, module in scales.items():
        down, up = weights[f"{name}.lora_A.default.weight"], weights[f"{name}.lora_B.default.weight"]
        key = f"{name.removeprefix('base_model.model.')}.weight"
        update = (up.float() @ down.float()) * module.scaling["default"]
        base = module.get_base_layer()
        whole = dequantized(base) if is_quantized(base) else merged[key]
        merged[key] = (whole.float() + update.to(whole.device)).to(whole.dtype)
    return merged


def _banned_ids(config: Any, tokenizer: Any) -> tuple[int, ...]:
    ids = {getattr(config, name, None) for name in _VISION_CONFIG_IDS}
    known = tokenizer.get_vocab()
    ids |= {known.get(token) for token in _VISION_TOKENS}
    return tuple(sorted(value for value in ids if value is not None))


def _generation_config(path: str | Path, config: Any) -> Any:
    """As `from_pretrained` of a model finds it."""
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(path)
    except OSError:
        return GenerationConfig.from_model_config(config)


def _end_ids(settings: Any, tokenizer: Any, path: str | Path) -> tuple[int, ...]:
    ends = getattr(settings, "eos_token_id", None)
    found = set(ends if isinstance(ends, (list, tuple)) else [ends]) | {tokenizer.eos_token_id}
    ids = tuple(sorted(value for value in found if value is not None))
    if not ids:
        raise ModelError(f"model '{path}': no end token. Set eos_token_id in its generation_config.json or tokenizer.")
    return ids


def _pad_id(tokenizer: Any, path: str | Path) -> int:
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    if pad is None:
        raise ModelError(f"model '{path}': neither a padding nor an end token. Set one in its tokenizer.")
    return int(pad)
