# SPDX-License-Identifier: GPL-3.0-or-later
"""What two processes must agree on; knows neither bpy nor torch."""
