# SPDX-License-Identifier: GPL-3.0-or-later
"""How good is a model?"""
