# SPDX-License-Identifier: GPL-3.0-or-later
"""What is a robot, and how is its description read?"""
