# SPDX-License-Identifier: GPL-3.0-or-later
"""What is saved with the .blend under ``scene.robot_keypoints``, and the little that lasts only as long as the window.

The settings' groups mirror the data classes of :mod:`..core.settings`: defaults, limits and choices come from there,
labels and tooltips from here.
"""

# No "from __future__ import annotations": Blender reads property definitions from the annotations as they are.

import dataclasses
import typing
from collections.abc import Callable
from typing import Any

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ..core.settings import (
    AugmentationSettings,
    FeedbackSettings,
    RenderSettings,
    StreamSettings,
    TrainingSettings,
    WorkerSettings,
)
from . import adoption

UNITS = {"rad": "angle", "m": "length", "mm": "lens", "K": "temperature"}
"""Variables keep plain numbers; on screen they are edited through a twin property with the right unit."""


def fields(**definitions: Any) -> Callable[[type], type]:
    """Class decorator: Blender properties, as if each were an annotation of the class."""

    def decorate(cls: type) -> type:
        body = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__", "__annotations__")}
        body = {k: v for k, v in body.items() if not k.startswith("__annot")}
        return type(cls)(cls.__name__, cls.__bases__, {**body, "__annotations__": definitions})

    return decorate


@dataclasses.dataclass(frozen=True)
class Words:
    """Label and tooltip of one setting, and what its property needs besides."""

    label: str
    tip: str
    options: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)


def mirror(cls: type, words: dict[str, Words]) -> dict[str, Any]:
    """Blender properties for the fields of one settings data class."""
    hints = typing.get_type_hints(cls)
    result: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        word = words[field.name]
        common = {"name": word.label, "description": word.tip, "default": field.default, **word.extra}
        limits = {
            k: field.metadata[v] for k, v in (("min", "low"), ("max", "high")) if field.metadata.get(v) is not None
        }
        hint = hints[field.name]
        if "options" in field.metadata:
            items = [(o, *word.options[o]) for o in field.metadata["options"]]
            result[field.name] = EnumProperty(items=items, **common)
        elif hint is bool:
            result[field.name] = BoolProperty(**common)
        elif hint is int:
            result[field.name] = IntProperty(**common, **limits)
        elif hint is float:
            result[field.name] = FloatProperty(**common, **limits)
        else:
            result[field.name] = StringProperty(**common)
    return result


RENDER = {
    "engine": Words("Engine", "What renders the training images", {
        "cycles": ("Cycles", "Path tracing: realistic light, and fast for small images"),
        "eevee": ("EEVEE", "Rasterised; needs a graphics card and a display"),
        "workbench": ("Workbench", "Blender's solid view: the fastest, without real light; needs a display"),
    }),
    "width": Words("Width", "Width of the training images, in pixels", extra={"subtype": "PIXEL"}),
    "height": Words("Height", "Height of the training images, in pixels", extra={"subtype": "PIXEL"}),
    "samples": Words("Samples", "Samples per pixel: more is smoother and slower", extra={"soft_max": 64}),
    "device": Words("Device", "Where Cycles renders", {
        "cpu": ("CPU", "The processor"), "gpu": ("GPU", "The graphics card, where Cycles finds one"),
    }),
    "triangles": Words("Triangles", "The workers' copies of the robot's meshes are reduced to about this many "
                       "triangles; 0 keeps them all", extra={"step": 100}),
}  # fmt: skip
WORKERS = {
    "count": Words("Workers", "How many Blender processes render at the same time", extra={"soft_max": 16}),
    "adaptive": Words("Adaptive", "How many of them follow the posteriors; the others keep to the priors",
                      extra={"soft_max": 16}),
    "threads": Words("Threads", "Processor threads of each worker", extra={"soft_max": 16}),
    "blender": Words("Blender", "Command that starts the workers' Blender; empty takes the one of the preferences"),
}  # fmt: skip
TRAINING = {
    "network": Words("Network", "What learns to find the keypoints", {
        "light": ("Light", "A small U-Net that learns quickly, also on a processor"),
        "vgg": ("VGG, refined in stages", "VGG features and refinement stages, as in the paper; wants a graphics card"),
    }),
    "stages": Words("Stages", "Refinement stages of the VGG network"),
    "batch_size": Words("Batch", "Images per training step", extra={"soft_max": 128}),
    "epoch_images": Words("Images per epoch", "Images trained on between two validations", extra={"soft_min": 100}),
    "epochs": Words("Epochs", "Ends after so many; 0 goes on until you stop it", extra={"soft_max": 200}),
    "minutes": Words("Minutes", "Ends after so many minutes; 0 sets no limit", extra={"soft_max": 600.0, "step": 100,
                                                                                 "precision": 1}),
    "learning_rate": Words("Learning rate", "Size of the optimiser's steps at the start", extra={"precision": 5}),
    "target_sigma": Words("Target width", "Standard deviation of the belief maps' targets, in percent of the image's "
                          "diagonal", extra={"precision": 2}),
    "device": Words("Device", "Where the network is trained", {
        "auto": ("Automatic", "The graphics card if it works, otherwise the processor"),
        "cpu": ("CPU", "The processor"), "cuda": ("CUDA", "An NVIDIA graphics card"),
    }),
    "pretrained": Words("Pretrained features", "Start the VGG network from weights learned on photographs"),
    "seed": Words("Seed", "The same seed draws the same scenes"),
    "validation_images": Words("Validation images", "Images kept apart, on which the error is measured while training",
                               extra={"soft_max": 4000}),
    "test_images": Words("Test images", "Images kept apart for the final figures", extra={"soft_max": 4000}),
    "fresh_share": Words("Fresh share", "Share of a batch that may be images never trained on before; the rest is "
                         "drawn again, under other backgrounds", extra={"subtype": "FACTOR"}),
    "reuse": Words("Reuse", "How often one rendering may be trained on, each time under another background",
                   extra={"soft_max": 20}),
    "store_mb": Words("Store", "Memory for renderings kept for reuse, in MiB", extra={"soft_max": 16384}),
}  # fmt: skip
FEEDBACK = {
    "enabled": Words("Feedback", "Draw more often what the network still gets wrong"),
    "share": Words("Hardest share", "Share of the validation images, those with the highest loss, that shape the "
                   "posteriors", extra={"subtype": "FACTOR"}),
    "forgetting": Words("Forgetting", "How far each update first moves back towards the prior",
                        extra={"subtype": "FACTOR"}),
    "floor": Words("Floor", "Least share of the uniform probability that any bin keeps", extra={"subtype": "FACTOR"}),
}  # fmt: skip
AUGMENTATION = {
    "backgrounds": Words("Backgrounds", "Folder of photographs laid behind the robot; empty draws them by program",
                         extra={"subtype": "DIR_PATH"}),
    "distractors": Words("Distractors", "Draw lines and shapes in front of and behind the robot"),
    "colour": Words("Colour", "Vary brightness, contrast and colour"),
    "noise": Words("Noise", "Add noise and blur"),
    "geometry": Words("Geometry", "Shift, turn and scale images a little"),
}  # fmt: skip
STREAM = {
    "host": Words("Address", "Where the trainer listens; anything but this machine itself needs keys"),
    "port": Words("Port", "First of three ports; 0 takes any free ones"),
    "keys": Words("Keys", "Folder of CURVE keys, for addresses beyond this machine", extra={"subtype": "DIR_PATH"}),
}  # fmt: skip


@fields(**mirror(RenderSettings, RENDER))
class KEYPOINTS_PG_render(bpy.types.PropertyGroup):
    """:class:`RenderSettings`."""


@fields(**mirror(WorkerSettings, WORKERS))
class KEYPOINTS_PG_workers(bpy.types.PropertyGroup):
    """:class:`WorkerSettings`."""


@fields(**mirror(TrainingSettings, TRAINING))
class KEYPOINTS_PG_training(bpy.types.PropertyGroup):
    """:class:`TrainingSettings`."""


@fields(**mirror(FeedbackSettings, FEEDBACK))
class KEYPOINTS_PG_feedback(bpy.types.PropertyGroup):
    """:class:`FeedbackSettings`."""


@fields(**mirror(AugmentationSettings, AUGMENTATION))
class KEYPOINTS_PG_augmentation(bpy.types.PropertyGroup):
    """:class:`AugmentationSettings`."""


@fields(**mirror(StreamSettings, STREAM))
class KEYPOINTS_PG_stream(bpy.types.PropertyGroup):
    """:class:`StreamSettings`."""


def _low_changed(self: Any, context: bpy.types.Context) -> None:
    if self.high < self.low:
        self.high = self.low


def _high_changed(self: Any, context: bpy.types.Context) -> None:
    if self.low > self.high:
        self.low = self.high


def _access(attribute: str) -> tuple[Callable[[Any], float], Callable[[Any, float], None]]:
    def get(self: Any) -> float:
        return float(getattr(self, attribute))

    def put(self: Any, value: float) -> None:
        setattr(self, attribute, value)

    return get, put


def _twins() -> dict[str, Any]:
    """``low``, ``high`` and ``value`` once more for each unit, so that Blender shows and reads that unit."""
    kinds: dict[str, dict[str, Any]] = {
        "angle": {"subtype": "ANGLE", "precision": 1, "step": 100},
        "length": {"subtype": "DISTANCE", "precision": 3, "step": 1},
        "lens": {"subtype": "DISTANCE_CAMERA", "precision": 1, "step": 100},
        "temperature": {"subtype": "TEMPERATURE", "precision": 0, "step": 10000},
    }
    tips = {
        "low": ("From", "Lower end of the range"),
        "high": ("To", "Upper end of the range"),
        "value": ("Value", "The value it is held at"),
    }
    result: dict[str, Any] = {}
    for attribute, (label, tip) in tips.items():
        get, put = _access(attribute)
        for kind, options in kinds.items():
            result[f"{attribute}_{kind}"] = FloatProperty(name=label, description=tip, get=get, set=put, **options)
    return result


@fields(
    name=StringProperty(name="Name", description="Group and name of the variable"),
    use=BoolProperty(name="Varies", description="Draw it at random; otherwise it is held at one value", default=True),
    value=FloatProperty(name="Value", description="The value it is held at"),
    low=FloatProperty(name="From", description="Lower end of the range", update=_low_changed),
    high=FloatProperty(name="To", description="Upper end of the range", default=1.0, update=_high_changed),
    bins=IntProperty(name="Bins", description="How many equal parts the range is cut into", default=16, min=1, max=256,
                     soft_max=32),
    concentration=FloatProperty(name="Concentration", description="How strongly the prior insists on being uniform: "
                                "small values let the posterior move quickly", default=1.0, min=1e-6, soft_min=0.1,
                                soft_max=50.0),
    circular=BoolProperty(name="Full circle", description="The upper end is the same place as the lower end"),
    adapt=BoolProperty(name="Adapts", description="Feedback may change its distribution", default=True),
    unit=StringProperty(name="Unit"),
    **_twins(),
)  # fmt: skip
class KEYPOINTS_PG_variable(bpy.types.PropertyGroup):
    """One random variable of the scene; see :class:`..core.settings.VariableSettings`. Plain units: rad, m, mm, K."""


def _keypoint_renamed(self: Any, context: bpy.types.Context) -> None:
    if self.name != self.known_as:
        for edge in self.id_data.robot_keypoints.skeleton:
            if edge.first == self.known_as:
                edge.first = self.name
            if edge.second == self.known_as:
                edge.second = self.name
        self.known_as = self.name


@fields(
    name=StringProperty(name="Name", description="Name of the keypoint", update=_keypoint_renamed),
    known_as=StringProperty(options={"HIDDEN"}),
    frame=StringProperty(name="Moves with", description="The bone or object that the keypoint is fixed to"),
    offset=FloatVectorProperty(name="Offset", description="Its place in that bone's or object's own frame", size=3,
                               subtype="TRANSLATION", precision=3),
)  # fmt: skip
class KEYPOINTS_PG_keypoint(bpy.types.PropertyGroup):
    """One keypoint."""


@fields(first=StringProperty(name="From"), second=StringProperty(name="To"))
class KEYPOINTS_PG_edge(bpy.types.PropertyGroup):
    """One link of the skeleton, by keypoint names."""


def _source_changed(self: Any, context: bpy.types.Context) -> None:
    camera = self.id_data.camera
    if camera is not None and self.image:
        camera.data.show_background_images = self.source == "IMAGE"


@fields(
    points=BoolProperty(name="Points", description="Show a dot at each keypoint", default=True),
    names=BoolProperty(name="Names", description="Show the keypoints' names", default=True),
    chain=BoolProperty(name="Chain", description="Show the links between keypoints", default=True),
    uncertainty=BoolProperty(name="Uncertainty", description="Show an ellipse where the keypoint lies with 86 % "
                             "probability"),
    confidence=BoolProperty(name="Confidence", description="Show the confidence beside the name"),
    threshold=FloatProperty(name="Faint below", description="Keypoints of less confidence are drawn faintly", min=0.0,
                            max=1.0, default=0.1, subtype="FACTOR"),
    size=FloatProperty(name="Size", description="Radius of the dots, in pixels", default=6.0, min=2.0, soft_max=20.0),
    source=EnumProperty(name="Picture", items=[
        ("CAMERA", "Camera view", "What the active camera sees in the viewport"),
        ("IMAGE", "Image", "An image from disk, shown in the camera's view"),
    ], update=_source_changed),
    image=StringProperty(name="Image", description="The image file"),
    resolution=IntProperty(name="Longest side", description="The camera's picture is taken at this size, in pixels",
                           default=480, min=64, max=2048, subtype="PIXEL"),
)  # fmt: skip
class KEYPOINTS_PG_overlay(bpy.types.PropertyGroup):
    """What of a prediction is drawn in the viewport."""


GROUPS = (
    ("joint", "Joints", "Joints of the robot"),
    ("camera", "Camera", "Where the camera stands and what its lens is"),
    ("light", "Light", "The lights"),
    ("material", "Material", "Colour and surface of the robot"),
)


def _is_armature(self: Any, obj: bpy.types.Object) -> bool:
    return str(obj.type) == "ARMATURE"


def _armature_changed(self: Any, context: bpy.types.Context) -> None:
    adoption.adopt(self.id_data, self.armature)


def _group_changed(self: Any, context: bpy.types.Context) -> None:
    if 0 <= self.variable_index < len(self.variables):
        current = self.variables[self.variable_index].name
        if current.startswith(f"{self.group}/"):
            return
    for index, variable in enumerate(self.variables):
        if variable.name.startswith(f"{self.group}/"):
            self.variable_index = index
            return


@fields(
    armature=PointerProperty(name="Robot", description="The armature whose joints are the robot's",
                             type=bpy.types.Object, poll=_is_armature, update=_armature_changed),
    robot_file=StringProperty(name="URDF", description="Where the robot was read from"),
    notes=StringProperty(name="Notes", description="What could not be taken over from the robot's file"),
    keypoints=CollectionProperty(type=KEYPOINTS_PG_keypoint),
    keypoint_index=IntProperty(name="Keypoint"),
    skeleton=CollectionProperty(type=KEYPOINTS_PG_edge),
    variables=CollectionProperty(type=KEYPOINTS_PG_variable),
    variable_index=IntProperty(name="Variable"),
    joint_index=IntProperty(name="Joint"),
    group=EnumProperty(name="Group", items=GROUPS, update=_group_changed),
    render=PointerProperty(type=KEYPOINTS_PG_render),
    workers=PointerProperty(type=KEYPOINTS_PG_workers),
    training=PointerProperty(type=KEYPOINTS_PG_training),
    feedback=PointerProperty(type=KEYPOINTS_PG_feedback),
    augmentation=PointerProperty(type=KEYPOINTS_PG_augmentation),
    stream=PointerProperty(type=KEYPOINTS_PG_stream),
    run_folder=StringProperty(name="Runs", description="Folder in which each run gets a folder of its own; empty takes "
                              "the one of the preferences", subtype="DIR_PATH"),
    model_path=StringProperty(name="Model", description="The model that was loaded last"),
    overlay=PointerProperty(type=KEYPOINTS_PG_overlay),
)  # fmt: skip
class KEYPOINTS_PG_scene(bpy.types.PropertyGroup):
    """Everything saved with the .blend."""


def _live_changed(self: Any, context: bpy.types.Context) -> None:
    from . import prediction

    prediction.SERVICE.live = self.live


@fields(
    live=BoolProperty(name="Live", description="Predict again whenever the view or the scene changes",
                      update=_live_changed, options={"SKIP_SAVE"}),
)  # fmt: skip
class KEYPOINTS_PG_window(bpy.types.PropertyGroup):
    """What lasts as long as Blender runs."""


CLASSES: tuple[type, ...] = (
    KEYPOINTS_PG_render,
    KEYPOINTS_PG_workers,
    KEYPOINTS_PG_training,
    KEYPOINTS_PG_feedback,
    KEYPOINTS_PG_augmentation,
    KEYPOINTS_PG_stream,
    KEYPOINTS_PG_variable,
    KEYPOINTS_PG_keypoint,
    KEYPOINTS_PG_edge,
    KEYPOINTS_PG_overlay,
    KEYPOINTS_PG_scene,
    KEYPOINTS_PG_window,
)


def of(scene: bpy.types.Scene) -> Any:
    """The scene's settings group."""
    return scene.robot_keypoints


def register() -> None:
    """Hang the groups on scenes and on the window manager; their classes must be registered."""
    bpy.types.Scene.robot_keypoints = PointerProperty(type=KEYPOINTS_PG_scene)
    bpy.types.WindowManager.robot_keypoints = PointerProperty(type=KEYPOINTS_PG_window)


def unregister() -> None:
    """Take them off again; what .blend files hold stays in them."""
    del bpy.types.Scene.robot_keypoints
    del bpy.types.WindowManager.robot_keypoints
