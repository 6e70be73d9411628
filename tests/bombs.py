"""Small image files that ask for much memory or time, and what reads them.

Run as a program, it reads the files of a folder as kbp does and says what came
of each: the words, the seconds, and by how many bytes the memory grew.
"""

import json
import os
import struct
import sys
import time
import zlib
from pathlib import Path

SIZE = 64_000  # pixels each way of what no camera takes


def chunk(name, content):
    """Return a chunk of a PNG file."""
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + pack(">I", check)


def pack(form, *numbers):
    return struct.pack(form, *numbers)


def png(width, height, rows=b"", *, depth=8, color=0, extra=b""):
    """Return a PNG file of raw rows; `color` 0 is grey, 2 RGB, 6 RGBA."""
    header = pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            extra,
            chunk(b"IDAT", zeros(rows) if isinstance(rows, int) else rows),
            chunk(b"IEND", b""),
        ]
    )


def zeros(count):
    """Return so many zeros, compressed: one block of them many times."""
    made = zlib.compressobj(9, wbits=-15)
    block = made.compress(bytes(1 << 20)) + made.flush(zlib.Z_FULL_FLUSH)
    made = zlib.compressobj(9, wbits=-15)
    rest = made.compress(bytes(count & 0xFFFFF)) + made.flush()
    check = pack(">HH", count % 65521, 1)  # Adler's, of zeros
    return b"\x78\xda" + block * (count >> 20) + rest + check


def tiff(width, height, data=b"", *, pages=1, next_page=None, **tags):
    """Return a TIFF file: tags such as `t256` are `(kind, number, value)`."""
    own = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, 1, 8),
        259: (3, 1, 1),
        262: (3, 1, 1),
        273: (4, 1, 8),
        277: (3, 1, 1),
        278: (4, 1, height),
        279: (4, 1, len(data)),
    } | {int(k[1:]): v for k, v in tags.items()}
    entries = b"".join(
        pack("<HHII", tag, *own[tag]) for tag in sorted(own) if own[tag]
    )
    number = sum(map(bool, own.values()))
    start = 8 + len(data)
    content = [b"II*\0", pack("<I", start), data]
    for _ in range(pages - 1):
        start += 2 + len(entries) + 4
        content += [pack("<H", number), entries, pack("<I", start)]
    last = next_page or 0
    return b"".join([*content, pack("<H", number), entries, pack("<I", last)])


def bmp(width, height, data=b"", *, bits=24, compression=0):
    palette = b"\0" * 1024 if bits == 8 else b""
    start = 54 + len(palette)
    head = pack("<2sIHHI", b"BM", start + len(data), 0, 0, start)
    info = pack(
        "<IiiHHIIiiII",
        *(40, width, height, 1, bits, compression),
        *(len(data), 0, 0, 0, 0),
    )
    return head + info + palette + data


def webp(width, height):
    size = [(side - 1).to_bytes(3, "little") for side in (width, height)]
    canvas = b"VP8X" + pack("<IB3x", 10, 0) + b"".join(size)
    frame = b"VP8L" + pack("<I", 6) + b"\x2f\0\0\0\0\0"
    body = b"WEBP" + canvas + frame
    return b"RIFF" + pack("<I", len(body)) + body


def jpeg(width, height, *, scans=1, exif=b"", progressive=True):
    """Return a JPEG file of empty scans."""

    def segment(kind, x):
        return b"\xff" + kind + pack(">H", len(x) + 2) + x

    table = bytes([0, 1, *[0] * 15, 0])  # one code, of the value 0
    frame = pack(">BHHB", 8, height, width, 1) + bytes([1, 0x11, 0])
    scan = segment(b"\xda", bytes([1, 1, 0, 0, 0, 0])) + b"\0" * 8
    after = segment(b"\xda", bytes([1, 1, 0, 1, 63, 0])) + b"\0" * 8
    return b"".join(
        [
            b"\xff\xd8",
            segment(b"\xe1", exif) if exif else b"",
            segment(b"\xdb", bytes([0, *[1] * 64])),
            segment(b"\xc2" if progressive else b"\xc0", frame),
            segment(b"\xc4", table),
            segment(b"\xc4", bytes([0x10]) + table[1:]),
            scan,
            after * (scans - 1),
            b"\xff\xd9",
        ]
    )


def tags_of_one_place(count, size):
    """Return the tags of a TIFF file that all mean the same bytes."""
    entries = b"".join(
        pack("<HHII", 40000 + i, 7, size, 8) for i in range(count)
    )
    return b"II*\0" + pack("<I", 8) + pack("<H", count) + entries + b"\0" * 4


def sparse(start, size):
    """Return what writes a file that is mostly not there."""

    def write(path):
        path.write_bytes(start)
        os.truncate(path, size)

    return write


def write(folder, large):
    """Write those of `BOMBS` that are large, or the others."""
    for name, make in BOMBS.items():
        if name.startswith("large") != large:
            continue
        made = make()
        if callable(made):
            made(folder / name)
        else:
            (folder / name).write_bytes(made)


_TEXT = b"Comment\0\0"
BOMBS = {
    "size.png": lambda: png(SIZE, SIZE),
    "large_deep_opacity.png": lambda: png(
        4_800, 5_000, 192_005_000, depth=16, color=6
    ),
    "size_of_much.png": lambda: png(13_000, 13_000),
    "large_color.png": lambda: png(10_000, 10_000, 300_010_000, color=2),
    "large_opacity.png": lambda: png(10_000, 10_000, 400_010_000, color=6),
    "large_deep.png": lambda: png(4_800, 5_000, 144_005_000, depth=16, color=2),
    "large_wide.png": lambda: png(10_000, 10_000, 200_010_000, depth=16),
    "more_rows.png": lambda: png(8, 8, 1 << 28),
    "text.png": lambda: png(
        8, 8, 72, extra=chunk(b"zTXt", _TEXT + zeros(1 << 29))
    ),
    "texts.png": lambda: png(
        8, 8, 72, extra=chunk(b"zTXt", _TEXT + zeros(1 << 20)) * 2000
    ),
    "international_text.png": lambda: png(
        8, 8, 72, extra=chunk(b"iTXt", b"a\0\1\0\0\0" + zeros(1 << 29))
    ),
    "profile.png": lambda: png(
        8, 8, 72, extra=chunk(b"iCCP", b"a\0\0" + zeros(1 << 29))
    ),
    "exif.png": lambda: png(
        8, 8, 72, extra=chunk(b"eXIf", tags_of_one_place(20_000, 200_000))
    ),
    "chunk.png": lambda: png(8, 8, 72)[:33] + pack(">I", 2**31 - 1) + b"tEXt",
    "animation.png": lambda: png(
        8, 8, 72, extra=chunk(b"acTL", pack(">II", 2**31 - 1, 0))
    ),
    "size.tif": lambda: tiff(SIZE, SIZE, b"\0" * 64),
    "strips.tif": lambda: tiff(
        8, 8, b"\0" * 64, t279=(4, 1, 2**32 - 1), t273=(4, 1, 2**31)
    ),
    "packed_strips.tif": lambda: tiff(
        8, 8, zeros(1 << 29), t259=(3, 1, 8), t278=(4, 1, 2**32 - 1)
    ),
    "large.tif": lambda: tiff(10_000, 10_000, zeros(10**8), t259=(3, 1, 8)),
    "tile.tif": lambda: tiff(
        *(8, 8, zeros(1 << 29)),
        **{"t259": (3, 1, 8), "t322": (4, 1, 32768), "t323": (4, 1, 32768)},
        **{"t324": (4, 1, 8), "t325": (4, 1, 1000), "t273": (), "t278": ()},
        t279=(),
    ),
    "samples.tif": lambda: tiff(4000, 4000, b"\0", t277=(3, 1, 65535)),
    "tag.tif": lambda: tiff(8, 8, b"\0" * 64, t700=(7, 2**32 - 1, 8)),
    "tags.tif": lambda: tags_of_one_place(20_000, 200_000),
    "pages.tif": lambda: tiff(8, 8, b"\0" * 64, pages=200_000),
    "circle.tif": lambda: tiff(8, 8, b"\0" * 64, next_page=72),
    "size.bmp": lambda: bmp(SIZE, SIZE),
    "large.bmp": lambda: bmp(10_000, 10_000),
    "run_lengths.bmp": lambda: bmp(
        10_000, 10_000, b"\1\0\0\0" * 10_000, bits=8, compression=1
    ),
    "some_run_lengths.bmp": lambda: bmp(
        1500, 1500, b"\1\0\0\0" * 1500, bits=8, compression=1
    ),
    "size.webp": lambda: webp(16_383, 16_383),
    "canvas.webp": lambda: webp(1 << 24, 255),
    "size.jpg": lambda: jpeg(65_000, 65_000),
    "large.jpg": lambda: jpeg(10_000, 10_000),
    "scans.jpg": lambda: jpeg(10_000, 10_000, scans=1000),
    "some_scans.jpg": lambda: jpeg(10_000, 10_000, scans=29),
    "exif.jpg": lambda: jpeg(
        8, 8, exif=b"Exif\0\0" + tags_of_one_place(5000, 60_000)
    ),
    "image.gif.png": lambda: b"GIF89a" + pack("<HH", 65535, 65535) + b"\0" * 9,
    "holes.png": lambda: sparse(png(8, 8)[:33], 1 << 40),
    "holes.webp": lambda: sparse(webp(8, 8), 600_000_000),
    "holes.bmp": lambda: sparse(bmp(8, 8), 1 << 36),
    "holes.tif": lambda: sparse(tiff(8, 8, b"\0" * 64), 1 << 36),
    "holes.jpg": lambda: sparse(jpeg(8, 8), 600_000_000),
    "pipe.png": lambda: os.mkfifo,
    "device.png": lambda: lambda path: path.symlink_to("/dev/zero"),
}


def peak():
    """Return the most memory since `forget`, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (x for x in lines if x.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def forget():
    Path("/proc/self/clear_refs").write_text("5")


def outcome(read, path):
    """Return what reading a file came to."""
    from kbp.errors import UserError

    forget()
    before, start = peak(), time.monotonic()
    try:
        read(path)
        said = "read"
    except UserError as error:
        said = str(error)
    except BaseException as error:
        said = f"{type(error).__name__} was raised: {error}"
    return {
        "said": said,
        "seconds": time.monotonic() - start,
        "bytes": peak() - before,
    }


def main(folder, many):
    from kbp.data.images.files import read_image, read_mask
    from kbp.data.images.photographs import read_photographs

    readers = {
        "photograph": lambda path: read_photographs([path], (32, 32)),
        "image": lambda path: read_image(path, 3),
        "mask": read_mask,
    }
    found = {
        f"{path.name} as {name}": outcome(read, path)
        for path in sorted(folder.iterdir())
        for name, read in readers.items()
    }
    for path in sorted(folder.iterdir()) if many else ():
        found[f"many {path.name}"] = outcome(
            lambda paths: read_photographs(paths, (32, 32)), [path] * 3
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), "many" in sys.argv)
