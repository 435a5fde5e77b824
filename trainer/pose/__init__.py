# SPDX-License-Identifier: GPL-3.0-or-later
"""How do keypoints become the robot's pose in the camera's frame?"""
