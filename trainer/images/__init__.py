# SPDX-License-Identifier: GPL-3.0-or-later
"""How does a rendering become a training picture?"""
