# SPDX-License-Identifier: GPL-3.0-or-later
"""Which networks are there, on which device, in which file?"""
