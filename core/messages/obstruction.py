# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands between the camera and the robots in a scene of the user's own, as one sentence for each object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .. import files, run_folder

OFTEN = 0.1
"""An object that hides the robot in a smaller share of the draws is taken for scenery as it should be."""

ADVICE = (
    "disable it in renders, or load this file in Blender and choose Leave Out or Keep under Robot Keypoints ▸ Robot"
)
"""What to do about an object, for those who do not have the panel before them."""


@dataclass(frozen=True)
class Obstruction:
    """What was found in some draws.

    Attributes:
        draws: how many were looked at; 0 where there was nothing to look at.
        unseen: in how many of them scenery hid all of the robots that lay within the picture.
        objects: by name, in how many of them an object hid the robots all but wholly.
        left_out: objects of Blender's start-up file that were left out of the renderings.
    """

    draws: int = 0
    unseen: int = 0
    objects: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def often(self) -> dict[str, int]:
        """The objects that are worth a warning, those that hide the most first."""
        kept = {name: count for name, count in self.objects.items() if count > OFTEN * self.draws}
        return dict(sorted(kept.items(), key=lambda entry: -entry[1]))

    @property
    def hopeless(self) -> bool:
        """Whether no picture would show anything of a robot."""
        return 0 < self.draws == self.unseen

    def sentences(self) -> tuple[str, ...]:
        """Everything that a user should know, each with what to do about it."""
        found = [f"{self.sentence(name)}: {ADVICE}" for name in self.often]
        if self.left_out:
            names, verb = " and ".join(self.left_out), "is" if len(self.left_out) == 1 else "are"
            found.insert(0, f"{names}, untouched since Blender's start-up, {verb} left out of the renderings")
        return tuple(found)

    def sentence(self, name: str) -> str:
        """What an object does."""
        return f"{name} hides the robot in {self.objects[name]} of {self.draws} draws"

    def refusal(self) -> str:
        """Why a training can't go on where it is :attr:`hopeless`."""
        names = ", ".join(self.often) or "The scenery"
        return f"{names}: none of {self.draws} draws shows anything of the robot: leave it out of the renderings"

    def to_dict(self) -> dict[str, Any]:
        """What was found, as plain JSON values."""
        return {**asdict(self), "objects": dict(self.objects), "left_out": list(self.left_out)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Obstruction:
        """Read what :meth:`to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: if it is something else.
        """
        objects = {str(name): int(count) for name, count in dict(document["objects"]).items()}
        left_out = tuple(map(str, document["left_out"]))
        return cls(int(document["draws"]), int(document["unseen"]), objects, left_out)

    def write(self, folder: Path) -> None:
        """Keep it in the folder of a run."""
        files.write_json(folder / run_folder.OBSTRUCTION, self.to_dict())

    @classmethod
    def read(cls, folder: Path) -> Obstruction:
        """What :meth:`write` kept; nothing where nobody has looked.

        Raises:
            KeyError, TypeError, ValueError: if the file holds something else.
        """
        path = folder / run_folder.OBSTRUCTION
        return cls.from_dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else cls()
