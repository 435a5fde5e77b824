# SPDX-License-Identifier: GPL-3.0-or-later
"""What is saved with the .blend under ``scene.robot_keypoints``, and the little that lasts only as long as the window.

The settings' groups mirror the data classes of :mod:`.settings.schema`: defaults, limits and choices come from there,
labels and tooltips from :mod:`.labels`.
"""

# No "from __future__ import annotations": Blender reads property definitions from the annotations as they are.

from typing import Any

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ...core.scene import catalogue
from ...core.settings.schema import (
    AugmentationSettings,
    DataSettings,
    FeedbackSettings,
    RenderSettings,
    SceneSettings,
    StreamSettings,
    TrainingSettings,
    WorkerSettings,
)
from . import (
    footage as footage_properties,
    list_items,
    photo as photo_properties,
    quick_start as quick_start_properties,
    scene_robots,
)
from .footage import KEYPOINTS_PG_footage
from .from_dataclass import by_the_user, fields, mirror
from .labels import AUGMENTATION, DATA, FEEDBACK, RENDER, SCENE, STREAM, TRAINING, WORKERS
from .list_items import (
    KEYPOINTS_PG_edge,
    KEYPOINTS_PG_keypoint,
    KEYPOINTS_PG_links,
    KEYPOINTS_PG_name,
    KEYPOINTS_PG_robot,
    KEYPOINTS_PG_theme,
    KEYPOINTS_PG_variable,
    is_armature,
)
from .photo import KEYPOINTS_PG_photo
from .quick_start import KEYPOINTS_PG_quick_start


def _folder_changed(self: Any, context: bpy.types.Context) -> None:
    if by_the_user():
        scene_robots.reread_folders(self.id_data)


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


@fields(
    **mirror(AugmentationSettings, AUGMENTATION, backgrounds=_folder_changed),
    themes=CollectionProperty(name="Themes", description="The folders of photographs that were found",
                              type=KEYPOINTS_PG_theme),
)  # fmt: skip
class KEYPOINTS_PG_augmentation(bpy.types.PropertyGroup):
    """:class:`AugmentationSettings`."""


@fields(**mirror(SceneSettings, SCENE, worlds=_folder_changed))
class KEYPOINTS_PG_rules(bpy.types.PropertyGroup):
    """:class:`SceneSettings`."""


@fields(**mirror(DataSettings, DATA))
class KEYPOINTS_PG_data_set(bpy.types.PropertyGroup):
    """:class:`DataSettings`."""


@fields(**mirror(StreamSettings, STREAM))
class KEYPOINTS_PG_stream(bpy.types.PropertyGroup):
    """:class:`StreamSettings`."""


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
    pose=BoolProperty(name="Pose", description="Show the axes of the base that was found, and around each link's "
                      "origin an ellipse in which the pose has it with 86 % probability", default=True),
    threshold=FloatProperty(name="Faint below", description="Keypoints of less confidence are drawn the fainter, the "
                            "lower it is; from 0.5 on poses go by them", min=0.0, max=1.0, default=0.5,
                            subtype="FACTOR"),
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


GROUP_WORDS = {
    "joint": ("Joints", "Joints of the robots"),
    "camera": ("Camera", "Where the camera stands and what its lens is"),
    "light": ("Light", "Lamps and worlds"),
    "material": ("Material", "Colour and surface of the robots"),
    "background": ("Background", "What is seen behind everything"),
    "objects": ("Objects", "Distractors, occluders and cables around the robot"),
    "surroundings": ("Room", "Floor and walls"),
    "sensor": ("Sensor", "What the camera's sensor does to the finished picture"),
    "custom": ("Own", "Variables of your own: any number in this .blend"),
}
GROUPS = tuple((name, *GROUP_WORDS[name]) for name in catalogue.GROUPS)


def _armature_changed(self: Any, context: bpy.types.Context) -> None:
    if by_the_user():
        scene_robots.take_armature(self.id_data, self.armature)


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
                             type=bpy.types.Object, poll=is_armature, update=_armature_changed),
    reach=FloatProperty(name="Reach", description="How far the robot reaches", default=1.0),
    robot_file=StringProperty(name="URDF", description="Where the robot was read from"),
    notes=StringProperty(name="Notes", description="What could not be taken over from the robot's file"),
    others=CollectionProperty(type=KEYPOINTS_PG_robot),
    other_index=IntProperty(name="Robot"),
    links=CollectionProperty(type=KEYPOINTS_PG_links),
    links_index=IntProperty(name="Group of links"),
    keypoints=CollectionProperty(type=KEYPOINTS_PG_keypoint),
    keypoint_index=IntProperty(name="Keypoint"),
    skeleton=CollectionProperty(type=KEYPOINTS_PG_edge),
    variables=CollectionProperty(type=KEYPOINTS_PG_variable),
    variable_index=IntProperty(name="Variable"),
    joint_index=IntProperty(name="Joint"),
    group=EnumProperty(name="Group", items=GROUPS, update=_group_changed),
    search=StringProperty(name="Search", description="Show the variables of all groups whose names have these letters",
                          options={"TEXTEDIT_UPDATE"}),
    preset_name=StringProperty(name="Preset", description="Which of your own presets the priors were taken from"),
    scene=PointerProperty(type=KEYPOINTS_PG_rules),
    world_files=CollectionProperty(type=KEYPOINTS_PG_name),
    worlds_note=StringProperty(name="Note on the worlds"),
    backgrounds_note=StringProperty(name="Note on the photographs"),
    render=PointerProperty(type=KEYPOINTS_PG_render),
    workers=PointerProperty(type=KEYPOINTS_PG_workers),
    training=PointerProperty(type=KEYPOINTS_PG_training),
    feedback=PointerProperty(type=KEYPOINTS_PG_feedback),
    augmentation=PointerProperty(type=KEYPOINTS_PG_augmentation),
    stream=PointerProperty(type=KEYPOINTS_PG_stream),
    data=CollectionProperty(type=KEYPOINTS_PG_data_set),
    run_folder=StringProperty(name="Runs", description="Folder in which each run gets a folder of its own; empty takes "
                              "the one of the preferences", subtype="DIR_PATH"),
    model_path=StringProperty(name="Model", description="The model that was loaded last"),
    overlay=PointerProperty(type=KEYPOINTS_PG_overlay),
    photo=PointerProperty(type=KEYPOINTS_PG_photo),
    footage=PointerProperty(type=KEYPOINTS_PG_footage),
    quick_start=PointerProperty(type=KEYPOINTS_PG_quick_start),
)  # fmt: skip
class KEYPOINTS_PG_scene(bpy.types.PropertyGroup):
    """Everything saved with the .blend."""


@fields(
    live=BoolProperty(name="Live", description="Predict again whenever the view or the scene changes",
                      options={"SKIP_SAVE"}),
)  # fmt: skip
class KEYPOINTS_PG_window(bpy.types.PropertyGroup):
    """What lasts as long as Blender runs."""


CLASSES: tuple[type, ...] = (
    *list_items.CLASSES,
    *photo_properties.CLASSES,
    *footage_properties.CLASSES,
    *quick_start_properties.CLASSES,
    KEYPOINTS_PG_render,
    KEYPOINTS_PG_workers,
    KEYPOINTS_PG_training,
    KEYPOINTS_PG_feedback,
    KEYPOINTS_PG_augmentation,
    KEYPOINTS_PG_rules,
    KEYPOINTS_PG_stream,
    KEYPOINTS_PG_data_set,
    KEYPOINTS_PG_overlay,
    KEYPOINTS_PG_scene,
    KEYPOINTS_PG_window,
)


def register() -> None:
    """Hang the groups on scenes and on the window manager; their classes must be registered."""
    bpy.types.Scene.robot_keypoints = PointerProperty(type=KEYPOINTS_PG_scene)
    bpy.types.WindowManager.robot_keypoints = PointerProperty(type=KEYPOINTS_PG_window)


def unregister() -> None:
    """Take them off again; what .blend files hold stays in them."""
    del bpy.types.Scene.robot_keypoints
    del bpy.types.WindowManager.robot_keypoints
