# SPDX-License-Identifier: GPL-3.0-or-later
"""How the command line names a model, as the first word or after ``--model``, a file or one that comes along, and how
it is to look at images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ...core import builtin_models
from ...core.settings.schema import DECODERS

OPTION = "--model"


def add(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Have a parser take the model.

    Args:
        words: that it is going to parse. Where they have the option, no other word is the model: a word that may be
            missing would make argparse take the wrong ones.
    """
    choices = f"a model.safetensors, or a built-in one: {builtin_models.names()}"
    if any(w == OPTION or w.startswith(f"{OPTION}=") for w in words):
        parser.add_argument(OPTION, type=builtin_models.resolve, required=True, metavar="MODEL", help=choices)
    else:
        help_text = f"{choices} (or {OPTION} MODEL)"
        parser.add_argument("model", type=builtin_models.resolve, metavar="MODEL", help=help_text)


def add_decoder(parser: argparse.ArgumentParser) -> None:
    """Have a parser take another decoder than the model's own."""
    parser.add_argument(
        "--decoder", choices=DECODERS,
        help="find keypoints as the mean around a belief map's peak, or as the centre of a curve that fits it, which "
        "may lie outside the image (default: what the model was trained for)",
    )  # fmt: skip


def add_scales(parser: argparse.ArgumentParser) -> None:
    """Have a parser take the sizes at which images are looked at."""
    parser.add_argument(
        "--scales", metavar="S,S,…",
        help="average over these sizes of each image, such as 0.8,1,1.25; 1 is the fastest (default: several sizes of "
        "it and of parts of it, and of what moves one size)",
    )  # fmt: skip
