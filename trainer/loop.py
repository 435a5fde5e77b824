# SPDX-License-Identifier: GPL-3.0-or-later
"""The training of one run, from the first sample to the last report; read :meth:`Trainer.run` from top to bottom."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core import files
from ..core.errors import UserError
from ..core.messages import Posterior
from ..core.randomization import SceneModel
from ..core.session import ROBOT_FILE
from ..core.settings import Settings
from ..core.settings_lists import training_themes
from . import checkpoint, device, distributed, feedback, metrics, network, run_state
from .augmentation import Augmentation
from .checkpoint import ModelInfo
from .control import Switchboard
from .engine import LONGEST_COMPUTATION, Engine, Step
from .evaluation import Evaluation, evaluate
from .held_out import HeldOut
from .news import Clock, News
from .pipeline import Finishing, Pipeline, Prepared
from .replay import ReplayStore
from .run_state import RunState
from .schedule import exhausted, learning_rate
from .stream import SampleStream

COLLECTING_SHARE = 0.4
"""Share of a run's minutes that may go by before the first step; the sets are smaller where that is too short."""

PICTURES_SECONDS = 4.0
"""Set aside for the reports at the end of a run limited in minutes, besides the last validation and the test."""

STOP_SECONDS = 2.0
"""After a stop, saving and testing may take this long; the pictures then still fit into the session's patience."""

CURVES_EVERY = 20
"""Steps between two points of the curves of training losses."""
