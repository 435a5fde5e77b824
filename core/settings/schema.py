# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that a run is started with, as data classes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from ..robot.keypoints import Keypoint
from ..scene.prior import Prior
from ..scene.scene_model import SceneModel, Variable

LEAST_INPUT = 160 * 120
"""Pixels of the network's input that :attr:`TrainingSettings.coarse_scale` leaves at least."""

DECODERS = ("soft_argmax", "curve_fit")
"""How keypoints come of belief maps: the mean of the cells around the peak, or the centre of the Gaussian that fits
them best."""

MOST_INPUT = 2048 * 2048
"""Pixels of the network's input at most: the network of [Heindl2019] takes 3 GB for one such image."""


VALIDATION_SHARE = 0.2
"""Share of the images of data sets that is held out where nothing else is there to measure a model by."""

NOTHING = 1e-6
"""Shares that differ by less are the same."""


def _limits(default: Any, low: float | None = None, high: float | None = None) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


def _choice(default: str, *options: str) -> Any:
    return field(default=default, metadata={"options": (default, *options)})


@dataclass(frozen=True)
class RobotSettings:
    """Where the robot comes from: ``urdf`` (``path``), ``builtin``, or ``armature`` (by name, in the scene file).

    ``packages`` are folders by the names that the file uses, ``arguments`` those of a xacro file.
    ``name`` tells the further robots of a scene apart; ``position`` (metres) and ``yaw`` (radians) of the base in the
    world hold for robots that are read from a file.
    """

    kind: str = _choice("builtin", "urdf", "armature")
    path: str = ""
    armature: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    name: str = ""
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    yaw: float = 0.0


@dataclass(frozen=True)
class LinkGroup:
    """Links that share one material of their own: the variables ``material/<name>/…``.

    Links of further robots are called ``robot/link``.
    """

    name: str
    links: tuple[str, ...] = ()


@dataclass(frozen=True)
class SceneSettings:
    """What the scene is made of, and which draws are refused.

    Attributes:
        preset: what varies, where no variable is given: see :mod:`.presets`.
        worlds: folder of the user's own HDRIs, beside those that Blender ships.
        framing: least share of the keypoints that must lie inside the image.
        above_floor: whether no link may reach below the floor, even where a draw shows none.
        collision_free: whether no two links of a robot may run into one another, unless they do so at rest.
        floor: height of the floor, in metres above what the first robot stands on: its base, or its feet.
    """

    preset: str = _choice("fast", "balanced", "photographs", "everything")
    worlds: str = ""
    framing: float = _limits(0.0, 0.0, 1.0)
    above_floor: bool = False
    collision_free: bool = False
    floor: float = _limits(0.0, -100.0, 100.0)


@dataclass(frozen=True)
class VariableSettings:
    """One variable's initial prior; see :class:`.Variable`.

    ``path`` makes a variable of the user's own, ``custom/<name>``: a Blender data path such as
    ``objects["Fan"].rotation_euler[2]``, which is set to the variable's value.
    """

    name: str
    low: float
    high: float
    bins: int = _limits(16, 1, 256)
    concentration: float = _limits(1.0, 1e-6)
    circular: bool = False
    adapt: bool = True
    unit: str = ""
    path: str = ""

    def variable(self) -> Variable:
        """The variable itself."""
        prior = Prior.symmetric(self.low, self.high, self.bins, self.concentration, self.circular)
        return Variable(self.name, prior, self.unit, self.adapt)

    @classmethod
    def of(cls, variable: Variable) -> VariableSettings:
        """The settings of a variable whose prior is still symmetric."""
        p = variable.prior
        return cls(variable.name, p.low, p.high, p.bins, p.concentration[0], p.circular, variable.adapt, variable.unit)


@dataclass(frozen=True)
class RenderSettings:
    """How workers render: size in pixels, samples per pixel, and the level of detail.

    ``silhouette`` is how far a link's outline may move, in pixels, when the workers reduce the robot's meshes; 0 keeps
    them whole. ``masks`` asks for a picture of the links (segmentation) beside each image. ``denoise`` says whether
    Open Image Denoise takes out what few samples leave, in Cycles; ``auto`` does where HDRI worlds light the robot,
    whose noise is several times that of lamps.
    """

    engine: str = _choice("cycles", "eevee", "workbench")
    width: int = _limits(320, 32, 4096)
    height: int = _limits(240, 32, 4096)
    samples: int = _limits(2, 1, 4096)
    device: str = _choice("cpu", "gpu")
    silhouette: float = _limits(0.0, 0.0, 10.0)
    masks: bool = False
    denoise: str = _choice("auto", "on", "off")


@dataclass(frozen=True)
class WorkerSettings:
    """How many Blender workers render, how many of them follow the posteriors, and with how many threads each."""

    count: int = _limits(2, 1, 256)
    adaptive: int = _limits(1, 0, 256)
    threads: int = _limits(1, 1, 256)
    blender: str = ""


@dataclass(frozen=True)
class TrainingSettings:
    """The learning itself.

    Attributes:
        stages: of the ``vgg`` network, the first one and the refinements together.
        width: channels of the network's finest level; 0 takes the network's own.
        stride: pixels of the input for each cell of the belief maps; 0 takes the network's own.
        pretrained: whether networks on torchvision's features start from weights learned on photographs.
        weights: file with those weights, for machines that can't download them; empty downloads them once.
        dropout: share of the features left out while learning; what Monte-Carlo dropout needs.
        loss: what the belief maps are compared by; ``auto`` takes the network's own.
        decoder: how keypoints come of belief maps: ``soft_argmax`` takes the mean around the peak, ``curve_fit`` the
            centre of a Gaussian fitted to it, which may lie a little outside the image; such keypoints are then taught.
        occluded_weight: weight of occluded keypoints, which something hides, against 1 for visible ones.
        pose_weight: of the error of the pose that the keypoints give, beside the maps' loss; 0 leaves it out.
        pose_from: share of the run that goes by before the pose counts; its weight then rises over a tenth of the run.
            A run without end has no share that goes by: there it counts from the start, with 0, or never.
        displacement_weight: of how far the robot has moved between the images of a camera that rests, as predicted,
            against what their joint positions say; 0 leaves it out. It needs ``[[data]]`` that tells of joints.
        width_weight: of how far the width of the last stage's maps is off, beside the maps' loss.
        range_weight: of how far the highest value of the last stage's maps is off, likewise.
        epoch_images: images trained on between two validations ([Heindl2019]: 10,000).
        epochs: at most this many; 0 means without end.
        minutes: at most this long; 0 means without limit.
        warm_up: steps over which the learning rate rises.
        schedule: how the learning rate goes on: ``cosine`` falls to a hundredth at the run's end.
        averaging: share of the running average of the weights that a step keeps; 0 takes the weights as they are.
        largest_gradient: longer gradients are cut to this length; 0 leaves them.
        patience: validations without a better one after which the run ends; 0 never ends it.
        coarse_scale: size at which the network sees a whole picture, over the rendering's, but never fewer pixels than
            160 × 120; below 1 there are two passes, the second one closer, over the part with the robot.
        target_sigma: standard deviation of the belief maps' targets, in percent of the diagonal of the network's input.
        precision: ``auto`` takes what is faster on the device.
        compile: whether the network is compiled; ``auto`` compiles on a graphics card.
        fresh_share: the share of a batch that may be renderings never used before: those that have come, and no more
            than that; the rest is drawn from the store.
        reuse: how often one rendering may be trained on at most, each time under another background. How often it is
            follows from how fast renderings come; only where so often is not enough does training wait.
        hard_share: share of the images drawn from the store that are chosen by their loss when last used.
        store_mb: memory for renderings kept for reuse, in MiB, and as much for decoded images of data sets.
        start_from: a model, as a file or by the name of one that comes along, whose weights the run starts from
            (fine-tuning); empty starts from scratch.
        processes: of the trainer, at most one for each graphics card; 0 takes as many as there are cards, and one on a
            CPU. Two of one thread each are faster there than one of two, which wait for each other's every operation.
    """

    network: str = _choice("light", "vgg", "mobilenet", "resnet", "efficientnet")
    stages: int = _limits(6, 1, 12)
    width: int = _limits(0, 0, 1024)
    stride: int = _limits(0, 0, 16)
    batch_size: int = _limits(16, 1, 4096)
    epoch_images: int = _limits(4000, 1)
    epochs: int = _limits(25, 0)
    minutes: float = _limits(0.0, 0.0)
    learning_rate: float = _limits(3e-3, 1e-8, 1.0)
    warm_up: int = _limits(60, 0, 1_000_000)
    schedule: str = _choice("cosine", "constant")
    averaging: float = _limits(0.995, 0.0, 0.99999)
    largest_gradient: float = _limits(5.0, 0.0)
    patience: int = _limits(0, 0)
    coarse_scale: float = _limits(0.5, 0.1, 1.0)
    target_sigma: float = _limits(0.8, 0.05, 20.0)
    loss: str = _choice("auto", "l2", "smooth_l1", "cross_entropy", "coordinates", "sum")
    decoder: str = _choice(*DECODERS)
    occluded_weight: float = _limits(1.0, 0.0, 100.0)
    pose_weight: float = _limits(0.2, 0.0, 1000.0)
    pose_from: float = _limits(0.5, 0.0, 1.0)
    displacement_weight: float = _limits(0.0, 0.0, 1000.0)
    width_weight: float = _limits(0.0, 0.0, 1000.0)
    range_weight: float = _limits(0.0, 0.0, 1000.0)
    dropout: float = _limits(0.0, 0.0, 0.9)
    device: str = _choice("auto", "cpu", "cuda")
    precision: str = _choice("auto", "float32", "bfloat16")
    compile: str = _choice("auto", "on", "off")
    processes: int = _limits(0, 0, 64)
    pretrained: bool = True
    weights: str = ""
    seed: int = _limits(1, 0)
    validation_images: int = _limits(256, 8)
    test_images: int = _limits(256, 8)
    fresh_share: float = _limits(0.5, 0.01, 1.0)
    reuse: int = _limits(32, 1, 1000)
    hard_share: float = _limits(0.0, 0.0, 1.0)
    store_mb: int = _limits(512, 1)
    start_from: str = ""


@dataclass(frozen=True)
class DataSettings:
    """A data set of annotated images that is learned from, beside renderings or instead of them.

    Attributes:
        path: a folder of COCO keypoints or NDDS, a COCO file, or a ``FOOTAGE.toml`` whose images have joint positions
            and no labels, for :attr:`TrainingSettings.displacement_weight`.
        split: the part of it that is learned from, where it has several: a folder in ``path``, or a COCO file there or
            in its ``annotations/``, without ``.json``. Empty takes ``path`` as it is.
        validation_split: likewise the part that is held out whole, for validation and test.
        held_out: share of the images learned from that is held out for these instead, chosen by the seed. Where no
            data set of a run without renderings holds anything out, it is :data:`VALIDATION_SHARE`.
        share: of each batch, rounded to whole images and at least one. Shares of 1 in total leave renderings away.
        weight: of the loss of its images' labels; with 0 they are learned from by displacement alone.
        most_deviation: labels of a larger standard deviation than so many times that of the belief maps' targets are
            left out; 0 leaves none out.
    """

    path: str
    split: str = ""
    validation_split: str = ""
    held_out: float = _limits(0.0, 0.0, 0.9)
    share: float = _limits(0.5, 0.001, 1.0)
    weight: float = _limits(1.0, 0.0, 1000.0)
    most_deviation: float = _limits(3.0, 0.0, 1000.0)


@dataclass(frozen=True)
class FeedbackSettings:
    """How what the network gets wrong moves the priors, [Heindl2019], III-C.

    Attributes:
        rule: ``evidence`` compares the losses of all images before they are first trained on, bin by bin, and leaves a
            variable at its prior until its bins differ by more than chance; ``selection`` counts the bins of a selected
            set S of validation samples, as in [Heindl2019].
        combinations: what evidence looks at besides the single variables: ``none``, or all ``pairs`` of them, of which
            the strongest few are drawn together.
        select: what makes a validation sample a candidate for the selected set S: its ``loss``, or how far the answers
            differ under Monte-Carlo dropout [Gal2016], ``uncertainty``, or over perturbed copies of the image,
            ``perturbation``; all three as in [Heindl2019].
        passes: of Monte-Carlo dropout; perturbed copies of each image.
        share: share of the validation samples, the highest ones, that form S.
        threshold: samples above this many times the mean form S instead; 0 goes by the share.
        exponent: by evidence, the power that the bins' losses over the mean have in the density.
        strength: by selection, the weight of each sample of S in the posterior's counts.
        forgetting: weight of the initial prior in each update; by evidence the share of the older losses that fades.
        floor: least marginal probability of a bin, as a share of the uniform one.
    """

    enabled: bool = True
    rule: str = _choice("evidence", "selection")
    combinations: str = _choice("none", "pairs")
    select: str = _choice("loss", "uncertainty", "perturbation")
    passes: int = _limits(8, 2, 256)
    share: float = _limits(0.25, 0.01, 1.0)
    threshold: float = _limits(0.0, 0.0)
    exponent: float = _limits(3.0, 1e-3, 1000.0)
    strength: float = _limits(1.0, 1e-3, 1000.0)
    forgetting: float = _limits(0.5, 0.0, 1.0)
    floor: float = _limits(0.2, 0.0, 0.99)


@dataclass(frozen=True)
class AugmentationSettings:
    """What the trainer lays behind every rendering, and whether it moves it.

    Attributes:
        backgrounds: folder of photographs; each folder in it is a theme, and so is the folder itself if it holds
            photographs. Empty: pictures drawn by program only.
        validation_themes: themes that only validation and test images have behind them; empty takes all themes for
            both.
        geometry: whether to scale, turn and shift images once more; where renderings are fresh, that slows learning.
        covers: share of the images trained on that have a board, or another flat thing, drawn over a keypoint, as
            robots carry what no rendering has.
    """

    backgrounds: str = ""
    validation_themes: tuple[str, ...] = ()
    geometry: bool = False
    covers: float = _limits(0.3, 0.0, 1.0)


@dataclass(frozen=True)
class StreamSettings:
    """Where the trainer listens. Anything but loopback needs ``keys``, a folder of CURVE keys. Port 0 takes any."""

    host: str = "127.0.0.1"
    port: int = _limits(0, 0, 65000)
    keys: str = ""


@dataclass(frozen=True)
class Settings:
    """All settings of one run."""

    robot: RobotSettings = field(default_factory=RobotSettings)
    others: tuple[RobotSettings, ...] = ()
    keypoints: tuple[Keypoint, ...] = ()
    skeleton: tuple[tuple[str, str], ...] = ()
    variables: tuple[VariableSettings, ...] = ()
    groups: tuple[LinkGroup, ...] = ()
    scene: SceneSettings = field(default_factory=SceneSettings)
    render: RenderSettings = field(default_factory=RenderSettings)
    workers: WorkerSettings = field(default_factory=WorkerSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    feedback: FeedbackSettings = field(default_factory=FeedbackSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    stream: StreamSettings = field(default_factory=StreamSettings)
    data: tuple[DataSettings, ...] = ()

    @property
    def renders(self) -> bool:
        """Whether any of the images learned from are renderings, so that Blender is needed."""
        return sum(d.share for d in self.data) < 1.0 - NOTHING

    @property
    def rendering_workers(self) -> int:
        """Blender workers that a run starts."""
        return self.workers.count if self.renders else 0

    def scene_model(self) -> SceneModel:
        """The scene's probabilistic model at version 0."""
        return SceneModel(tuple(v.variable() for v in self.variables))

    @property
    def coarse_scale(self) -> float:
        """Size of the network's input over the rendering's; see :class:`TrainingSettings`."""
        least = math.sqrt(LEAST_INPUT / (self.render.width * self.render.height))
        return min(1.0, max(self.training.coarse_scale, least))

    @property
    def input_size(self) -> tuple[int, int]:
        """Width and height of the network's input, pixels."""
        return round(self.render.width * self.coarse_scale), round(self.render.height * self.coarse_scale)

    @property
    def robots(self) -> tuple[RobotSettings, ...]:
        """All robots of the scene, the first one first."""
        return (self.robot, *self.others)
