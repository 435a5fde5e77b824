# SPDX-License-Identifier: GPL-3.0-or-later
"""The overlay, icons and warnings; panels and operators."""
