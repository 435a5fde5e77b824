# SPDX-License-Identifier: GPL-3.0-or-later
"""What can a run be told, and what is refused?"""
