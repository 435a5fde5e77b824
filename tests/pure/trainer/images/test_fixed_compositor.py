# SPDX-License-Identifier: GPL-3.0-or-later
"""Finished pictures follow from rendering, latent values and seed; photographs from their themes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import synthetic
import torch
from PIL import Image
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.scene import presets
from robot_keypoints.core.scene.scene_model import SceneModel
from robot_keypoints.core.settings.asset_folders import PLACES, themes, training_themes
from robot_keypoints.core.settings.schema import AugmentationSettings, Settings as RunSettings
from robot_keypoints.trainer.evaluation.evaluate import EvaluationSet
from robot_keypoints.trainer.evaluation.sample_set import SampleSet
from robot_keypoints.trainer.images import backgrounds
from robot_keypoints.trainer.images.fixed_compositor import FixedCompositor
from robot_keypoints.trainer.images.sensor_effects import table
from robot_keypoints.trainer.images.training_augmentation import Augmentation

CPU = torch.device("cpu")
WIDTH, HEIGHT = 64, 48
RED, GREEN, BLUE = (240, 10, 10), (10, 240, 10), (10, 10, 240)


def clear(count: int) -> torch.Tensor:
    return torch.zeros(count, HEIGHT, WIDTH, 4, dtype=torch.uint8)


def opaque(count: int) -> torch.Tensor:
    images = torch.randint(0, 256, (count, HEIGHT, WIDTH, 4), generator=torch.Generator().manual_seed(2))
    images[..., 3] = 255
    return images.byte()


def plain() -> FixedCompositor:
    return FixedCompositor(AugmentationSettings(), WIDTH, HEIGHT, ())


def photograph(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (120, 90)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Green photographs in the folder itself, red ones in two themes, blue ones in a theme for validation."""
    photograph(tmp_path / "loose.png", GREEN)
    photograph(tmp_path / "lab" / "a.jpg", RED)
    photograph(tmp_path / "lab" / "inner" / "deeper" / "b.png", RED)
    photograph(tmp_path / "street" / "c.png", RED)
    photograph(tmp_path / "check" / "d.png", BLUE)
    photograph(tmp_path / "check" / "inner" / "e.png", BLUE)
    return tmp_path


def settings_with(folder: Path, *validation: str) -> RunSettings:
    return RunSettings(augmentation=AugmentationSettings(str(folder), validation))


def colours(rgb: torch.Tensor) -> set[str]:
    """Which of the primary colours are the means of these pictures ``(N, 3, H, W)``."""
    return {"RGB"[int(c)] for c in rgb.float().mean((2, 3)).argmax(1)}


# ----------------------------------------------------------------------------------------------------- compositing


def test_a_picture_does_not_depend_on_its_batch() -> None:
    model = SceneModel(presets.variables("everything", 1.0))
    rng = np.random.default_rng(0)
    images = torch.cat([clear(4), opaque(4)])
    values = [model.sample(rng).values for _ in range(8)]
    seeds = list(range(50, 58))
    together = plain().composite(images, values, seeds)
    assert together.shape == (8, 3, HEIGHT, WIDTH) and together.dtype == torch.uint8
    order = [5, 2, 7, 0]
    others = plain().composite(images[order], [values[i] for i in order], [seeds[i] for i in order])
    assert torch.equal(together[order], others)
    for i in range(8):
        assert torch.equal(plain().composite(images[i : i + 1], [values[i]], [seeds[i]])[0], together[i])


def test_an_opaque_rendering_with_neutral_values_passes_bit_for_bit() -> None:
    images = opaque(3)
    finished = plain().composite(images, [{}, {"sensor/blur": -1.0}, {"objects/drawn": -7.0}], [1, 2, 3])
    assert torch.equal(finished, images[..., :3].permute(0, 3, 1, 2))


def test_the_seed_decides_what_the_values_leave_open() -> None:
    values = {"sensor/noise": 0.02, "objects/drawn": 3.0}
    finished = plain().composite(clear(12), [values] * 12, range(12))
    assert len({f.numpy().tobytes() for f in finished}) == 12
    same = plain().composite(clear(2), [values, values | {"sensor/noise": 0.0}], [5, 5])
    # The same background and shapes; only the noise is missing.
    assert (same[0].float() - same[1].float()).abs().mean() < 0.03 * 255
    many = plain().composite(clear(2), [{"objects/drawn": 9.0}, {}], [5, 5])
    changed = (many[0] != many[1]).any(0).float().mean()
    assert 0.001 < changed < 0.5


def test_more_drawn_shapes_hide_more() -> None:
    images = opaque(30)
    occluded = []
    for count in (0.9, 1.0, 6.9, 20.0):
        finished = plain().composite(images, [{"objects/drawn": count}] * 30, range(30))
        occluded.append(float((finished != images[..., :3].permute(0, 3, 1, 2)).any(1).float().mean()))
    assert occluded[0] == 0 < occluded[1] < occluded[2] < occluded[3] < 0.6


def test_validation_images_are_finished_as_their_own_hidden_values_say() -> None:
    sensor = [v for v in presets.variables("fast", 1.0) if v.name.startswith("sensor/")]
    model = SceneModel((*synthetic.settings().scene_model().variables, *sensor))
    rng = np.random.default_rng(4)
    samples = SampleSet.of([synthetic.sample(model, rng) for _ in range(24)])
    compositor = FixedCompositor.of(synthetic.settings(), validation=True)
    data = EvaluationSet.of(samples, compositor)
    again = SampleSet.of([synthetic.draw(h) for h in samples.latents[::-1]])
    assert torch.equal(data.images, EvaluationSet.of(again, compositor).images.flip(0))
    noise = np.array([h.values["sensor/noise"] for h in samples.latents])
    quiet = [{**h.values, "sensor/noise": 0.0} for h in samples.latents]
    without = compositor.composite(torch.from_numpy(samples.images), quiet, [h.seed for h in samples.latents])
    rough = (data.images.float() - without.float()).flatten(1).std(1).numpy()
    assert np.corrcoef(noise, rough)[0, 1] > 0.95


# ---------------------------------------------------------------------------------------------------------- themes


def test_the_value_chooses_the_theme(folder: Path) -> None:
    settings = settings_with(folder, "check")
    assert training_themes(settings) == (".", "lab", "street", PLACES)
    compositor = FixedCompositor(settings.augmentation, WIDTH, HEIGHT, training_themes(settings))

    def seen(value: float) -> set[str]:
        return colours(compositor.composite(clear(12), [{"background/theme": value}] * 12, range(12)))

    assert seen(1.5) == {"G"} and seen(2.5) == {"R"} and seen(3.99) == {"R"}
    drawn = compositor.composite(clear(1), [{"background/theme": 0.5}], [3])
    assert torch.equal(drawn, plain().composite(clear(1), [{}], [3]))


def test_validation_sees_its_own_themes_and_training_never_does(folder: Path) -> None:
    apart = ("check", ".", "street")
    settings = settings_with(folder, *apart)
    own_themes = training_themes(settings)[:-1]
    theme = next(v for v in presets.variables("fast", 1.0, themes=own_themes) if v.name == "background/theme")
    rng = np.random.default_rng(0)
    values = [{"background/theme": float(v)} for v in theme.prior.sample(rng, 200)[1]]
    photographs = [v for v in values if v["background/theme"] >= 1]
    assert 70 < len(photographs) < 130
    count = len(photographs)
    apart_from_them = FixedCompositor(settings.augmentation, WIDTH, HEIGHT, training_themes(settings), apart)
    pictures = apart_from_them.composite(clear(count), photographs, range(count)).float().mean((2, 3)).argmax(1)
    assert np.bincount(pictures, minlength=3).min() > 0.2 * count  # each theme about as often as the next
    own = FixedCompositor(settings.augmentation, WIDTH, HEIGHT, training_themes(settings))
    assert colours(own.composite(clear(count), photographs, range(count))) == {"R"}
    augmentation = Augmentation(settings.augmentation, WIDTH, HEIGHT, 1, CPU, training_themes(settings))
    trained = augmentation(clear(count), torch.zeros(count, 1, 2), table(photographs))[0]
    assert colours(trained) == {"R"} and trained.mean((0, 2, 3))[0] > 0.9


def test_without_validation_themes_all_themes_serve_both(folder: Path) -> None:
    settings = settings_with(folder)
    compositor = FixedCompositor(settings.augmentation, WIDTH, HEIGHT, training_themes(settings))
    seen = compositor.composite(clear(4), [{"background/theme": c + 0.5} for c in range(1, 5)], range(4))
    assert [int(c) for c in seen.float().mean((2, 3)).argmax(1)] == [1, 2, 0, 0]
    assert themes(settings) == (".", "check", "lab", "street")


def test_what_can_not_be_read_is_named_once_and_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backgrounds, "LARGEST_PIXELS", 50_000)
    (folder / "lab" / "broken.jpg").write_bytes(b"no picture")
    whole = (folder / "street" / "c.png").read_bytes()
    (folder / "lab" / "cut.png").write_bytes(whole[: len(whole) // 2])
    photograph(folder / "lab" / "huge.png", BLUE, (300, 200))
    photograph(folder / "lab" / "large.jpg", RED, (1200, 900))  # a JPEG is decoded smaller
    photograph(folder / "lab" / ".hidden.png", BLUE)
    photograph(folder / "lab" / ".thumbnails" / "x.png", BLUE)
    compositor = FixedCompositor(AugmentationSettings(str(folder)), WIDTH, HEIGHT, ("lab",))
    values = [{"background/theme": 1.5}] * 40
    finished = compositor.composite(clear(40), values, range(40))
    assert colours(finished) == {"R"}
    said = capsys.readouterr().err
    names = ("broken.jpg", "cut.png", "huge.png", "large.jpg", ".hidden", ".thumbnails")
    assert [said.count(name) for name in names] == [1, 1, 1, 0, 0, 0]
    # What was found out on the way changes nothing.
    assert torch.equal(compositor.composite(clear(40), values, range(40)), finished)


def test_a_theme_without_a_photograph_is_a_sentence(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match=r"theme 'empty' in .* holds no photographs"):
        Augmentation(AugmentationSettings(str(folder)), WIDTH, HEIGHT, 1, CPU, ("lab", "empty"))
    with pytest.raises(UserError, match=r"theme 'empty' in .* holds no photographs"):
        FixedCompositor(AugmentationSettings(str(folder)), WIDTH, HEIGHT, ("lab",), ("empty",))
    (folder / "empty" / "no.png").write_bytes(b"")
    with pytest.raises(UserError, match="holds no photograph that can be read"):
        Augmentation(AugmentationSettings(str(folder)), WIDTH, HEIGHT, 1, CPU, ("lab", "empty"))


def test_photographs_are_decoded_one_at_a_time_and_kept_within_bounds(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(60):
        photograph(folder / "lab" / f"{i}.png", RED)
    opened: list[object] = []
    original = Image.open
    monkeypatch.setattr(backgrounds.Image, "open", lambda file, **given: opened.append(file) or original(file, **given))
    monkeypatch.setattr(backgrounds, "BANKS_BYTES", 10 * 3 * 84 * 63 * 2)
    bank = backgrounds.Backgrounds(str(folder), ("lab",), WIDTH, HEIGHT, 0)
    assert len(opened) == 1  # one to see that it can be done
    for _ in range(4):
        bank.crops([1] * 16, WIDTH, HEIGHT, torch.Generator())
    # Ten places in the bank, filled as they are wanted, and one replaced for every sixteen crops.
    assert len(opened) <= 10 + 4
