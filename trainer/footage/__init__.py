# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings of a real robot: images, joint logs and fiducial markers, and what they tell of cameras and poses.

What the images show of the markers decides which images have pose information of high quality (US 12387346,
paragraphs 42 to 44); all of these together calibrate the cameras.
"""
