# SPDX-License-Identifier: GPL-3.0-or-later
"""Helpers without a subject of their own."""
