# SPDX-License-Identifier: GPL-3.0-or-later
"""How is a sample rendered and labelled, without a window?"""
