# SPDX-License-Identifier: GPL-3.0-or-later
"""How do a model and a picture give keypoints and a pose, for one image or for a server's clients?"""
