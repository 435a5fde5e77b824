# SPDX-License-Identifier: GPL-3.0-or-later
"""The external Python that learns and predicts; never imports bpy."""
