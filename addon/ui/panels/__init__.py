# SPDX-License-Identifier: GPL-3.0-or-later
"""What does the user see? One module for each panel."""
