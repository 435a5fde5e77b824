# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the overlay puts things."""

from __future__ import annotations

import numpy as np
import pytest
from robot_keypoints.addon.base import formatting
from robot_keypoints.addon.ui import overlay
from robot_keypoints.addon.ui.overlay import Frame


def test_pixel_centres_in_the_frame() -> None:
    frame = Frame(100.0, 50.0, 400.0, 300.0)
    assert frame.place(0, 0, 4, 3) == pytest.approx((150.0, 300.0))
    assert frame.place(-0.5, -0.5, 4, 3) == pytest.approx((100.0, 350.0))  # top left corner of the image
    assert frame.place(3.5, 2.5, 4, 3) == pytest.approx((500.0, 50.0))  # bottom right corner


def test_an_image_fits_into_the_frame() -> None:
    frame = Frame(0.0, 0.0, 400.0, 300.0)
    assert frame.fitted(200, 100) == Frame(0.0, 50.0, 400.0, 200.0)
    assert frame.fitted(100, 300) == Frame(150.0, 0.0, 100.0, 300.0)
    assert frame.fitted(4, 3) == frame


def test_ellipses_have_the_covariance_s_axes() -> None:
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    covariance = turn @ np.diag([9.0, 4.0]) @ turn.T
    points = np.array(overlay.ellipse(covariance.tolist(), sigmas=1.0))
    inverse = np.linalg.inv(covariance)
    assert [float(p @ inverse @ p) for p in points] == pytest.approx([1.0] * len(points))
    assert np.hypot(*points.T).max() == pytest.approx(3.0, rel=0.02)
    assert points[0] == pytest.approx(points[-1])


def test_ellipses_of_impossible_covariances_do_no_harm() -> None:
    assert np.isfinite(overlay.ellipse([[0.0, 0.0], [0.0, 0.0]])).all()
    assert np.isfinite(overlay.ellipse([[-1.0, 0.0], [0.0, 1.0]])).all()


def test_who_is_less_sure_is_fainter_and_never_gone() -> None:
    shown = [overlay.opacity(c, 0.5) for c in (0.0, 0.1, 0.25, 0.49, 0.5, 1.0)]
    assert shown[0] == overlay.opacity(-1.0, 0.5) == overlay.FAINTEST > 0 and shown[-2:] == [1.0, 1.0]
    assert shown[:5] == sorted(set(shown[:5]))
    assert overlay.opacity(0.0, 0.0) == 1.0  # nobody is faint below 0


def test_labels_keep_apart() -> None:
    taken: list[overlay.Box] = []
    for _ in range(4):
        box = overlay.free_place((100.0, 100.0), 60.0, 12.0, 10.0, taken)
        assert not any(overlay._overlap(box, other) for other in taken)
        taken.append(box)
    assert taken[0][0] == 110.0


def test_sentences_are_wrapped() -> None:
    sentence = "There is no URDF file at /a/very/long/path/to/a/file/that/does/not/exist.urdf: choose another file"
    lines = formatting.wrap(sentence, 200.0, 1.0)
    assert len(lines) > 2
    assert "".join(lines).replace(" ", "") == sentence.replace(" ", "")
    import blf

    blf.size(formatting.FONT, formatting.FONT_POINTS)
    assert all(blf.dimensions(formatting.FONT, line)[0] <= 201.0 for line in lines)


def test_numbers_as_people_read_them() -> None:
    assert formatting.span(-np.pi, np.pi, "rad") == "-180° … 180°"
    assert formatting.short_span(-np.pi, np.pi, "rad") == "±180°"
    assert formatting.short_span(0.0, np.pi, "rad") == "0° … 180°"
    assert formatting.quantity(1.234, "m") == "1.23 m"
    assert formatting.span(0.0, 0.04, "m") == "0 m … 40 mm"
    assert formatting.quantity(6500.0, "K") == "6500 K"
    assert formatting.duration(220) == "3:40"
    assert formatting.duration(3725) == "1:02:05"
    assert formatting.shown_name("joint/shoulder_pan_joint") == "shoulder pan"
    assert formatting.shown_name("joint/left/elbow_joint") == "elbow, left"
    assert formatting.shown_name("light/2/size") == "size 2"
    assert formatting.quantity(0.0, "") == "0.00" and formatting.quantity(-0.003, "") == "-0.003"
    assert formatting.quantity(np.radians(0.5), "rad") == "0.5°"
    assert formatting.chosen(("sun", "area", "spot"), 1, 3) == "area … spot"
    assert formatting.chosen(("sun", "area", "spot"), 2, 3) == "spot"
    assert formatting.size(2_100_000) == "2.1 MB"
