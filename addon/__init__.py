# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that runs inside Blender; never imports torch."""
