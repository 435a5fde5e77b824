# SPDX-License-Identifier: GPL-3.0-or-later
"""What does each command of the command line do?"""
