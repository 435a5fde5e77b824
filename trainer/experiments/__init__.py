# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparisons of ways to train, on renderings that are all made before."""
