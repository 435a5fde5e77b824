# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels and tooltips of the settings that the panel mirrors; what they mean is said in :mod:`.settings.schema`."""

from __future__ import annotations

import dataclasses
from typing import Any

from ...core.scene import presets


@dataclasses.dataclass(frozen=True)
class Words:
    """Label and tooltip of one setting, and what its property needs besides."""

    label: str
    tip: str
    options: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)


RENDER = {
    "engine": Words("Engine", "What renders the training images", {
        "cycles": ("Cycles", "Path tracing: realistic light, and fast for small images"),
        "eevee": ("EEVEE", "Rasterised; needs a graphics card and a display"),
        "workbench": ("Workbench", "Blender's solid view: the fastest, without real light; needs a display"),
    }),
    "width": Words("Width", "Width of the training images, in pixels", extra={"subtype": "PIXEL"}),
    "height": Words("Height", "Height of the training images, in pixels", extra={"subtype": "PIXEL"}),
    "samples": Words("Samples", "Samples per pixel: more is smoother and slower", extra={"soft_max": 64}),
    "device": Words("Device", "Where Cycles renders", {
        "cpu": ("CPU", "The processor"), "gpu": ("GPU", "The graphics card, where Cycles finds one"),
    }),
    "silhouette": Words("Outline", "How far a link's outline may move, in pixels, when the workers reduce the robot's "
                        "meshes to what an image of this size shows; 0 keeps them whole",
                        extra={"soft_max": 2.0, "precision": 2, "step": 5}),
    "masks": Words("Link masks", "Render a picture of the links (segmentation) beside each image of a data set"),
    "denoise": Words("Denoise", "Whether Cycles' pictures are denoised", {
        "auto": ("Auto", "Where HDRI worlds light the robot"), "on": ("On", "Always"), "off": ("Off", "Never"),
    }),
}  # fmt: skip
WORKERS = {
    "count": Words("Workers", "How many Blender processes render at the same time", extra={"soft_max": 16}),
    "adaptive": Words("Adaptive", "How many of them follow the posteriors; the others keep to the priors",
                      extra={"soft_max": 16}),
    "threads": Words("Threads", "Processor threads of each worker", extra={"soft_max": 16}),
    "blender": Words("Blender", "Command that starts the workers' Blender; empty takes the one of the preferences"),
}  # fmt: skip
TRAINING = {
    "network": Words("Network", "What learns to find the keypoints", {
        "light": ("Light", "A small U-Net that learns quickly, also on a processor"),
        "vgg": ("VGG, refined in stages", "VGG features and refinement stages [Heindl2019]; wants a graphics card"),
        "mobilenet": ("MobileNetV3", "The features of MobileNetV3: small and quick"),
        "resnet": ("ResNet-18", "The features of ResNet-18"),
        "efficientnet": ("EfficientNet", "The features of EfficientNet-Lite0, which a package brings ready learned"),
    }),
    "stages": Words("Stages", "Refinement stages of the VGG network"),
    "width": Words("Channels", "Channels of the network's finest level; 0 takes the network's own",
                   extra={"soft_max": 128}),
    "stride": Words("Stride", "Pixels of the image for each cell of the belief maps: 2, 4 or 8; 0 takes the network's "
                    "own"),
    "batch_size": Words("Batch", "Images per training step", extra={"soft_max": 128}),
    "epoch_images": Words("Epoch images", "Images trained on between two validations", extra={"soft_min": 100}),
    "epochs": Words("Epochs", "Ends after so many; 0 goes on until you stop it", extra={"soft_max": 200}),
    "minutes": Words("Minutes", "Ends after so many minutes; 0 sets no limit", extra={"soft_max": 600.0, "step": 100,
                                                                                 "precision": 1}),
    "learning_rate": Words("Learning rate", "Size of the optimiser's steps at the start", extra={"precision": 5}),
    "warm_up": Words("Warm-up", "Steps over which the learning rate rises", extra={"soft_max": 2000}),
    "schedule": Words("Schedule", "How the learning rate goes on after the warm-up", {
        "cosine": ("Falling", "Falls along a cosine until the end of the training"),
        "constant": ("Constant", "Stays as it is"),
    }),
    "averaging": Words("Averaging", "How much of the running average of the weights each step keeps; 0 takes the "
                       "weights as they are", extra={"precision": 4}),
    "largest_gradient": Words("Largest gradient", "Longer gradients are cut to this length; 0 leaves them",
                              extra={"soft_max": 100.0}),
    "patience": Words("Patience", "Ends after so many validations without a better one; 0 never does",
                      extra={"soft_max": 100}),
    "loss": Words("Loss", "What belief maps are compared by", {
        "auto": ("Automatic", "What suits the network"),
        "l2": ("L2", "Squared differences, as in [Heindl2019]"),
        "smooth_l1": ("Smooth L1", "Squared where small, absolute where large"),
        "cross_entropy": ("Cross-entropy", "Each map as a distribution over its cells"),
        "coordinates": ("Coordinates", "Distance of the map's mean from the keypoint"),
        "sum": ("Sum", "Cross-entropy and coordinates together"),
    }),
    "decoder": Words("Decoder", "How keypoints come of belief maps", {
        "soft_argmax": ("Soft-argmax", "The mean around the peak"),
        "curve_fit": ("Curve fit", "The centre of a Gaussian fitted to the peak; keypoints a little outside the image "
                      "are taught and found, too"),
    }),
    "occluded_weight": Words("Occluded weight", "How much keypoints count that something hides, against 1 for visible "
                             "ones", extra={"soft_max": 2.0}),
    "pose_weight": Words("Pose weight", "How much the error of the robot's pose counts that the keypoints give, beside "
                         "the maps' loss; 0 leaves it out", extra={"soft_max": 2.0, "precision": 3}),
    "pose_from": Words("Pose from", "Share of the training that goes by before the pose counts; its weight then rises "
                       "over a tenth of the training", extra={"subtype": "FACTOR"}),
    "displacement_weight": Words("Displacement weight", "How much it counts how far the robot has moved between two "
                                 "images of a resting camera, as predicted, against its joint positions; needs data "
                                 "that tells of joints; 0 leaves it out", extra={"soft_max": 2.0, "precision": 3}),
    "width_weight": Words("Width weight", "How much it counts how far the belief maps' width is off, beside the maps' "
                          "loss", extra={"soft_max": 2.0, "precision": 3}),
    "range_weight": Words("Range weight", "How much it counts how far the belief maps' highest value is off, beside "
                          "the maps' loss", extra={"soft_max": 2.0, "precision": 3}),
    "dropout": Words("Dropout", "Share of the features left out while learning", extra={"subtype": "FACTOR"}),
    "precision": Words("Precision", "Numbers to compute with", {
        "auto": ("Automatic", "What is faster on the device"), "float32": ("Float 32", "Single precision"),
        "bfloat16": ("BFloat 16", "Half as many bits where that suffices"),
    }),
    "compile": Words("Compile", "Whether the network is compiled, which takes a while at the start", {
        "auto": ("Automatic", "On a graphics card"), "on": ("Yes", "Always"), "off": ("No", "Never"),
    }),
    "processes": Words("Processes", "Of the trainer, at most one for each graphics card; 0 takes as many as there are "
                       "cards, and one on a processor",
                       extra={"soft_max": 8}),
    "weights": Words("Weights", "File with the pretrained features, where they can't be downloaded",
                     extra={"subtype": "FILE_PATH"}),
    "start_from": Words("Start from", "A trained model whose network is trained on: a file, or the name of a built-in "
                        "model"),
    "coarse_scale": Words("Coarse scale", "Size at which the network sees a whole picture, over the rendering's, but "
                          "at least 160 × 120 pixels; below 1 a second, closer pass sees the part with the robot",
                          extra={"subtype": "FACTOR"}),
    "target_sigma": Words("Target width", "Standard deviation of the belief maps' targets, in percent of the image's "
                          "diagonal", extra={"precision": 2}),
    "device": Words("Device", "Where the network is trained", {
        "auto": ("Automatic", "The graphics card if it works, otherwise the processor"),
        "cpu": ("CPU", "The processor"), "cuda": ("CUDA", "An NVIDIA graphics card"),
    }),
    "pretrained": Words("Pretrained features", "Start from features learned on photographs"),
    "seed": Words("Seed", "The same seed draws the same scenes"),
    "validation_images": Words("Validation set", "Images kept apart, on which the error is measured while training",
                               extra={"soft_max": 4000}),
    "test_images": Words("Test set", "Images kept apart for the final figures", extra={"soft_max": 4000}),
    "fresh_share": Words("Fresh share", "Share of a batch that may be images never trained on before, as far as they "
                         "have come; the rest is drawn again, under other backgrounds", extra={"subtype": "FACTOR"}),
    "reuse": Words("Reuse", "How often one rendering may be trained on at most, each time under another background; "
                   "how often it is follows from how fast renderings come", extra={"soft_max": 64}),
    "hard_share": Words("Hard share", "Share of the images drawn from the store that are chosen by their loss when "
                        "last used", extra={"subtype": "FACTOR"}),
    "store_mb": Words("Store", "Memory for renderings kept for reuse, in MiB", extra={"soft_max": 16384}),
}  # fmt: skip
FEEDBACK = {
    "enabled": Words("Feedback", "Draw more often what the network still gets wrong"),
    "rule": Words("Learn from", "What moves the posteriors", {
        "evidence": ("Evidence", "The losses of all images before they are first trained on; a prior stays as it is "
                     "until its bins differ by more than chance"),
        "selection": ("Selection", "The hardest validation images alone count"),
    }),
    "combinations": Words("Combinations", "What the losses are looked through for, besides the single variables", {
        "none": ("None", "Every variable moves by itself"),
        "pairs": ("Pairs", "Two variables of which certain values are hard together are drawn together"),
    }),
    "select": Words("Choose by", "Which validation images shape the posteriors", {
        "loss": ("Loss", "Those with the highest loss"),
        "uncertainty": ("Uncertainty", "Those on which the network disagrees with itself under dropout"),
        "perturbation": ("Perturbation", "Those of which copies, a little shifted, brighter or noisier, get other "
                         "answers"),
    }),
    "passes": Words("Passes", "How often each validation image is looked at, under dropout or perturbed",
                    extra={"soft_max": 32}),
    "threshold": Words("Threshold", "Images above so many times the mean shape the posteriors; 0 goes by the share",
                       extra={"soft_max": 10.0}),
    "exponent": Words("Exponent", "How far the posteriors follow what is hard: bins of twice the mean loss are "
                      "drawn 2, 4 or 8 times as often with 1, 2 or 3", extra={"soft_max": 10.0}),
    "strength": Words("Strength", "How far the posteriors follow the chosen images: how often each of them counts",
                      extra={"soft_max": 10.0}),
    "share": Words("Hardest share", "Share of the validation images, those highest by what they are chosen by, that "
                   "shape the posteriors", extra={"subtype": "FACTOR"}),
    "forgetting": Words("Forgetting", "How far each update first moves back towards the prior",
                        extra={"subtype": "FACTOR"}),
    "floor": Words("Floor", "Least share of the uniform probability that any bin keeps", extra={"subtype": "FACTOR"}),
}  # fmt: skip
AUGMENTATION = {
    "backgrounds": Words("Photographs", "Folder of photographs laid behind the robot; each folder in it is a theme. "
                         "Empty draws backgrounds by program", extra={"subtype": "DIR_PATH"}),
    "geometry": Words("Move images", "Shift, turn and scale images a little; where renderings are fresh, that slows "
                      "learning"),
    "covers": Words("Covers", "Share of the images with a board or another flat thing drawn over a keypoint, as robots "
                    "carry what no rendering has", extra={"subtype": "FACTOR"}),
}  # fmt: skip
SCENE = {
    "preset": Words("Preset", "What varies", {
        name: (preset.label, preset.description) for name, preset in presets.PRESETS.items()
    }),
    "worlds": Words("HDRI worlds", "Folder of your own HDRI worlds (.exr, .hdr), beside the eight that Blender brings",
                    extra={"subtype": "DIR_PATH"}),
    "framing": Words("In view", "Least share of the keypoints that must lie inside the image; other draws "
                     "are made again", extra={"subtype": "FACTOR"}),
    "above_floor": Words("Above the floor", "Draw again where a link reaches below the floor"),
    "collision_free": Words("No collisions", "Draw again where two links of a robot run into one another, unless they "
                            "do so at rest"),
    "floor": Words("Floor", "Height of the floor above the robot's base",
                   extra={"subtype": "DISTANCE", "soft_min": -2.0, "soft_max": 2.0}),
}  # fmt: skip
DATA = {
    "path": Words("Path", "A folder of COCO keypoints or NDDS, as \"label\" and \"render\" write it, or a COCO file",
                  extra={"subtype": "DIR_PATH"}),
    "split": Words("Split", "The part of it that is learned from, where it has several"),
    "validation_split": Words("For validation", "The part of it that is held out whole, for validation and test"),
    "held_out": Words("Held out", "Share of its images held out for validation and test", extra={"subtype": "FACTOR"}),
    "share": Words("Share", "Of each batch; shares of 1 in total leave renderings away", extra={"subtype": "FACTOR"}),
    "weight": Words("Weight", "Of the loss of its images", extra={"soft_max": 10.0}),
    "most_deviation": Words("Largest deviation", "Labels of a larger standard deviation than so many times that of the "
                            "belief maps' targets are left out; 0 leaves none out", extra={"soft_max": 10.0}),
}  # fmt: skip
STREAM = {
    "host": Words("Address", "Where the trainer listens; anything but this machine itself needs keys"),
    "port": Words("Port", "First of three ports; 0 takes any free ones"),
    "keys": Words("Keys", "Folder of CURVE keys, for addresses beyond this machine", extra={"subtype": "DIR_PATH"}),
}  # fmt: skip
