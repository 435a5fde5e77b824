# SPDX-License-Identifier: GPL-3.0-or-later
"""What does a run learn from besides renderings?"""
