# SPDX-License-Identifier: GPL-3.0-or-later
"""What does a loaded model see in a picture?"""
