# SPDX-License-Identifier: GPL-3.0-or-later
"""Small robot descriptions."""

from __future__ import annotations

from pathlib import Path

from robot_keypoints.core.robot.robot import Robot
from robot_keypoints.core.robot.urdf_reader import load_urdf

EVERY_JOINT = """<robot name="odd">
  <material name="paint"><color rgba="0.1 0.2 0.3 1"/></material>
  <link name="base"><visual><geometry><box size="1 2 3"/></geometry><material name="paint"/></visual></link>
  <link name="arm"><visual><origin xyz="0 0 1" rpy="0.1 0.2 0.3"/><geometry><cylinder radius="0.1" length="2"/>
  </geometry></visual></link>
  <link name="tray"><visual><geometry><sphere radius="0.3"/></geometry></visual>
    <visual><geometry><capsule radius="0.2" length="0.5"/></geometry></visual></link>
  <link name="disc"><visual><geometry><mesh filename="absent.stl" scale="2 2 2"/></geometry></visual></link>
  <link name="twin"/><link name="tip"/><link name="cloud"/><link name="cart"/><link name="flag"/>
  <joint name="turn_joint" type="revolute"><parent link="base"/><child link="arm"/>
    <origin xyz="0.1 -0.2 0.3" rpy="0.4 -0.5 0.6"/><axis xyz="1 -2 2"/><limit lower="-1.5" upper="1.5"/>
  </joint>
  <joint name="slide_joint" type="prismatic"><parent link="arm"/><child link="tray"/>
    <origin xyz="0 0 0.2" rpy="0 1 0"/><axis xyz="0 3 4"/><limit lower="-0.2" upper="0.4"/>
  </joint>
  <joint name="spin_joint" type="continuous"><parent link="tray"/><child link="disc"/>
    <origin xyz="0.5 0 0"/><axis xyz="0 0 -1"/></joint>
  <joint name="echo_joint" type="revolute"><parent link="arm"/><child link="twin"/>
    <origin xyz="0 0.1 0"/><axis xyz="0 1 0"/><limit lower="-2" upper="2"/>
    <mimic joint="turn_joint" multiplier="-0.5" offset="0.25"/></joint>
  <joint name="weld" type="fixed"><parent link="disc"/><child link="tip"/><origin xyz="0 0 0.4" rpy="1 0 0"/></joint>
  <joint name="drift" type="floating"><parent link="base"/><child link="cloud"/>
    <origin xyz="0.3 0.1 0.2" rpy="0.3 0.2 0.1"/></joint>
  <joint name="glide" type="planar"><parent link="cloud"/><child link="cart"/>
    <origin xyz="0.1 0 0" rpy="0 0.2 0"/><axis xyz="0 0 2"/></joint>
  <joint name="mast" type="fixed"><parent link="cart"/><child link="flag"/><origin xyz="0 0 1"/></joint>
</robot>"""


def robot_of(tmp_path: Path, text: str) -> Robot:
    path = tmp_path / "robot.urdf"
    path.write_text(text, encoding="utf-8")
    return load_urdf(path)
