# SPDX-License-Identifier: GPL-3.0-or-later
"""How do keypoints become belief maps and come back, and what do maps cost?"""
