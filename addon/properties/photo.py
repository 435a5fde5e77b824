# SPDX-License-Identifier: GPL-3.0-or-later
"""What is saved about photographs of the robot: the lens that took them, and what moves."""

# No "from __future__ import annotations": Blender reads property definitions from the annotations as they are.

import math

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, FloatVectorProperty, StringProperty

from .from_dataclass import fields

LENSES = (
    ("CAMERA", "Scene's camera", "The lens that the scene's camera has, at the photograph's proportions"),
    ("MM", "Millimetres", "A focal length and the longer side of the sensor, as in the camera's data sheet"),
    ("ANGLE", "Field of view", "The field of view across the photograph's longer side"),
    ("PIXELS", "Pixels", "Focal lengths and principal point in pixels, and distortion, as a calibration gives them"),
)


@fields(
    lens=EnumProperty(name="Lens", description="Where the lens of the photograph is taken from", items=LENSES),
    focal_mm=FloatProperty(name="Focal length", description="Focal length of the lens", default=35.0, min=0.1,
                           soft_max=300.0, precision=2, subtype="DISTANCE_CAMERA"),
    sensor_mm=FloatProperty(name="Sensor", description="The longer side of the sensor: 36 mm where the focal length is "
                            "given as of 35 mm film", default=36.0, min=0.1, soft_max=100.0, precision=2,
                            subtype="DISTANCE_CAMERA"),
    angle=FloatProperty(name="Field of view", description="Across the photograph's longer side",
                        default=math.radians(60.0), min=math.radians(0.1), max=math.radians(179.0), subtype="ANGLE"),
    fx=FloatProperty(name="Focal length x", description="fx of the camera matrix, in pixels of the photograph",
                     default=1000.0, min=1e-3, soft_max=10000.0, precision=2),
    fy=FloatProperty(name="y", description="fy of the camera matrix, in pixels of the photograph; 0 takes that of x",
                     default=0.0, min=0.0, soft_max=10000.0, precision=2),
    centred=BoolProperty(name="Centre in the middle", description="The principal point is the photograph's middle",
                         default=True),
    cx=FloatProperty(name="Centre x", description="cx of the camera matrix, in pixels, the top left pixel's centre "
                     "being (0, 0)", default=0.0, precision=2),
    cy=FloatProperty(name="y", description="cy of the camera matrix, in pixels, counted downwards from the top left "
                     "pixel's centre", default=0.0, precision=2),
    distortion=FloatVectorProperty(name="Distortion", description="OpenCV's k1, k2, p1, p2, k3. Blender's cameras have "
                                   "none: it counts for the pose, and the rig fits the photograph less well towards "
                                   "its corners", size=5, precision=4),
    joints_deviation=FloatProperty(name="Joints ±", description="Standard deviation of the rig's turning joints, where "
                                   "they are only about as the robot's in the photograph: the pose then corrects them "
                                   "where the picture tells more. 0 takes them as exact", default=0.0, min=0.0,
                                   max=math.radians(30.0), subtype="ANGLE"),
    outline=BoolProperty(name="By the outline", description="Place the camera by the robot's outline as well, from "
                         "where its keypoints have it: several times as exact, and some seconds slower. The rig must "
                         "look like the robot; where its outline isn't found in the photograph, keypoints count alone",
                         default=True),
    moves=EnumProperty(name="Posing moves", description="What moves when the robot is posed from a photograph, so that "
                       "the two coincide", items=[
        ("CAMERA", "Camera", "The robot's base stays where it is in the scene, as it is bolted down in its cell, and "
         "the camera goes to where the photograph was taken"),
        ("ROBOT", "Robot", "The camera stays where it is, as one whose place in the scene is known, and the robot's "
         "base goes to where the photograph shows it"),
    ]),
    address=StringProperty(name="Address", description="Where \"serve --publish\" tells what it sees",
                           default="tcp://127.0.0.1:5555"),
)  # fmt: skip
class KEYPOINTS_PG_photo(bpy.types.PropertyGroup):
    """A photograph of the robot."""


CLASSES = (KEYPOINTS_PG_photo,)
