# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators of the list of variables: several at once, and the user's own."""

from collections.abc import Iterable
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from ....core.errors import UserError
from ....core.scene import catalogue
from ....core.settings.schema import VariableSettings
from ...base import user_errors
from ...base.formatting import span
from ...properties import scenery, variable_list
from ...properties.from_dataclass import fields, quietly
from . import user_variable_suggestion
from .robot import Keypoints as NeedsRobot


def active(props: Any) -> Any:
    """The variable that is chosen in the list.

    Raises:
        UserError: if none is.
    """
    shown = [v.name for v in variable_list.listed(props, props.search)]
    if 0 <= props.variable_index < len(props.variables) and props.variables[props.variable_index].name in shown:
        return props.variables[props.variable_index]
    raise UserError("No variable is chosen in the list")


def _each(items: Iterable[Any], values: dict[str, Any]) -> None:
    """Set properties of several entries, and note each change once."""
    for item in items:
        with quietly():
            for name, value in values.items():
                setattr(item, name, value)
        variable_list.mark(item)


SWITCHES = {"VARY": ("use", True), "HOLD": ("use", False), "ADAPT": ("adapt", True), "KEEP": ("adapt", False)}


@fields(
    what=EnumProperty(name="What", items=[
        ("VARY", "Vary", "Draw them at random"), ("HOLD", "Hold", "Hold each at one value"),
        ("ADAPT", "Adapt", "Feedback may change their distributions"),
        ("KEEP", "Do not adapt", "Feedback leaves their distributions alone"),
    ], options={"SKIP_SAVE"}),
    joints=BoolProperty(name="Joints", description="The joints, whatever is listed", options={"SKIP_SAVE"}),
)  # fmt: skip
class KEYPOINTS_OT_variables_switch(NeedsRobot, bpy.types.Operator):
    """Vary, hold or adapt all variables that are listed"""

    bl_idname = "robot_keypoints.variables_switch"
    bl_label = "Switch Variables"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        props = context.scene.robot_keypoints
        name, value = SWITCHES[self.what]
        items = list(variable_list.listed(props, props.search))
        if self.joints:
            items = [v for v in props.variables if v.name.startswith("joint/")]
        _each(items, {name: value})
        return {"FINISHED"}


@fields(
    to=EnumProperty(name="To", items=[
        ("JOINTS", "The other joints", "Every other joint of the same kind, within its own limits"),
        ("LISTED", "All that are listed", "Every other variable of the list that is a number"),
    ], options={"SKIP_SAVE"}),
    ranges=BoolProperty(name="Range, too", description="Copy the range as well, to variables of the same unit; joints "
                        "keep within their limits", default=True),
    source=IntProperty(name="From", default=-1, options={"SKIP_SAVE", "HIDDEN"}),
)  # fmt: skip
class KEYPOINTS_OT_variable_copy(NeedsRobot, bpy.types.Operator):
    """Copy the chosen variable's prior: bins, concentration, and whether it varies and adapts"""

    bl_idname = "robot_keypoints.variable_copy"
    bl_label = "Copy Prior"
    bl_options = {"REGISTER", "UNDO"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        props = context.scene.robot_keypoints
        source = props.variables[self.source] if 0 <= self.source < len(props.variables) else active(props)
        if self.to == "JOINTS":
            targets = [v for v in props.variables if v.name.startswith("joint/") and v.unit == source.unit]
        else:
            targets = list(variable_list.listed(props, props.search))
        given = variable_list.read(source)
        number = 0
        for target in targets:
            entry = catalogue.find(target.name)
            if target.name == source.name or (entry is not None and entry.choices):
                continue
            number += 1
            values: dict[str, Any] = {
                "use": source.use, "adapt": source.adapt, "bins": source.bins, "concentration": source.concentration,
            }  # fmt: skip
            if self.ranges and self.to == "JOINTS":
                values |= _range(source, target)
            _each([target], values)
        self.report({"INFO"}, f"Copied the prior of {given.name} to {number} others")
        return {"FINISHED"}


def _range(source: Any, target: Any) -> dict[str, Any]:
    """The source's range as far as the target's limits allow."""
    low, high, value = source.low, source.high, source.value
    if target.limited:
        low, high, value = (min(max(x, target.limit_low), target.limit_high) for x in (low, high, value))
        if low >= high:
            low, high = target.limit_low, target.limit_high
    return {"low": low, "high": high, "value": value, "circular": source.circular and not target.limited}


@fields(
    which=EnumProperty(name="Which", items=[
        ("ONE", "This", "The one that is chosen"), ("LISTED", "All that are listed", "Those that the list shows"),
        ("ALL", "Everything", "All but your own"), ("JOINTS", "The joints", "All joints"),
    ], options={"SKIP_SAVE"}),
)  # fmt: skip
class KEYPOINTS_OT_variables_reset(NeedsRobot, bpy.types.Operator):
    """Put priors back to the preset, and joints to all that their limits allow"""

    bl_idname = "robot_keypoints.variables_reset"
    bl_label = "Reset"
    bl_options = {"REGISTER", "UNDO"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        props = context.scene.robot_keypoints
        if self.which == "ONE":
            items = [active(props)]
        elif self.which == "LISTED":
            items = list(variable_list.listed(props, props.search))
        else:
            items = [v for v in props.variables if self.which == "ALL" or v.name.startswith("joint/")]
        variable_list.reset(props, items)
        return {"FINISHED"}


@fields(
    path=StringProperty(name="Data path", description='Such as objects["Fan"].rotation_euler[2]',
                        options={"SKIP_SAVE"}),
    label=StringProperty(name="Name", description="What the variable is called", options={"SKIP_SAVE"}),
    low=FloatProperty(name="From", description="Lower end of the range", options={"SKIP_SAVE"}),
    high=FloatProperty(name="To", description="Upper end of the range", options={"SKIP_SAVE"}),
    here=BoolProperty(options={"SKIP_SAVE", "HIDDEN"}),
)  # fmt: skip
class KEYPOINTS_OT_variable_add(NeedsRobot, bpy.types.Operator):
    """Let any number in this .blend vary: its full data path is taken from the clipboard"""

    bl_idname = "robot_keypoints.variable_add"
    bl_label = "Add Variable"
    bl_options = {"REGISTER", "UNDO"}
    path: str
    label: str
    low: float
    high: float
    here: bool
    found: user_variable_suggestion.Suggestion | None = None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.here:
            bpy.ops.ui.copy_data_path_button(full_path=True)
        if not self.path:
            self.path = context.window_manager.clipboard.strip()
        try:
            found = user_variable_suggestion.suggest(self.path)
        except UserError as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        self.label, self.found = found.name, found
        return set(context.window_manager.invoke_props_dialog(self, width=420))

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(self, "path")
        column.prop(self, "label")
        if self.found is None:  # once it is added, under "Adjust Last Operation"
            row = column.row(align=True)
            row.prop(self, "low", text="Range")
            row.prop(self, "high", text="")
            return
        split = column.split(factor=0.4)
        split.label(text="")
        split.label(text=f"{span(self.found.low, self.found.high, self.found.unit)}, to be changed in the list")

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        props = context.scene.robot_keypoints
        found = user_variable_suggestion.suggest(self.path)
        name = user_variable_suggestion.name_for(props, self.label or found.name)
        low, high = (self.low, self.high) if self.properties.is_property_set("low") else (found.low, found.high)
        if low >= high:
            raise UserError(f"The range {low:g} … {high:g} of {name} is empty: its upper end must lie above its lower")
        settings = VariableSettings(f"custom/{name}", low, high, found.bins, adapt=False, unit=found.unit,
                                    path=found.path)  # fmt: skip
        variable_list.write(props.variables.add(), settings)
        item = props.variables[-1]
        item.value = found.value
        scenery.bring_back(context.scene, found.path)
        props.search = ""
        props.group = "custom"
        props.variable_index = len(props.variables) - 1
        return {"FINISHED"}


class KEYPOINTS_OT_variable_remove(NeedsRobot, bpy.types.Operator):
    """Remove this variable of your own"""

    bl_idname = "robot_keypoints.variable_remove"
    bl_label = "Remove Variable"
    bl_options = {"REGISTER", "UNDO"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        props = context.scene.robot_keypoints
        item = active(props)
        if not item.path:
            raise UserError("Only variables of your own can be removed: hold this one instead, by its check mark")
        props.variables.remove(props.variable_index)
        left = [i for i, v in enumerate(props.variables) if v.name.startswith(f"{props.group}/")]
        props.variable_index = min(left, key=lambda i: abs(i - props.variable_index)) if left else 0
        return {"FINISHED"}


def draw_context_menu(self: Any, context: bpy.types.Context) -> None:
    """Blender's own menu of a number, on the right mouse button."""
    prop = getattr(context, "button_prop", None)
    if prop is None or prop.type not in ("FLOAT", "INT", "BOOLEAN") or not hasattr(context.scene, "robot_keypoints"):
        return
    owner = getattr(context, "button_pointer", None)
    if context.scene.robot_keypoints.variables and owner is not None and isinstance(owner.id_data, bpy.types.ID):
        self.layout.separator()
        self.layout.operator("robot_keypoints.variable_add", text="Vary in Training…").here = True


CLASSES = (
    KEYPOINTS_OT_variables_switch,
    KEYPOINTS_OT_variable_copy,
    KEYPOINTS_OT_variables_reset,
    KEYPOINTS_OT_variable_add,
    KEYPOINTS_OT_variable_remove,
)
