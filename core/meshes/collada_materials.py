# SPDX-License-Identifier: GPL-3.0-or-later
"""Materials of Collada files: the colour or the image that a surface has of itself."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from .collada_document import Document, first, numbers_of
from .mesh import Colour, Surface
from .textures import NOT_FOUND, located

SHADERS = ("phong", "lambert", "blinn", "constant")


def surface(document: Document, material: Element, path: Path) -> tuple[Surface, str]:
    """How a material looks, and the name of its texture's coordinates. What is wrong with it hides no shape."""
    name = material.get("id") or material.get("name") or ""
    instance = first(material, "instance_effect")
    effect = document.target(instance.get("url"), "effect") if instance is not None else None
    technique = effect.find("profile_COMMON/technique") if effect is not None else None
    shader = first(technique, *SHADERS) if technique is not None else None
    if effect is None or shader is None:
        return Surface(name), ""
    # What transparency means differs from one exporter to the next, so that many robots would vanish.
    for part in ("diffuse", "emission"):
        given = shader.find(part)
        texture = given.find("texture") if given is not None else None
        if texture is not None:
            image = _image(document, effect, texture.get("texture", ""))
            file, missing, why = located(image, path) if image else ("", texture.get("texture", ""), NOT_FOUND)
            colour = None if missing else (1.0, 1.0, 1.0, 1.0)
            return Surface(name, colour, file, missing=missing, why=why), texture.get("texcoord", "")
        if given is not None:
            return Surface(name, _colour(effect, given)), ""
    return Surface(name), ""


def _colour(effect: Element, given: Element) -> Colour | None:
    colour = given.find("color")
    param = given.find("param")
    if colour is None and param is not None:
        colour = next((c for e in effect.iter("newparam") if e.get("sid") == param.get("ref") for c in e[:1]), None)
    if colour is None:
        return None
    try:
        values = numbers_of(colour)[:3]
    except ValueError:
        return None
    if len(values) != 3 or not np.isfinite(values).all():
        return None
    r, g, b = (float(c) for c in values)
    return r, g, b, 1.0


def _image(document: Document, effect: Element, reference: str) -> str:
    """The file name of a texture: through its sampler and surface, or of an image that is named at once."""
    parameters = {e.get("sid"): e for e in effect.iter("newparam")}
    for _ in range(2):
        parameter = parameters.get(reference)
        if parameter is None:
            break
        # Collada 1.4: sampler, then surface; 1.5: the sampler names the image.
        instance = parameter.find("sampler2D/instance_image")
        if instance is not None:
            reference = instance.get("url", "")
            break
        source = parameter.find("sampler2D/source")
        if source is None:
            source = parameter.find("surface/init_from")
        reference = (source.text or "").strip() if source is not None else ""
    image = document.target(reference, "image")
    start = image.find("init_from") if image is not None else None
    if start is None:
        return ""
    inner = start.find("ref")
    return ((start if inner is None else inner).text or "").strip()
