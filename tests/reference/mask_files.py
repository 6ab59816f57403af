"""Masks of the kinds that people store, as files made with Pillow: an object of 8 x 10 pixels in 24 x 32."""

import numpy as np
from PIL import Image

SHAPE = (24, 32)
OBJECT = (slice(6, 14), slice(10, 20))
VOC = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128), (128, 128, 128)]


def labels(level, other=None, void=None):
    """Return a label map: the object, another one in a corner, and a border of two pixels around the object."""
    array = np.zeros(SHAPE, np.uint8)
    if void is not None:
        array[4:16, 8:22] = void
    array[OBJECT] = level
    if other is not None:
        array[18:23, 24:31] = other
    return array


def truth():
    """Return where the object is."""
    return labels(1) > 0


def save_grey(path, array):
    Image.fromarray(array).save(path)


def save_palette(path, array, colours=VOC, **options):
    """Save indexes with their colours; in VOC's, index 255 is cream white."""
    image = Image.frombytes("P", array.shape[::-1], array.tobytes())
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    if colours is VOC:
        table[15], table[255] = (192, 128, 128), (224, 224, 192)
    image.putpalette(table.ravel().tolist())
    image.save(path, **options)


def save_colours(path, array, colours=VOC):
    """Save an RGB image of the colours of labels."""
    Image.fromarray(np.array(colours, np.uint8)[array]).save(path)


def save_alpha(path, alpha, level=0):
    """Save a picture of one level whose alpha channel is the mask."""
    grey = np.broadcast_to(np.asarray(level, np.uint8), (*alpha.shape, 3))
    Image.fromarray(np.dstack([grey, alpha])).save(path)
