# SPDX-License-Identifier: GPL-3.0-or-later
"""Who starts, watches and stops which process?"""
