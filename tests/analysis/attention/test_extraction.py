"""The attention of a model is what its weights say: checked by hand and by timm's own unfused path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from scipy.special import erf, softmax
from torch.utils.flop_counter import FlopCounterMode

from beholder.analysis.attention import extraction as attention_module
from beholder.analysis.attention import models
from beholder.analysis.attention.extraction import Attention, attend, attend_batch, input_size, preprocess
from beholder.analysis.attention.named_maps import named_maps
from beholder.shared.errors import DataError, WeightsError

timm = models.import_timm()
Array = NDArray[np.float64]

SMALL = {"num_classes": 0, "dynamic_img_size": True, "depth": 2, "embed_dim": 48, "num_heads": 3}
VIT = SMALL | {"img_size": 64}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "ViT": ("vit_tiny_patch16_224", VIT),
    "ViT with LayerScale (DINOv2)": ("vit_small_patch14_dinov2", VIT | {"img_size": 56}),
    "ViT with four registers": ("vit_small_patch14_reg4_dinov2", VIT | {"img_size": 56}),
    "ViT with normalised queries and keys": ("vit_tiny_patch16_224", VIT | {"qk_norm": True}),
    "ViT distilled": ("deit_tiny_distilled_patch16_224", VIT),
    "CLIP": ("vit_base_patch16_clip_224", VIT),
    "no class token": ("vit_base_patch16_siglip_gap_224", VIT),
    "no class token, but registers": ("vit_base_patch16_siglip_gap_224", VIT | {"reg_tokens": 2}),
    "DINOv3": ("vit_small_patch16_dinov3", VIT),
    "DINOv3 with biases": ("vit_small_patch16_dinov3_qkvb", VIT),
    "EVA-02": ("eva02_base_patch14_224", VIT | {"img_size": 56}),
    "keys shared by heads (Sapiens 2)": (
        "vit_base_patch16_sapiens2",
        VIT | {"embed_dim": 64, "num_heads": 4, "num_kv_heads": 2},
    ),
    "mixed rotary positions": ("vit_small_patch16_rope_mixed_224", VIT),
}


def maps(found: Attention, layer: int) -> dict[str, Array]:
    """The densities that the analysis makes of a layer's attention."""
    at = found.layers.index(layer)
    return named_maps(found.heads[at], None if found.rollout is None else found.rollout[at])


def lively(name: str, options: dict[str, Any], seed: int = 0) -> models.Model:
    """A small network with random weights large enough that its attention is far from uniform."""
    module = timm.create_model(name, **options)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in module.named_parameters():
            scale = 2.0 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 and "weight" in key else 0.5
            scale = 1.5 if "q_norm" in key or "k_norm" in key else scale
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return models.describe(module, name, label=name, stand_in=True, weights="random")


@pytest.fixture(params=ARCHITECTURES, scope="module")
def model(request: pytest.FixtureRequest) -> models.Model:
    return lively(*ARCHITECTURES[request.param])


@pytest.fixture(scope="module")
def vit() -> models.Model:
    return lively(*ARCHITECTURES["ViT"])


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def timms_own_attention(model: models.Model, pixels: torch.Tensor) -> list[Array]:
    """(heads, tokens, tokens) by layer: what timm's unfused attention hands to its dropout."""
    network: Any = model.module
    seen: list[Array] = []
    hooks = [
        block.attn.attn_drop.register_forward_hook(lambda _, given, __: seen.append(given[0][0].double().numpy()))
        for block in network.blocks
    ]
    fused = [block.attn.fused_attn for block in network.blocks]
    try:
        for block in network.blocks:
            block.attn.fused_attn = False
        with torch.inference_mode():
            network.forward_features(pixels)
    finally:
        for hook, block, was in zip(hooks, network.blocks, fused, strict=True):
            hook.remove()
            block.attn.fused_attn = was
    assert len(seen) == model.n_layers
    return seen


def attention_by_hand(model: models.Model, pixels: torch.Tensor) -> list[Array]:
    """(heads, tokens, tokens) by layer: a whole ViT in float64 NumPy, from its state dict alone (Dosovitskiy 2021)."""
    w = {key: value.double().numpy() for key, value in model.module.state_dict().items()}
    patch, width = model.patch_px, w["cls_token"].shape[-1]
    channels, height, length = pixels.shape[1:]
    cut = pixels[0].double().numpy().reshape(channels, height // patch, patch, length // patch, patch)
    patches = cut.transpose(1, 3, 0, 2, 4).reshape(-1, channels * patch * patch)
    tokens = patches @ w["patch_embed.proj.weight"].reshape(width, -1).T + w["patch_embed.proj.bias"]
    if "reg_token" in w:  # registers and class token carry no position
        tokens = np.concatenate([w["cls_token"][0], w["reg_token"][0], tokens + w["pos_embed"][0]])
    else:
        tokens = np.concatenate([w["cls_token"][0], tokens]) + w["pos_embed"][0]

    def norm(x: Array, key: str) -> Array:
        spread = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-6)
        return (x - x.mean(axis=-1, keepdims=True)) / spread * w[key + ".weight"] + w[key + ".bias"]

    def linear(x: Array, key: str) -> Array:
        return x @ w[key + ".weight"].T + w[key + ".bias"]

    all_rows = []
    for i in range(model.n_layers):
        block = f"blocks.{i}."
        qkv = linear(norm(tokens, block + "norm1"), block + "attn.qkv")
        q, k, v = qkv.reshape(len(tokens), 3, model.n_heads, -1).transpose(1, 2, 0, 3)
        rows = softmax(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]), axis=-1)
        all_rows.append(rows)
        mixed = linear((rows @ v).transpose(1, 0, 2).reshape(len(tokens), -1), block + "attn.proj")
        tokens = tokens + mixed * w.get(block + "ls1.gamma", 1.0)
        hidden = linear(norm(tokens, block + "norm2"), block + "mlp.fc1")
        hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
        tokens = tokens + linear(hidden, block + "mlp.fc2") * w.get(block + "ls2.gamma", 1.0)
    return all_rows


def whole_rows(attention: Attention) -> Array:
    """(layers, heads, tokens): prefix and patches together again, patches row by row."""
    n_layers, n_heads = attention.heads.shape[:2]
    patches = attention.heads.reshape(n_layers, n_heads, -1)
    return np.concatenate([attention.prefix_mass, patches], axis=-1).astype(np.float64)


# --- against the weights


@pytest.mark.parametrize("name", ["ViT", "ViT with LayerScale (DINOv2)", "ViT with four registers"])
def test_attention_is_the_softmax_of_queries_and_keys_computed_by_hand(name: str) -> None:
    model = lively(*ARCHITECTURES[name])
    picture = noise(*model.input_px)
    expected = np.stack(attention_by_hand(model, preprocess(picture, model.input_px, model.mean, model.std)))[:, :, 0]
    found = whole_rows(attend(model, picture, [1, 2]))
    assert expected.max() > 5 * expected.mean()  # far from uniform: there is something to get wrong
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (130, 60), (50, 200)])
def test_attention_is_timms_own_for_each_kind_of_vit_and_shape(model: models.Model, width: int, height: int) -> None:
    picture = noise(width, height)
    found = attend(model, picture, [1, 2], longer_side=112)
    pixels = preprocess(picture, found.input_px, model.mean, model.std)
    assert max(found.heads.shape[2:]) > 1 and found.heads.shape[2] * model.patch_px == pixels.shape[2]
    prefix = model.n_prefix_tokens
    for layer, whole in enumerate(timms_own_attention(model, pixels)):
        expected = whole[:, 0] if model.has_class_token else whole[:, prefix:].mean(axis=1)
        np.testing.assert_allclose(whole_rows(found)[layer], expected, rtol=0, atol=1e-6)
    assert found.query == ("class token" if model.has_class_token else "mean over patches")
    assert found.prefix_mass.shape == (2, model.n_heads, prefix)
    assert whole_rows(found).max() > 2 * whole_rows(found).mean()


def test_patches_and_prefix_share_a_mass_of_one(model: models.Model) -> None:
    np.testing.assert_allclose(whole_rows(attend(model, noise(70, 40), [2])).sum(axis=-1), 1, rtol=0, atol=1e-6)


@pytest.fixture(params=["whole", "in small blocks"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "in small blocks":
        monkeypatch.setattr(attention_module, "BLOCK", 200)
    return


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("name", ["ViT", "no class token, but registers", "DINOv3"])
def test_rollout_is_the_product_of_abnar_and_zuidema(name: str) -> None:
    """Identity added, each row divided by its sum, the layers multiplied; in float64 from timm's own matrices."""
    model = lively(ARCHITECTURES[name][0], ARCHITECTURES[name][1] | {"depth": 3})
    picture = noise(80, 48)
    found = attend(model, picture, [3, 1], with_rollout=True)
    pixels = preprocess(picture, found.input_px, model.mean, model.std)
    product = np.eye(model.n_prefix_tokens + found.heads[0, 0].size)
    expected = {}
    for layer, whole in enumerate(timms_own_attention(model, pixels), start=1):
        with_self = whole.mean(axis=0) + np.eye(len(product))
        product = with_self / with_self.sum(axis=1, keepdims=True) @ product
        rows = product[:1] if model.has_class_token else product[model.n_prefix_tokens :]
        expected[layer] = rows.mean(axis=0)[model.n_prefix_tokens :]
    assert found.rollout is not None
    for at, layer in enumerate((3, 1)):
        np.testing.assert_allclose(found.rollout[at].ravel(), expected[layer], rtol=0, atol=1e-6)


def test_a_small_block_changes_nothing_but_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively(*ARCHITECTURES["no class token"])
    whole = attend(model, noise(64, 64), [1, 2])
    monkeypatch.setattr(attention_module, "BLOCK", 100)
    np.testing.assert_allclose(attend(model, noise(64, 64), [1, 2]).heads, whole.heads, rtol=0, atol=1e-7)


# --- a planted truth


def test_the_map_lies_on_the_picture_as_the_picture_lies_in_the_file() -> None:
    """Heads planted to look for light find the one white patch where it is, by the factor that was planted."""
    module: Any = timm.create_model("vit_tiny_patch16_224", **VIT | {"depth": 1})
    gains = np.array([1.0, 2.0, -1.0])
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        # A patch's only feature is the red of the pixel in its middle; a head's query is its gain, each key that
        # feature, so that attention is exp(gain * red / sqrt(16)) but for the common factor.
        module.patch_embed.proj.weight[0, 0, 8, 8] = 1.0
        module.blocks[0].norm1 = torch.nn.Identity()
        for head, gain in enumerate(gains):
            module.blocks[0].attn.qkv.bias[16 * head] = float(gain)
            module.blocks[0].attn.qkv.weight[48 + 16 * head, 0] = 1.0
    module.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.125, 0.125, 0.125)}  # black -4, white 4
    model = models.describe(module, "planted", label="planted", stand_in=True, weights="planted")
    pixels = np.zeros((48, 80, 3), dtype=np.uint8)
    pixels[16:32, 64:80] = 255  # second row, fifth column
    found = attend(model, Image.fromarray(pixels), [1], longer_side=80)
    assert found.heads.shape == (1, 3, 3, 5)
    for head, gain in enumerate(gains):
        weights = np.full((3, 5), np.exp(-gain))
        weights[1, 4] = np.exp(gain)
        total = weights.sum() + 1  # the class token's own feature is zero
        np.testing.assert_allclose(found.heads[0, head], weights / total, rtol=1e-6)
        np.testing.assert_allclose(found.prefix_mass[0, head], 1 / total, rtol=1e-6)
        np.testing.assert_allclose(maps(found, 1)[f"head-{head + 1:02d}"], weights / weights.sum(), rtol=1e-6)


# --- layers, maps, side effects


def test_layers_come_in_the_order_asked_for(vit: models.Model) -> None:
    both, turned = attend(vit, noise(64, 64), [1, 2]), attend(vit, noise(64, 64), [2, 1])
    assert turned.layers == (2, 1)
    np.testing.assert_array_equal(both.heads, turned.heads[::-1])
    assert not np.allclose(both.heads[0], both.heads[1])
    np.testing.assert_array_equal(maps(turned, 2)["mean"], maps(both, 2)["mean"])


@pytest.mark.parametrize("layers", [[0], [3], [-1], [1, 9]])
def test_a_layer_that_is_not_there_is_named_with_those_that_are(vit: models.Model, layers: list[int]) -> None:
    with pytest.raises(WeightsError, match=rf"layer {layers[-1]} was asked for; its layers are 1 to 2"):
        attend(vit, noise(64, 64), layers)


def test_no_layer_at_all_is_refused(vit: models.Model) -> None:
    with pytest.raises(WeightsError, match="no layer was asked for"):
        attend(vit, noise(64, 64), [])


def test_a_head_that_gives_patches_nothing_is_refused_by_name() -> None:
    with pytest.raises(WeightsError, match="head-02 gives no patch any attention"):
        named_maps(np.stack([np.ones((2, 2)), np.zeros((2, 2))]).astype(np.float32))


def test_maps_are_densities_named_as_the_alignment_names_them(vit: models.Model) -> None:
    found = attend(vit, noise(96, 64), [2], with_rollout=True)
    named = maps(found, 2)
    assert list(named) == ["head-01", "head-02", "head-03", "mean", "rollout"]
    for values in named.values():
        assert values.shape == found.heads.shape[2:]
        assert values.min() >= 0
        assert values.sum() == pytest.approx(1)
    raw = found.heads[0].astype(float).mean(axis=0)
    np.testing.assert_allclose(named["mean"], raw / raw.sum())
    assert "rollout" not in maps(attend(vit, noise(96, 64), [2]), 2)


def test_attending_leaves_the_network_as_it_was(vit: models.Model) -> None:
    network: Any = vit.module
    before = {key: value.clone() for key, value in network.state_dict().items()}
    first, second = (attend(vit, noise(64, 64), [1, 2], with_rollout=True) for _ in range(2))
    np.testing.assert_array_equal(first.heads, second.heads)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(not block.attn._forward_pre_hooks for block in network.blocks)


# --- batches and devices


def test_a_batch_has_each_pictures_attention(model: models.Model) -> None:
    """Families with and without a class token, registers and rotary positions; the same but for the last bits."""
    pictures = [noise(64, 48, seed) for seed in range(3)]
    batch = attend_batch(model, pictures, [2, 1], 64, with_rollout=True)
    for picture, found in zip(pictures, batch, strict=True):
        alone = attend(model, picture, [2, 1], 64, with_rollout=True)
        assert (found.layers, found.query, found.input_px) == (alone.layers, alone.query, alone.input_px)
        np.testing.assert_allclose(found.heads, alone.heads, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(found.prefix_mass, alone.prefix_mass, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(found.rollout, alone.rollout, rtol=1e-4, atol=1e-7)
    assert not np.allclose(batch[0].heads, batch[1].heads, rtol=1e-3)


def test_a_batch_of_several_sizes_is_refused(vit: models.Model) -> None:
    with pytest.raises(ValueError, match="one size"):
        attend_batch(vit, [noise(64, 64), noise(64, 32)], [1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
def test_a_gpu_finds_what_a_processor_finds(model: models.Model) -> None:
    pictures = [noise(64, 48, seed) for seed in range(3)]
    found = attend_batch(model, pictures, [1, 2], 64, with_rollout=True, device="cuda")
    for picture, of_gpu in zip(pictures, found, strict=True):
        of_cpu = attend(model, picture, [1, 2], 64, with_rollout=True)
        np.testing.assert_allclose(of_gpu.heads, of_cpu.heads, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(of_gpu.rollout, of_cpu.rollout, rtol=1e-4, atol=1e-7)


# --- what it costs


def flops(work: Callable[[], object]) -> int:
    """Floating-point operations of matrix products; torch does not count those within its fused attention."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def plain_pass(model: models.Model, picture: Image.Image) -> None:
    network: Any = model.module
    with torch.inference_mode():
        network.forward_features(preprocess(picture, model.input_px, model.mean, model.std))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch16_dinov3", "deit_tiny_patch16_224"])
def test_all_layers_cost_less_than_a_plain_forward_pass(name: str) -> None:
    """The used rows cost next to nothing, and what follows the last layer's keys is not computed."""
    model = models.with_random_weights(name, 0)
    picture = noise(*model.input_px)
    plain = flops(lambda: plain_pass(model, picture))
    assert plain > 1e9
    assert flops(lambda: attend(model, picture, range(1, 13))) < plain
    assert flops(lambda: attend(model, picture, [6])) < 0.5 * plain
    assert flops(lambda: attend(model, picture, [12], with_rollout=True)) < 1.1 * plain


def test_nothing_above_the_highest_layer_is_computed(vit: models.Model) -> None:
    network: Any = vit.module
    called: list[str] = []
    watched = {"projection": network.blocks[0].attn.proj, "next layer": network.blocks[1], "norm": network.norm}
    hooks = [m.register_forward_hook(lambda *_, name=name: called.append(name)) for name, m in watched.items()]
    try:
        first = attend(vit, noise(64, 64), [1])
        assert called == []
        both = attend(vit, noise(64, 64), [2, 1])
        assert called == ["projection"]  # of the first layer; the second ends with its keys
    finally:
        for hook in hooks:
            hook.remove()
    np.testing.assert_array_equal(first.heads[0], both.heads[1])


# --- from a file, and every model of the guide


@pytest.fixture(scope="module")
def vit_b16() -> dict[str, torch.Tensor]:
    return dict(timm.create_model("vit_base_patch16_224", num_classes=0).state_dict())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_twelve_heads_come_from_a_file_of_weights_end_to_end(
    tmp_path: Path, vit_b16: dict[str, torch.Tensor], suffix: str
) -> None:
    file = tmp_path / f"vitb16{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(vit_b16, file)
    model = models.load("vit_base_patch16_224", file)
    picture = noise(300, 200)
    found = attend(model, picture, [12])
    assert (found.heads.shape, found.input_px) == ((1, 12, 9, 14), (144, 224))
    pixels = preprocess(picture, found.input_px, model.mean, model.std)
    expected = timms_own_attention(model, pixels)[11][:, 0]
    np.testing.assert_allclose(whole_rows(found)[0], expected, rtol=0, atol=1e-6)


def guide() -> dict[str, list[str]]:
    """The table of docs/models.md: what it says of each model, by its name."""
    text = (Path(__file__).parents[3] / "docs" / "models.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return {cells[1].strip("`"): cells[2:] for cells in rows if re.fullmatch(r"`\w+\.\w+`", cells[1])}


@pytest.mark.slow
@pytest.mark.parametrize("name", guide())
def test_each_model_of_the_guide_is_as_it_says_and_attends_as_timm_computes(name: str) -> None:
    """At full size, in every layer, and as close to timm's unfused attention in float64 as that is in float32.

    Random weights, but queries and keys four times as large, and tokens that are not zero: far from even attention.
    """
    model = models.with_random_weights(name, 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, parameter in model.module.named_parameters():
            if ".qkv.weight" in key:
                parameter.mul_(4)
            elif key in ("cls_token", "reg_token"):
                parameter.normal_(generator=generator)
    layers = range(1, model.n_layers + 1)
    picture = noise(300, 200)
    found = attend(model, picture, layers, longer_side=12 * model.patch_px)
    prefix = model.n_prefix_tokens
    registers = prefix - model.has_class_token
    tokens = " + ".join([*["class"] * model.has_class_token, *[f"{registers} registers"] * (registers > 0)]) or "none"
    said = [str(model.patch_px), str(max(model.input_px)), f"{model.n_layers} x {model.n_heads}", tokens]
    assert said == guide()[name]
    np.testing.assert_allclose(whole_rows(found).sum(axis=-1), 1, rtol=0, atol=1e-6)
    pixels = preprocess(picture, found.input_px, model.mean, model.std)

    def rows_of_timm(pixels: torch.Tensor) -> Array:
        whole = np.stack(timms_own_attention(model, pixels))
        return whole[:, :, 0] if model.has_class_token else whole[:, :, prefix:].mean(axis=2)

    single = rows_of_timm(pixels)
    model.module.double()
    exact = rows_of_timm(pixels.double())
    assert (exact.max(axis=-1) > 1.5 * exact.mean(axis=-1)).all()
    rounding = np.abs(single - exact).max(axis=(1, 2))  # by layer: it grows with each
    assert (np.abs(whole_rows(found) - exact).max(axis=(1, 2)) < 3 * rounding).all()
    assert rounding.max() < 1e-3


@pytest.mark.slow
def test_the_studys_default_architecture_has_784_patches_and_twelve_heads() -> None:
    model = models.with_random_weights("vit_base_patch8_224.dino", 0)
    picture = noise(500, 500)
    found = attend(model, picture, [12])
    assert found.heads.shape == (1, 12, 28, 28)
    expected = timms_own_attention(model, preprocess(picture, (224, 224), model.mean, model.std))[11][:, 0]
    np.testing.assert_allclose(whole_rows(found)[0], expected, rtol=0, atol=1e-6)


# --- the network's input


@given(
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
    patch=st.sampled_from([8, 14, 16]),
    longer_side=st.integers(1, 2000),
)
def test_the_input_is_the_whole_picture_in_whole_patches(width: int, height: int, patch: int, longer_side: int) -> None:
    found_height, found_width = input_size(width, height, patch, longer_side)
    assert found_height % patch == found_width % patch == 0
    longer, shorter = max(found_height, found_width), min(found_height, found_width)
    assert longer == patch or abs(longer - longer_side) <= patch / 2
    assert shorter == patch or abs(shorter - longer * min(width, height) / max(width, height)) <= patch / 2 + 1e-6
    assert (found_width >= found_height) or (height > width)
    assert input_size(height, width, patch, longer_side) == (found_width, found_height)


def test_the_default_input_is_the_checkpoints_own_size_on_the_longer_side(vit: models.Model) -> None:
    assert attend(vit, noise(64, 64), [1]).input_px == (64, 64)
    assert attend(vit, noise(128, 70), [1]).input_px == (32, 64)
    assert attend(vit, noise(128, 70), [1], longer_side=200).input_px == (112, 208)


@pytest.mark.parametrize(("width", "height", "patch", "side"), [(0, 1, 8, 8), (1, 0, 8, 8), (1, 1, 0, 8), (1, 1, 8, 0)])
def test_a_length_below_one_px_is_refused(width: int, height: int, patch: int, side: int) -> None:
    with pytest.raises(ValueError, match="must be at least 1 px"):
        input_size(width, height, patch, side)


HALF, ZERO = (0.5, 0.5, 0.5), (0.0, 0.0, 0.0)
ONE = (1.0, 1.0, 1.0)


def test_pixels_are_normalised_by_channel() -> None:
    red = Image.new("RGB", (20, 10), (255, 0, 51))
    found = preprocess(red, (8, 16), (0.5, 0.25, 0.2), (0.5, 0.5, 0.1))
    assert found.shape == (1, 3, 8, 16) and found.dtype == torch.float32
    np.testing.assert_allclose(found[0, :, 3, 5].numpy(), [1.0, -0.5, 0.0], atol=1e-6)


def test_no_edge_of_the_picture_is_cut_off() -> None:
    pixels = np.zeros((100, 300, 3), dtype=np.uint8)
    pixels[:, :30], pixels[:10, :, 1], pixels[:, -30:, 2] = 255, 255, 255
    found = preprocess(Image.fromarray(pixels), (40, 120), ZERO, ONE)[0].numpy()
    assert found[0, 20, 4] == found[1, 1, 60] == found[2, 20, -4] == 1.0
    assert found[0, 20, 60] == found[1, 20, 60] == found[2, 20, 60] == 0.0


def test_shrinking_smooths_first() -> None:
    board = ((np.indices((128, 128)).sum(axis=0) % 2) * 255).astype(np.uint8)
    found = preprocess(Image.fromarray(board), (32, 32), ZERO, ONE)
    assert abs(found - 0.5).max() < 0.05


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "I;16", "I", "PA"])
def test_every_kind_of_picture_becomes_red_green_and_blue(mode: str) -> None:
    """Black left, white right, opaque: the same tensor whatever the file's kind."""
    pixels = np.zeros((16, 32), dtype=np.uint8)
    pixels[:, 16:] = 255
    plain = Image.fromarray(pixels)
    if mode.startswith("I"):
        wide = pixels.astype(np.uint16) * 257
        picture = Image.fromarray(wide if mode == "I;16" else wide.astype(np.int32))
    else:
        picture = plain.convert("P").convert("PA") if mode == "PA" else plain.convert(mode)
    assert picture.mode == mode
    expected = preprocess(plain.convert("RGB"), (16, 32), HALF, HALF)
    torch.testing.assert_close(preprocess(picture, (16, 32), HALF, HALF), expected, rtol=0, atol=1e-6)


def test_transparency_lies_on_white() -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    half = Image.new("LA", (8, 8), (0, 128))
    palette = Image.new("P", (8, 8), 0)
    palette.info["transparency"] = 0
    assert preprocess(clear, (8, 8), ZERO, ONE).unique().tolist() == [1.0]
    assert preprocess(palette, (8, 8), ZERO, ONE).unique().tolist() == [1.0]
    np.testing.assert_allclose(preprocess(half, (8, 8), ZERO, ONE).numpy(), 127 / 255, atol=0.005)


@pytest.mark.parametrize("values", [np.array([[0.0, 2.0]], dtype=np.float32), np.array([[0, 70000]], dtype=np.int32)])
def test_pixels_of_no_known_range_are_refused(values: NDArray[Any]) -> None:
    with pytest.raises(DataError, match="no known range"):
        preprocess(Image.fromarray(values), (8, 8), ZERO, ONE)
