# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person reads: pages of HTML and figures, whatever they tell of."""
