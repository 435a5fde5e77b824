# SPDX-License-Identifier: GPL-3.0-or-later
"""What does a button do? One module for each panel."""
