# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception whose text is meant for the user."""


class UserError(Exception):
    """Something the user can mend; the text is one sentence: what was wrong, where, what to do."""
