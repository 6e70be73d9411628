"""What images were like, and new ones that are not."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kbp.data.images.kinds import ImageFacts, ImageKinds, is_colored
from kbp.errors import UserError

GREY, COLOR = ImageFacts(8, False, 250), ImageFacts(8, True, 250)
TWELVE = ImageFacts(16, False, 4051)
FILES = [Path(f"{index}.png") for index in range(9)]


def check(known, *facts, white_level=65535):
    kinds = ImageKinds.of(known, white_level)
    return kinds.check(FILES[: len(facts)], facts)


@pytest.mark.parametrize(
    ("facts", "white_level", "said"),
    [
        (TWELVE, 65535, "reach 4051 of 65535, .*data.white_level = 4095"),
        (ImageFacts(16, True, 1000), 65535, "data.white_level = 1023"),
        (ImageFacts(16, True, 900), 16383, "900 of 16383.*white_level = 1023"),
        (ImageFacts(16, True, 9), 65535, "data.white_level = 511"),
        (ImageFacts(8, False, 15), 65535, "reach 15 of 255.*save them bright"),
    ],
)
def test_images_in_a_small_part_of_their_range_are_said(
    facts, white_level, said
):
    (sentence,) = ImageKinds.of([facts], white_level).too_dark()
    assert re.search(said, sentence), sentence


def test_a_dark_image_among_others_is_no_reason():
    dark = [ImageFacts(16, False, 90), ImageFacts(8, True, 9)]
    bright = [ImageFacts(16, False, 60000), COLOR]
    assert ImageKinds.of(dark + bright).too_dark() == []
    assert ImageKinds.of([TWELVE], 4095).too_dark() == []


def test_images_of_the_same_kinds_are_fine():
    assert check([GREY, COLOR], COLOR, GREY) == []
    assert check([TWELVE], TWELVE, white_level=4095) == []
    # Whoever taught the model knew that they are dark.
    assert check([TWELVE], TWELVE) == []


@pytest.mark.parametrize(
    ("known", "facts", "said"),
    [
        (COLOR, [GREY], "1 of 1 images: 8-bit grey, .* 8-bit color alone: 0"),
        (GREY, [GREY, COLOR], "1 of 2 images: 8-bit color, .*alone: 1.png."),
        (ImageFacts(16, False, 65000), [GREY], "8-bit grey.*16-bit grey alone"),
        (GREY, [ImageFacts(16, False, 65000)], "16-bit grey.*8-bit grey alone"),
        (ImageFacts(16, False, 65000), [TWELVE], "reach 4051 of 65535"),
        (GREY, [COLOR] * 9, "9 of 9 .*: 0.png, 1.png, 2.png, ..."),
    ],
)
def test_other_images_are_said(known, facts, said):
    (sentence,) = check([known], *facts)
    assert re.search(said, sentence), sentence


def test_values_that_mean_something_else_are_refused():
    with pytest.raises(UserError, match=r"8-bit grey alone.*reach 4051 of 655"):
        check([GREY], GREY, TWELVE)


def test_a_file_alone_knows_what_is_dark():
    assert check([], GREY, COLOR) == []
    (sentence,) = check([], TWELVE)
    assert "reach 4051" in sentence


def test_scores_want_the_same_meaning_of_values():
    own = ImageKinds.of([TWELVE], 4095)
    own.check_same(ImageKinds.of([TWELVE], 4095))
    with pytest.raises(UserError, match="level is 4095; here it is 65535"):
        own.check_same(ImageKinds.of([TWELVE]))
    with pytest.raises(UserError, match="is of 16-bit grey images, and the"):
        own.check_same(ImageKinds.of([GREY], 4095))


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"white_level": "x"}'),
        '{"white_level": 9, "largest": {}, "resize": "cut"}',
        '{"white_level": 9, "largest": {}, "resize": []}',
    ],
)
def test_a_damaged_file_is_refused(text):
    with pytest.raises(UserError, match="does not say what the images"):
        ImageKinds.from_json(text)


def test_how_images_are_resized_is_kept():
    kinds = ImageKinds(4095, {}, "pad") + ImageKinds.of([GREY], 4095)
    assert ImageKinds.from_json(kinds.to_json()).resize == "pad"


def test_blurred_grey_is_no_color(tmp_path):
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(0, 256, (32, 32, 1), "uint8"), 3, axis=-1)
    Image.fromarray(grey).save(tmp_path / "a.jpg", quality=60)
    assert not is_colored(np.asarray(Image.open(tmp_path / "a.jpg")))
    assert not is_colored(grey[..., :1])
    grey[3, 4] = 200, 40, 40
    assert is_colored(grey)
