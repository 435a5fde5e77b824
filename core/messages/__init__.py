# SPDX-License-Identifier: GPL-3.0-or-later
"""What do two processes say to each other?"""
