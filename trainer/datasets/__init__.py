# SPDX-License-Identifier: GPL-3.0-or-later
"""How do labelled images stand on disk, both ways?"""
