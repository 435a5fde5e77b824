# SPDX-License-Identifier: GPL-3.0-or-later
"""How does one run learn?"""
