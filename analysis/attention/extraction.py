"""What a Vision Transformer attends to in a picture: the attention of its class token to each patch.

The picture goes in whole, resized to whole patches. Of each layer's attention only the rows that are used are
computed, from the queries and keys that the network itself made; its forward pass stays fused and unchanged, and ends
where the highest layer asked for has been read. Attention is given as it is after the softmax, beside the mass that
goes to the class and register tokens. Densities, smoothing, resampling to a picture's pixels and comparing with people
are done elsewhere.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from beholder.analysis.attention.models import Model
from beholder.shared.errors import DataError, WeightsError

CLASS_TOKEN = "class token"
MEAN_OVER_PATCHES = "mean over patches"
MAX_16_BIT = 65535
# Attention values held at once: 64 MiB in float32.
BLOCK = 1 << 24


@dataclass(frozen=True)
class Attention:
    """Attention to the patches of one picture, after the softmax and not renormalised; all arrays float32.

    layers: numbers of the layers, from 1 at the input, in the order of the arrays' first axis.
    query: whose attention it is; `class token`, or `mean over patches` for a model that has no class token.
    input_px: (height, width) of the network's input, which has the picture's aspect and not its size.
    heads: (layers, heads, rows, columns), attention to each patch.
    prefix_mass: (layers, heads, prefix tokens), attention to the class token, if any, and the registers after it;
    with the patches it sums to one.
    rollout: (layers, rows, columns), attention followed from that layer through all below it, averaged over heads;
    None where it was not asked for.
    """

    layers: tuple[int, ...]
    query: str
    input_px: tuple[int, int]
    heads: NDArray[np.float32]
    prefix_mass: NDArray[np.float32]
    rollout: NDArray[np.float32] | None = None


def attend(
    model: Model,
    picture: Image.Image,
    layers: Sequence[int],
    longer_side: int | None = None,
    *,
    with_rollout: bool = False,
    device: torch.device | str = "cpu",
) -> Attention:
    """Attention of a model to the patches of a picture, in the layers asked for.

    layers: numbers from 1 (next to the input) to the model's last. longer_side: the longer side of the network's input
    in px, rounded to whole patches; None takes the checkpoint's own. The network is moved to the device.
    with_rollout computes every row of attention in every layer up to the highest asked for. Source of rollout: Abnar
    and Zuidema 2020, arXiv:2005.00928: of each layer the mean over heads, plus the identity, each row divided by its
    sum; these matrices are multiplied.
    Raises WeightsError where there is no such layer, DataError where the picture cannot be converted.
    """
    [found] = attend_batch(model, [picture], layers, longer_side, with_rollout=with_rollout, device=device)
    return found


def attend_batch(
    model: Model,
    pictures: Sequence[Image.Image],
    layers: Sequence[int],
    longer_side: int | None = None,
    *,
    with_rollout: bool = False,
    device: torch.device | str = "cpu",
) -> tuple[Attention, ...]:
    """`attend` for several pictures in one forward pass, for which a GPU takes little more time than for one.

    The last bits of a picture's results may depend on its batch, since matrix products are split by their size.
    Raises as `attend`, and ValueError where the pictures differ in the size of the network's input.
    """
    _check_layers(model, layers)
    longest_px = max(model.input_px) if longer_side is None else longer_side
    sizes = {input_size(*picture.size, model.patch_px, longest_px) for picture in pictures}
    if len(sizes) != 1:
        raise ValueError(f"pictures of one batch must be of one size to the network; {len(sizes)} sizes are invalid")
    [input_px] = sizes
    rows, columns = (side // model.patch_px for side in input_px)
    pixels = torch.cat([preprocess(picture, input_px, model.mean, model.std) for picture in pictures]).to(device)
    wanted = range(1, max(layers) + 1) if with_rollout else sorted(set(layers))
    model.module.to(device)
    prefix = model.n_prefix_tokens
    query = _query(model, prefix + rows * columns).to(device)
    found = []
    # On a GPU, cuDNN would otherwise cut the pixels of the patch embedding's convolution to 10 bits (TF32).
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        read = _read_layers(model, pixels, wanted)
        for number in range(len(pictures)):
            own = {layer: of.of_picture(number) for layer, of in read.items()}
            by_layer = {layer: _mean_row_by_head(own[layer], query) for layer in set(layers)}
            heads = torch.stack([by_layer[layer] for layer in layers]).float().cpu().numpy()
            rolled = _rollout(own, layers, query).float().cpu().numpy() if with_rollout else None
            found.append(
                Attention(
                    layers=tuple(layers),
                    query=CLASS_TOKEN if model.has_class_token else MEAN_OVER_PATCHES,
                    input_px=input_px,
                    heads=np.ascontiguousarray(heads[:, :, prefix:]).reshape(len(layers), -1, rows, columns),
                    prefix_mass=np.ascontiguousarray(heads[:, :, :prefix]),
                    rollout=None
                    if rolled is None
                    else np.ascontiguousarray(rolled[:, prefix:]).reshape(-1, rows, columns),
                )
            )
    return tuple(found)


def input_size(picture_width: int, picture_height: int, patch: int, longer_side: int) -> tuple[int, int]:
    """(height, width) of the network's input for a picture, all in px: whole picture, whole patches.

    The longer side is rounded to whole patches; the shorter follows the picture's shape, then is rounded too, so
    that its shape is kept to half a patch. Halves are rounded up; no side is less than one patch.
    Raises ValueError where a length is not positive.

    >>> input_size(800, 600, patch=14, longer_side=448)
    (336, 448)
    >>> input_size(500, 1000, patch=16, longer_side=230)
    (224, 112)
    """
    for name, length in (("picture_width", picture_width), ("picture_height", picture_height), ("patch", patch)):
        if length < 1:
            raise ValueError(f"{name} must be at least 1 px; {length} is invalid.")
    if longer_side < 1:
        raise ValueError(f"longer_side must be at least 1 px; {longer_side} is invalid.")
    longer = max(1, math.floor(longer_side / patch + 0.5))
    shape = min(picture_width, picture_height) / max(picture_width, picture_height)
    shorter = max(1, math.floor(longer * shape + 0.5))
    rows, columns = (shorter, longer) if picture_width >= picture_height else (longer, shorter)
    return rows * patch, columns * patch


def preprocess(
    picture: Image.Image, size: tuple[int, int], mean: Sequence[float], std: Sequence[float]
) -> torch.Tensor:
    """The network's input: (1, 3, height, width) float32, resized to size = (height, width), normalised.

    Transparent px become white; grey becomes equal red, green and blue; 16 bits become 8. Resized by Pillow's
    bicubic filter, which smooths before it shrinks. An orientation in the file's EXIF is not applied: width and
    height are those of the pixels.
    Raises DataError where the picture's values have no known range.
    """
    height, width = size
    resized = _rgb(picture).resize((width, height), Image.Resampling.BICUBIC)
    values = torch.from_numpy(np.array(resized, dtype=np.float32) / np.float32(255)).permute(2, 0, 1)
    centre, scale = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)
    return ((values - centre) / scale).unsqueeze(0).contiguous()


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture).astype(np.float64)
        # Pillow opens 16-bit greyscale as I or I;16; a float, or 32 bits in use, could mean any range.
        if picture.mode == "F" or values.min() < 0 or values.max() > MAX_16_BIT:
            name = getattr(picture, "filename", "") or "picture"
            raise DataError(f"{name}: its pixels ({picture.mode}) have no known range; save it with 8 bits a channel.")
        return Image.fromarray(np.round(values * (255 / MAX_16_BIT)).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


def _check_layers(model: Model, layers: Sequence[int]) -> None:
    wrong = [layer for layer in layers if not 1 <= layer <= model.n_layers]
    if wrong or not layers:
        asked = f"layer {wrong[0]}" if wrong else "no layer"
        raise WeightsError(f"{model.name}: {asked} was asked for; its layers are 1 to {model.n_layers}.")


@dataclass(frozen=True)
class _Layer:
    """A layer's attention module, its rotary position embedding or None, and the queries and keys of all n tokens.

    Queries and keys are taken after their normalisation, if there is one: (pictures, heads, n, d) each; of one picture
    (heads, n, d).
    """

    attention: Any
    rope: torch.Tensor | None
    queries: torch.Tensor
    keys: torch.Tensor

    def of_picture(self, number: int) -> _Layer:
        """The layer with the queries and keys of one picture of a batch."""
        return replace(self, queries=self.queries[number], keys=self.keys[number])


class _AllRead(Exception):  # noqa: N818 (nothing is wrong)
    """Ends the forward pass: the highest layer asked for has been read, and what would follow is not wanted."""


def _read_layers(model: Model, pixels: torch.Tensor, layers: Sequence[int]) -> dict[int, _Layer]:
    """Queries and keys of each of these layers, by its number, from one forward pass that ends at the highest.

    Every kind of attention that `models.describe` lets in calls q_norm and k_norm, if only as an identity: what comes
    out of them is taken, so that nothing is computed twice.
    """
    network: Any = model.module
    ropes: dict[int, torch.Tensor | None] = {}
    queries: dict[int, torch.Tensor] = {}
    keys: dict[int, torch.Tensor] = {}

    def keep_rope(layer: int, _: Any, args: tuple[torch.Tensor, ...], kwargs: dict[str, Any]) -> None:
        if len(args) != 1 or kwargs.get("attn_mask") is not None or kwargs.get("is_causal"):
            raise WeightsError(f"{model.name}: layer {layer} masks its attention; choose a plain ViT.")
        ropes[layer] = kwargs.get("rope")

    def keep_queries(layer: int, _: Any, __: Any, normed: torch.Tensor) -> None:
        queries[layer] = normed

    def keep_keys(layer: int, _: Any, __: Any, normed: torch.Tensor) -> None:
        keys[layer] = normed
        if layer == max(layers):
            raise _AllRead

    attentions = {layer: network.blocks[layer - 1].attn for layer in layers}
    hooks = []
    for layer, attention in attentions.items():
        hooks += [
            attention.register_forward_pre_hook(partial(keep_rope, layer), with_kwargs=True),
            attention.q_norm.register_forward_hook(partial(keep_queries, layer)),
            attention.k_norm.register_forward_hook(partial(keep_keys, layer)),
        ]
    try:
        with contextlib.suppress(_AllRead):
            network.forward_features(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    if not ropes.keys() == queries.keys() == keys.keys() == attentions.keys():
        raise WeightsError(f"{model.name}: attention of its layers was not called; choose a plain ViT.")
    return {layer: _Layer(of, ropes[layer], queries[layer], keys[layer]) for layer, of in attentions.items()}


def _query(model: Model, n_tokens: int) -> torch.Tensor:
    """(n_tokens,) weights of the rows whose mean is wanted: the class token's alone, or all patches' equally."""
    weights = torch.zeros(n_tokens)
    if model.has_class_token:
        weights[0] = 1.0
    else:
        weights[model.n_prefix_tokens :] = 1.0 / (n_tokens - model.n_prefix_tokens)
    return weights


def _mean_row_by_head(given: _Layer, query: torch.Tensor) -> torch.Tensor:
    """(heads, n): each head's rows of attention, averaged with the weights `query` (n,)."""
    queries, keys = _queries_and_keys(given)
    used = query.nonzero().flatten()
    weights, queries = query[used], queries[:, used]
    mean = torch.zeros(keys.shape[:2], device=keys.device)
    for start, stop, rows in _rows(queries, keys):
        mean += torch.einsum("q,hqn->hn", weights[start:stop], rows)
    return mean


def _rollout(read: dict[int, _Layer], layers: Sequence[int], query: torch.Tensor) -> torch.Tensor:
    """(layers, n): the query's attention followed from each of these layers down to the input.

    The query, a row vector, is multiplied by (A + I) / 2 of each layer, from the highest to the lowest. A is the
    attention averaged over heads and I the identity; A's rows sum to one already, so that dividing by 2 is Abnar and
    Zuidema's normalisation.
    """
    followed = torch.zeros(len(layers), len(query), device=query.device)
    for layer in sorted(read, reverse=True):
        for at, highest in enumerate(layers):
            if highest == layer:
                followed[at] = query
        passed = torch.zeros_like(followed)
        for start, stop, rows in _rows(*_queries_and_keys(read[layer])):
            passed += followed[:, start:stop] @ rows.mean(dim=0)
        followed = (followed + passed) / 2
    return followed


def _rows(queries: torch.Tensor, keys: torch.Tensor) -> Iterator[tuple[int, int, torch.Tensor]]:
    """Rows of attention, a block of queries at a time: start, stop and (heads, stop - start, n); rows sum to one."""
    n_heads, n_queries, _ = queries.shape
    step = max(1, BLOCK // (n_heads * keys.shape[1]))
    for start in range(0, n_queries, step):
        stop = min(start + step, n_queries)
        yield start, stop, (queries[:, start:stop] @ keys.transpose(1, 2)).softmax(dim=-1)


def _queries_and_keys(given: _Layer) -> tuple[torch.Tensor, torch.Tensor]:
    """Scaled queries and keys of all tokens, (heads, n, d) each.

    Computed as in timm's Attention, AttentionRope and EvaAttention: all but the prefix tokens are rotated by position,
    and groups of heads share keys.
    """
    from timm.layers.pos_embed_sincos import apply_rot_embed_cat

    attention, rope, queries, keys = given.attention, given.rope, given.queries, given.keys
    if rope is not None:
        prefix, half = attention.num_prefix_tokens, getattr(attention, "rotate_half", False)
        queries, keys = (
            torch.cat([some[:, :prefix], apply_rot_embed_cat(some[:, prefix:], rope, half=half).type_as(some)], dim=1)
            for some in (queries, keys)
        )
    groups = queries.shape[0] // keys.shape[0]
    return queries * attention.scale, keys.repeat_interleave(groups, dim=0)
