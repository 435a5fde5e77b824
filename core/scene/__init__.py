# SPDX-License-Identifier: GPL-3.0-or-later
"""What varies in a scene, and with which prior?"""
