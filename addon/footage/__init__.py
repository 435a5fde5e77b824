# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings of a real robot in the scene: camera, background, keys and markers on the timeline."""
