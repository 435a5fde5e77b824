# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators of the Model panel."""

from pathlib import Path

import bpy
from bpy.props import StringProperty

from ....core import builtin_models
from ....core.errors import UserError
from ...base import user_errors
from ...prediction import follow_video, model_server, photo_lens, photo_source, pose_from_photo, viewport_capture
from ...properties.from_dataclass import fields
from ...services import model_evaluation, timer, training_run
from . import availability


@fields(
    filepath=StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"}),
    filter_glob=StringProperty(default="*.safetensors", options={"HIDDEN"}),
)
class KEYPOINTS_OT_load_model(bpy.types.Operator):
    """Load a trained model"""

    bl_idname = "robot_keypoints.load_model"
    bl_label = "Load Model"
    filepath: str

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.filepath:
            return self.execute(context)
        own = training_run.RUNNER.model
        self.filepath = str(own) if own is not None else context.scene.robot_keypoints.model_path
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        path = Path(bpy.path.abspath(self.filepath))
        model_server.SERVICE.load(path, context.scene.robot_keypoints.armature)
        context.scene.robot_keypoints.model_path = str(path)
        return {"FINISHED"}


class KEYPOINTS_OT_load_trained_model(bpy.types.Operator):
    """Load the best model of the training that was started here"""

    bl_idname = "robot_keypoints.load_trained_model"
    bl_label = "Load Trained Model"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if training_run.RUNNER.model is None:
            cls.poll_message_set("No model has been trained here yet")
            return False
        return True

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        path = training_run.RUNNER.model
        assert path is not None
        model_server.SERVICE.load(path, context.scene.robot_keypoints.armature)
        context.scene.robot_keypoints.model_path = str(path)
        return {"FINISHED"}


@fields(name=bpy.props.StringProperty(options={"SKIP_SAVE", "HIDDEN"}))
class KEYPOINTS_OT_load_builtin_model(bpy.types.Operator):
    """Load this model, which comes with the extension and was learned from renderings alone"""

    bl_idname = "robot_keypoints.load_builtin_model"
    bl_label = "Load Built-in Model"
    name: str

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """How good it is."""
        model = builtin_models.models().get(properties.name)
        return "Load this model" if model is None else f"{model.label}: {'; '.join(map(str, model.errors))}"

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        model_server.SERVICE.load(builtin_models.get(self.name).file)
        context.scene.robot_keypoints.model_path = ""
        return {"FINISHED"}


class KEYPOINTS_OT_unload_model(bpy.types.Operator):
    """Put the model away and clear the overlay"""

    bl_idname = "robot_keypoints.unload_model"
    bl_label = "Unload Model"

    def execute(self, context: bpy.types.Context) -> set[str]:
        follow_video.SERVICE.stop()
        pose_from_photo.forget()
        model_server.SERVICE.unload()
        context.window_manager.robot_keypoints.live = False
        timer.redraw_viewports()
        return {"FINISHED"}


@fields(
    directory=StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE"}),
    filter_folder=bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"}),
)
class KEYPOINTS_OT_evaluate_model(bpy.types.Operator):
    """Measure the model's errors on a folder of images annotated as COCO keypoints or NDDS, in the background"""

    bl_idname = "robot_keypoints.evaluate_model"
    bl_label = "Evaluate"
    directory: str

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not availability.model_is_loaded(cls):
            return False
        if model_evaluation.SERVICE.running:
            cls.poll_message_set("An evaluation is running: wait for it, or cancel it")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        model_evaluation.SERVICE.begin(model_server.SERVICE.model.path, Path(bpy.path.abspath(self.directory)))
        return {"FINISHED"}


class KEYPOINTS_OT_predict(bpy.types.Operator):
    """Find the keypoints in the picture and show them in the camera's view"""

    bl_idname = "robot_keypoints.predict"
    bl_label = "Predict"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return availability.model_is_loaded(cls)

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        model_server.SERVICE.predict(context)
        return {"FINISHED"}


@fields(
    filepath=StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"}),
    filter_image=bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"}),
    filter_movie=bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"}),
    filter_folder=bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"}),
    sequence=bpy.props.BoolProperty(name="Numbered sequence", description="Take the numbered files beside it as the "
                                    "frames of a film", options={"SKIP_SAVE"}),
)  # fmt: skip
class KEYPOINTS_OT_open_image(bpy.types.Operator):
    """Show an image from disk, a movie or a numbered sequence in the camera's view and find the keypoints in it"""

    bl_idname = "robot_keypoints.open_image"
    bl_label = "Open Image"
    bl_options = {"REGISTER", "UNDO"}
    filepath: str
    sequence: bool

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        path = bpy.path.abspath(self.filepath)
        image = photo_source.block(path)
        if self.sequence:
            if len(photo_source.sequence(Path(path))) < 2:
                raise UserError(f"{Path(path).name} has no numbered files beside it: choose one of a sequence")
            image.source = "SEQUENCE"
        show_picture(context.scene, path)
        if model_server.SERVICE.model.state is model_server.State.READY:
            model_server.SERVICE.predict(context)
        return {"FINISHED"}


class KEYPOINTS_OT_look_through_camera(bpy.types.Operator):
    """Look through the scene's camera, where the keypoints are shown"""

    bl_idname = "robot_keypoints.look_through_camera"
    bl_label = "Look Through the Camera"

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        if context.scene.camera is None:
            raise UserError("The scene has no camera: add one, or draw a sample, which makes one")
        show_camera_view(context)
        return {"FINISHED"}


def show_camera_view(context: bpy.types.Context) -> None:
    """Have a viewport look through the scene's camera, whose frame then lies beside the sidebar and not under it.

    Raises:
        UserError: if no 3D viewport is open.
    """
    view = viewport_capture.find_viewport(context)
    area = context.area if context.area is not None and context.area.type == "VIEW_3D" else view.area
    space = area.spaces.active
    if space.region_3d.view_perspective == "CAMERA":
        return
    space.region_3d.view_perspective = "CAMERA"
    sidebar = next((r.width for r in area.regions if r.type == "UI"), 0) if space.show_region_ui else 0
    if context.preferences.system.use_region_overlap:
        space.region_3d.view_camera_offset = (0.5 * sidebar / max(area.width, 1), 0.0)


def show_picture(scene: bpy.types.Scene, path: str) -> None:
    """Show an image in the camera's view, where the overlay then belongs to it.

    Raises:
        UserError: if it is no image.
    """
    photo_source.block(path)
    photo_lens.ensure(scene)
    photo_source.show(scene, path, alone=True)
    overlay = scene.robot_keypoints.overlay
    overlay.image, overlay.source = path, "IMAGE"


class KEYPOINTS_OT_match_proportions(bpy.types.Operator):
    """Give the scene's render size the proportions of the model's training images"""

    bl_idname = "robot_keypoints.match_proportions"
    bl_label = "Match Proportions"
    bl_options = {"REGISTER", "UNDO"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        size = model_server.SERVICE.model.description.input_size
        if size is None:
            raise UserError("No model is loaded: load one first")
        render = context.scene.render
        longest = max(render.resolution_x, render.resolution_y)
        render.resolution_x = max(4, round(longest * size[0] / max(size)))
        render.resolution_y = max(4, round(longest * size[1] / max(size)))
        render.pixel_aspect_x = render.pixel_aspect_y = 1.0
        return {"FINISHED"}


CLASSES = (
    KEYPOINTS_OT_match_proportions,
    KEYPOINTS_OT_load_model,
    KEYPOINTS_OT_load_trained_model,
    KEYPOINTS_OT_load_builtin_model,
    KEYPOINTS_OT_unload_model,
    KEYPOINTS_OT_evaluate_model,
    KEYPOINTS_OT_predict,
    KEYPOINTS_OT_open_image,
    KEYPOINTS_OT_look_through_camera,
)
