"""The studio: what an object is made of, and the one camera, light and ground that all objects share.

An object comes as a list of `Piece`, each a mesh with its material and the part of the object that it is.
`picture` and `label_map` photograph it with Blender's Cycles (`pip install bpy`), which is imported only
inside functions: everything else in this package works without it. Nothing here knows any one object.
Lengths are in decimetres.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from beholder.shared.arrays import FloatArray
from beholder.stimuli.geometry import Mesh

PARTS = {
    "body": 1,
    "rim": 2,
    "handle": 3,
    "closure": 4,
    "lid": 5,
    "knob": 6,
    "foot": 7,
    "ornament": 8,
}
"""Labels of the masks; 0 is the background, the shadow included."""
Part = Literal["body", "rim", "handle", "closure", "lid", "knob", "foot", "ornament"]

BACKGROUND_SRGB = 236
"""Grey of the background in every channel, 0 to 255; the shadow fades into it before the border."""
OBJECT_SHARE = 0.30
"""The share of the picture that the camera's zoom gives the object, unless it would come too near the border."""
LARGEST_EXTENT = 0.90
"""The most of the picture's side that the object may take."""
CAMERA_DISTANCE_DM = 22.0
CAMERA_ELEVATION_DEG = 17.0


@dataclass(frozen=True)
class Material:
    """How a surface takes the light; the parameters are those of Blender's Principled BSDF."""

    colour: tuple[float, float, float] | None = None
    """Linear RGB; None takes the mesh's own colours."""
    image: NDArray[np.float32] | None = None
    """Linear RGB (height, width, 3) laid round the form in place of a colour; row 0 is the top."""
    roughness: float = 0.6
    roughness_image: NDArray[np.float32] | None = None
    """(height, width), in place of one roughness."""
    metallic: float = 0.0
    coat: float = 0.0
    """A clear glaze on top, 0 to 1."""
    coat_roughness: float = 0.04
    sheen: float = 0.0
    subsurface: float = 0.0
    """Share of the light that wanders inside, as in porcelain."""
    grain: Literal["none", "fibre", "leather", "clay", "glaze"] = "none"
    """The fine structure that is too small for the mesh."""


@dataclass(frozen=True)
class Piece:
    """A mesh, what it is made of, and which part of the object it is."""

    mesh: Mesh
    material: Material
    part: Part
    label_image: NDArray[np.uint8] | None = None
    """(height, width) laid round the form: the label of a painted field that is a part of its own, else 0."""


def linear(srgb: str) -> tuple[float, float, float]:
    """Linear RGB of a colour written as '#rrggbb'.

    >>> linear("#ffffff")
    (1.0, 1.0, 1.0)
    """
    values = np.array([int(srgb[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    red, green, blue = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(red), float(green), float(blue)


def as_srgb(light: FloatArray) -> NDArray[np.uint8]:
    """Linear light (height, width, 3) as 8-bit sRGB, its brightest part rolled off so that no glint clips.

    Up to 0.84 of linear light, the background included, the curve is IEC 61966-2-1 itself; all that is brighter
    takes the room from there to 0.99. Between two levels the light is dithered, by the same pattern in every
    picture, so that a soft shadow has no contours; light that is a level's own comes out as that level.
    """
    knee, room = 0.84, 0.15
    above = np.maximum(light - knee, 0)
    kept = np.where(light > knee, knee + room * above / (above + room), np.clip(light, 0, None))
    encoded = np.where(kept <= 0.0031308, 12.92 * kept, 1.055 * kept ** (1 / 2.4) - 0.055)
    pattern = np.random.default_rng(0).uniform(-0.49, 0.49, (*light.shape[:2], 1))
    return np.asarray(np.round(encoded * 255 + pattern), dtype=np.uint8)


def _eased(share: FloatArray) -> FloatArray:
    """0 to 1 without a corner at either end."""
    inside = np.clip(share, 0, 1)
    return np.asarray(inside * inside * (3 - 2 * inside))


def _fade_in(count: int) -> FloatArray:
    """What is kept (count,) of a shadow at each place from one border to the other: nothing at either."""
    place = np.arange(count)
    return _eased((np.minimum(place, place[::-1]) / count - 0.01) / 0.25)


def over_background(film: FloatArray, object_labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture (height, width, 3): the film, premultiplied linear RGBA (height, width, 4), on the background.

    The shadow fades over the outer quarter of the picture, so that the border is the plain background; the
    object itself (where object_labels (height, width) are not 0) and its surroundings are left as they are.
    """
    height, width, _ = film.shape
    fade = _fade_in(height)[:, None] * _fade_in(width)[None, :]
    from_object = ndimage.distance_transform_edt(object_labels == 0)
    near = _eased(1 - (from_object - 2) / (0.04 * height))
    # Less than half a level of shadow is left out, so that the rest of the background is one grey exactly.
    kept = np.maximum(fade, near)[..., None] * _eased(film[..., 3:] / 0.006)
    background = linear(f"#{BACKGROUND_SRGB:02x}{BACKGROUND_SRGB:02x}{BACKGROUND_SRGB:02x}")
    return as_srgb(film[..., :3] * kept + np.asarray(background) * (1 - film[..., 3:] * kept))


def prepare(pieces: Sequence[Piece], turn_deg: float) -> None:
    """Build the scene anew: studio and object, turned about its own axis, seen whole at the wanted size."""
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.render.film_transparent = True
    scene.render.resolution_percentage = 100
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.image_settings.color_depth = "32"
    scene.cycles.seed = 1
    scene.cycles.max_bounces = 4
    scene.cycles.caustics_reflective = False
    scene.cycles.caustics_refractive = False
    _light(scene)
    for number, piece in enumerate(pieces):
        _add(piece, f"{number:03d}", turn_deg)
    lowest = min(float(piece.mesh.vertices[:, 2].min()) for piece in pieces)
    _ground(scene, lowest)
    _aim(scene, pieces, turn_deg)
    _zoom(scene)


def picture(size_px: int, samples: int, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Photograph the prepared scene, whose label map of the same size is known: 8-bit sRGB (size, size, 3).

    `samples` is the most light paths a pixel; plain ones stop at a quarter of it, once their noise is small.
    """
    import bpy

    scene = bpy.context.scene
    scene.cycles.samples = samples
    scene.cycles.use_adaptive_sampling = True
    scene.cycles.adaptive_min_samples = max(samples // 4, 1)
    scene.cycles.adaptive_threshold = 0.015
    scene.cycles.use_denoising = True
    scene.cycles.denoiser = "OPENIMAGEDENOISE"
    scene.cycles.pixel_filter_type = "BLACKMAN_HARRIS"
    scene.cycles.filter_width = 1.5
    return over_background(_film(scene, size_px), labels)


def label_map(size_px: int) -> NDArray[np.uint8]:
    """The parts of the prepared scene: labels (size, size), each pixel that of the surface at its centre."""
    import bpy

    scene = bpy.context.scene
    scene.cycles.samples = 1
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.use_denoising = False
    scene.cycles.pixel_filter_type = "BOX"
    scene.cycles.filter_width = 0.01
    ground = scene.objects["ground"]
    ground.hide_render = True
    lit = [thing for thing in scene.objects if thing.type == "LIGHT"]
    worn: dict[str, Any] = {}
    for thing in scene.objects:
        if "label" in thing:
            worn[thing.name] = thing.data.materials[0]
            thing.data.materials[0] = bpy.data.materials[f"label {thing.name}"]
    for lamp in lit:
        lamp.hide_render = True
    film = _film(scene, size_px)
    for name, material in worn.items():
        scene.objects[name].data.materials[0] = material
    for lamp in lit:
        lamp.hide_render = False
    ground.hide_render = False
    return np.asarray(np.round(film[..., 0] * 100 * (film[..., 3] > 0.5)), dtype=np.uint8)


def _film(scene: Any, size_px: int) -> FloatArray:
    """Render, and read back premultiplied linear RGBA (size, size, 4), row 0 at the top."""
    import bpy

    scene.render.resolution_x = scene.render.resolution_y = size_px
    with tempfile.TemporaryDirectory() as folder:
        scene.render.filepath = str(Path(folder) / "film.exr")
        bpy.ops.render.render(write_still=True)
        loaded = bpy.data.images.load(scene.render.filepath)
        values = np.empty(size_px * size_px * 4, dtype=np.float32)
        loaded.pixels.foreach_get(values)
        bpy.data.images.remove(loaded)
    return values.reshape(size_px, size_px, 4)[::-1].astype(np.float64)


def _light(scene: Any) -> None:
    """A large soft key from the upper left, a weak fill from the right, a strip from behind, a white room."""
    import bpy
    from mathutils import Vector

    world = bpy.data.worlds.new("room")
    scene.world = world
    nodes = world.node_tree.nodes
    nodes["Background"].inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    nodes["Background"].inputs["Strength"].default_value = 0.27
    for name, place, size, watts in (
        ("key", (-8.0, -8.0, 14.0), (6.0, 6.0), 2300.0),
        ("fill", (11.0, -8.0, 6.0), (4.0, 9.0), 300.0),
        ("back", (4.0, 11.0, 11.0), (9.0, 3.0), 900.0),
    ):
        lamp = bpy.data.lights.new(name, "AREA")
        lamp.shape, lamp.size, lamp.size_y, lamp.energy = "RECTANGLE", size[0], size[1], watts
        thing = bpy.data.objects.new(name, lamp)
        thing.location = place
        thing.rotation_euler = (Vector((0, 0, 1.2)) - Vector(place)).to_track_quat("-Z", "Y").to_euler()
        scene.collection.objects.link(thing)


def _ground(scene: Any, height: float) -> None:
    import bpy

    mesh = bpy.data.meshes.new("ground")
    far = 60.0
    mesh.from_pydata(
        [(-far, -far, height), (far, -far, height), (far, far, height), (-far, far, height)], [], [(0, 1, 2, 3)]
    )
    thing = bpy.data.objects.new("ground", mesh)
    thing.is_shadow_catcher = True
    material = bpy.data.materials.new("ground")
    material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0.8, 0.8, 0.8, 1.0)
    mesh.materials.append(material)
    scene.collection.objects.link(thing)


def _aim(scene: Any, pieces: Sequence[Piece], turn_deg: float) -> None:
    import bpy
    from mathutils import Vector

    lowest = min(float(piece.mesh.vertices[:, 2].min()) for piece in pieces)
    highest = max(float(piece.mesh.vertices[:, 2].max()) for piece in pieces)
    target = Vector((0.0, 0.0, (lowest + highest) / 2))
    elevation = np.deg2rad(CAMERA_ELEVATION_DEG)
    away = Vector((0.0, -np.cos(elevation), np.sin(elevation))) * CAMERA_DISTANCE_DM
    camera = bpy.data.cameras.new("camera")
    camera.lens = 100.0
    thing = bpy.data.objects.new("camera", camera)
    thing.location = target + away
    thing.rotation_euler = (-away).to_track_quat("-Z", "Y").to_euler()
    scene.collection.objects.link(thing)
    scene.camera = thing


def _zoom(scene: Any) -> None:
    """Set focal length and lens shift so that the object is centred and fills its share of the picture."""
    camera = scene.camera.data
    trial_px = 160
    camera.lens = 60.0
    for _ in range(2):
        rows, columns = np.nonzero(label_map(trial_px))
        share = len(rows) / trial_px**2
        height, width = (np.ptp(rows) + 1) / trial_px, (np.ptp(columns) + 1) / trial_px
        # The middle of the extent keeps the margins even; the shift is in picture widths.
        shift_x = (columns.min() + columns.max() + 1) / 2 / trial_px - 0.5
        shift_y = 0.5 - (rows.min() + rows.max() + 1) / 2 / trial_px
        zoom = min(np.sqrt(OBJECT_SHARE / share), LARGEST_EXTENT / max(height, width))
        camera.lens *= float(zoom)
        camera.shift_x = float((camera.shift_x + shift_x) * zoom)
        camera.shift_y = float((camera.shift_y + shift_y) * zoom)


def _add(piece: Piece, name: str, turn_deg: float) -> None:
    """One piece as a Blender object, with its material and the flat one of its label."""
    import bpy

    mesh, data = piece.mesh, bpy.data.meshes.new(name)
    count = len(mesh.faces)
    data.vertices.add(len(mesh.vertices))
    data.vertices.foreach_set("co", mesh.vertices.astype(np.float32).ravel())
    data.loops.add(4 * count)
    data.loops.foreach_set("vertex_index", mesh.faces.astype(np.int32).ravel())
    data.polygons.add(count)
    data.polygons.foreach_set("loop_start", np.arange(0, 4 * count, 4, dtype=np.int32))
    data.update(calc_edges=True)
    data.uv_layers.new(name="uv").data.foreach_set("uv", mesh.uv.astype(np.float32).ravel())
    colours = np.concatenate([mesh.colours, np.ones((len(mesh.colours), 1))], axis=1)
    data.attributes.new("colour", "FLOAT_COLOR", "POINT").data.foreach_set("color", colours.astype(np.float32).ravel())
    data.shade_smooth()
    data.materials.append(_material(piece.material, name))
    _label_material(piece, name)
    thing = bpy.data.objects.new(name, data)
    thing["label"] = PARTS[piece.part]
    thing.rotation_euler = (0.0, 0.0, float(np.deg2rad(turn_deg)))
    bpy.context.scene.collection.objects.link(thing)


def _image(values: NDArray[Any], name: str) -> Any:
    """A linear float image in Blender's memory from (height, width) or (height, width, 3), row 0 at the top."""
    import bpy

    height, width = values.shape[:2]
    full = np.ones((height, width, 4), dtype=np.float32)
    full[..., :3] = values[..., None] if values.ndim == 2 else values
    image = bpy.data.images.new(name, width, height, alpha=False, float_buffer=True, is_data=True)
    image.pixels.foreach_set(full[::-1].ravel())
    image.update()
    image.pack()
    return image


def _label_material(piece: Piece, name: str) -> None:
    """A flat emission of label / 100, which the mask's film reads back."""
    import bpy

    material = bpy.data.materials.new(f"label {name}")
    nodes = material.node_tree.nodes
    links = material.node_tree.links
    emission = nodes.new("ShaderNodeEmission")
    emission.inputs["Color"].default_value = (*([PARTS[piece.part] / 100] * 3), 1.0)
    if piece.label_image is not None:
        texture = nodes.new("ShaderNodeTexImage")
        labels = np.where(piece.label_image > 0, piece.label_image, PARTS[piece.part])
        texture.image = _image(labels.astype(np.float32) / 100, f"labels {name}")
        texture.interpolation = "Closest"
        links.new(texture.outputs["Color"], emission.inputs["Color"])
    links.new(emission.outputs[0], nodes["Material Output"].inputs["Surface"])


def _material(wanted: Material, name: str) -> Any:
    """The node tree of one material."""
    import bpy

    material = bpy.data.materials.new(name)
    nodes = material.node_tree.nodes
    links = material.node_tree.links
    shader = nodes["Principled BSDF"]

    def texture(values: NDArray[Any], purpose: str) -> Any:
        node = nodes.new("ShaderNodeTexImage")
        node.image = _image(values, f"{purpose} {name}")
        node.interpolation = "Cubic"
        return node.outputs["Color"]

    if wanted.image is not None:
        colour = texture(wanted.image, "colour")
    elif wanted.colour is not None:
        rgb = nodes.new("ShaderNodeRGB")
        rgb.outputs[0].default_value = (*wanted.colour, 1.0)
        colour = rgb.outputs[0]
    else:
        attribute = nodes.new("ShaderNodeAttribute")
        attribute.attribute_name = "colour"
        colour = attribute.outputs["Color"]

    roughness = wanted.roughness
    gloss = None if wanted.roughness_image is None else texture(wanted.roughness_image, "roughness")
    height = None
    strength = 0.0
    if wanted.grain == "fibre":
        # Streaks along the strand: noise stretched by the strand's own coordinates (dm along, 0 to 1 round).
        noise = _noise(material, scale=(1.6, 26.0, 1.0), detail=3.0)
        colour = _shaded(material, colour, noise, 0.62, 1.22)
        height, strength = noise, 0.35
        gloss = _mapped(material, noise, roughness + 0.14, roughness - 0.14)
    elif wanted.grain == "leather":
        noise = _noise(material, scale=(26.0, 26.0, 26.0), detail=6.0, coordinate="Object")
        colour = _shaded(material, colour, noise, 0.8, 1.15)
        height, strength = noise, 0.12
    elif wanted.grain == "clay":
        noise = _noise(material, scale=(38.0, 38.0, 60.0), detail=8.0, coordinate="Object")
        colour = _shaded(material, colour, noise, 0.75, 1.2)
        height, strength = noise, 0.2
    elif wanted.grain == "glaze":
        height, strength = _noise(material, scale=(2.2, 2.2, 2.2), detail=1.0, coordinate="Object"), 0.045
    links.new(colour, shader.inputs["Base Color"])
    shader.inputs["Roughness"].default_value = roughness
    if gloss is not None:
        links.new(gloss, shader.inputs["Roughness"])
    shader.inputs["Metallic"].default_value = wanted.metallic
    shader.inputs["Coat Weight"].default_value = wanted.coat
    shader.inputs["Coat Roughness"].default_value = wanted.coat_roughness
    shader.inputs["Sheen Weight"].default_value = wanted.sheen
    shader.inputs["Subsurface Weight"].default_value = wanted.subsurface
    shader.inputs["Subsurface Scale"].default_value = 0.05
    if height is not None:
        bump = nodes.new("ShaderNodeBump")
        bump.inputs["Strength"].default_value = strength
        bump.inputs["Distance"].default_value = 0.03
        links.new(height, bump.inputs["Height"])
        normal = bump.outputs["Normal"]
        links.new(normal, shader.inputs["Normal"])
        if wanted.grain == "glaze":
            links.new(normal, shader.inputs["Coat Normal"])
    return material


def _noise(material: Any, scale: tuple[float, float, float], detail: float, coordinate: str = "UV") -> Any:
    nodes, links = material.node_tree.nodes, material.node_tree.links
    place = nodes.new("ShaderNodeTexCoord")
    mapping = nodes.new("ShaderNodeMapping")
    mapping.inputs["Scale"].default_value = scale
    noise = nodes.new("ShaderNodeTexNoise")
    noise.inputs["Scale"].default_value = 1.0
    noise.inputs["Detail"].default_value = detail
    links.new(place.outputs[coordinate], mapping.inputs["Vector"])
    links.new(mapping.outputs["Vector"], noise.inputs["Vector"])
    return noise.outputs[0]


def _mapped(material: Any, noise: Any, low: float, high: float) -> Any:
    """A number that follows the noise from `low` to `high`."""
    node = material.node_tree.nodes.new("ShaderNodeMapRange")
    node.inputs["From Min"].default_value, node.inputs["From Max"].default_value = 0.3, 0.7
    node.inputs["To Min"].default_value, node.inputs["To Max"].default_value = low, high
    material.node_tree.links.new(noise, node.inputs["Value"])
    return node.outputs[0]


def _shaded(material: Any, colour: Any, noise: Any, darkest: float, lightest: float) -> Any:
    """The colour times a factor that follows the noise."""
    product = material.node_tree.nodes.new("ShaderNodeVectorMath")
    product.operation = "MULTIPLY"
    material.node_tree.links.new(colour, product.inputs[0])
    material.node_tree.links.new(_mapped(material, noise, darkest, lightest), product.inputs[1])
    return product.outputs["Vector"]
