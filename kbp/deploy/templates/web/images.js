// Images become what the model takes, as Pillow's bilinear filter makes them.

export function canvasOf(source, width, height, background = "#fff") {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = background;
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0, width, height);
  return canvas;
}

// Return what the model takes, rows first, of an image in its size.
export function toInput(original, facts) {
  const [height, width, channels] = facts.image;
  // Photographs have many pixels: most are averaged by the browser.
  const times = Math.max(1, Math.floor(
    Math.min(original.width / width, original.height / height) / 4));
  const source = canvasOf(original,
    Math.round(original.width / times), Math.round(original.height / times));
  const pixels = read(source, channels);
  const fit = facts.resize === "pad" ? Math.max : Math.min;
  const ratio = fit(source.width / width, source.height / height);
  const stretch = facts.resize === "stretch";
  const [wide, high] = facts.resize === "pad"
    ? [source.width, source.height].map((x) => Math.max(1, Math.round(x / ratio)))
    : [width, height];
  const across = part(source.width, width, stretch || fit === Math.max, ratio);
  const down = part(source.height, height, stretch || fit === Math.max, ratio);
  let image = resample(pixels, source.height, source.width, channels,
    across, wide);
  image = transpose(resample(transpose(image, source.height, wide, channels),
    wide, source.height, channels, down, high), wide, high, channels);
  const whole = new Float32Array(height * width * channels);
  const top = Math.floor((height - high) / 2);
  const left = Math.floor((width - wide) / 2);
  for (let y = 0; y < high; y++) {
    for (let i = 0; i < wide * channels; i++) {
      const pixel = Math.round(image[y * wide * channels + i]);
      const [mean, std] = scaling(facts, i % channels);
      whole[((y + top) * width + left) * channels + i] = (pixel - mean) / std;
    }
  }
  return whole;
}

// What is taken from a pixel of a channel, and what it is divided by.
const scaling = (facts, channel) => [facts.mean, facts.std].map(
  (values) => values[channel % values.length]);

// What of a side is kept, from where to where.
function part(size, target, all, ratio) {
  const cut = all ? 0 : Math.max(0, (size - ratio * target) / 2);
  return [cut, size - cut];
}

function read(canvas, channels) {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const values = new Float32Array(width * height * channels);
  for (let i = 0, k = 0; i < width * height; i++, k += 4) {
    if (channels === 3) {
      for (let c = 0; c < 3; c++) values[3 * i + c] = data[k + c];
    } else {
      values[i] =
        (data[k] * 19595 + data[k + 1] * 38470 + data[k + 2] * 7471 + 32768) >> 16;
    }
  }
  return values;
}

// Resample each row from `begin` to `end` at `target` places.
function resample(values, rows, columns, channels, [begin, end], target) {
  const scale = (end - begin) / target;
  const reach = Math.max(scale, 1);
  const found = new Float32Array(rows * target * channels);
  for (let x = 0; x < target; x++) {
    const center = begin + (x + 0.5) * scale;
    const first = Math.max(0, Math.floor(center - reach + 0.5));
    const last = Math.min(columns, Math.floor(center + reach + 0.5));
    const weights = [];
    for (let i = first; i < last; i++) {
      weights.push(Math.max(0, 1 - Math.abs((i + 0.5 - center) / reach)));
    }
    const total = weights.reduce((a, b) => a + b, 0);
    for (let y = 0; y < rows; y++) {
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        weights.forEach((weight, k) => {
          sum += weight * values[(y * columns + first + k) * channels + c];
        });
        found[(y * target + x) * channels + c] = Math.round(sum / total);
      }
    }
  }
  return found;
}

function transpose(values, rows, columns, channels) {
  const turned = new Float32Array(values.length);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      for (let c = 0; c < channels; c++) {
        turned[(x * rows + y) * channels + c] =
          values[(y * columns + x) * channels + c];
      }
    }
  }
  return turned;
}

// Show what the model is given.
export function show(canvas, values, facts, color) {
  const [height, width, channels] = facts.image;
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const tint = color?.(i);
    for (let c = 0; c < 3; c++) {
      const channel = channels === 3 ? c : 0;
      const [mean, std] = scaling(facts, channel);
      const value = std * values[i * channels + channel] + mean;
      image.data[4 * i + c] = tint ? 0.6 * value + 0.4 * tint[c] : value;
    }
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

// The color of a class: none, orange, or a hue far from those before.
export function colorOf(index) {
  if (!index) return null;
  const hue = (0.056 + 0.618034 * (index - 1)) % 1;
  return [5, 3, 1].map((n) => {
    const k = (n + hue * 6) % 6;
    return 255 * 0.92 * (1 - 0.9 * Math.max(0, Math.min(k, 4 - k, 1)));
  });
}

// A canvas to draw on, white on black. `changed` gets what was drawn, moved to
// the middle and enlarged, as images of single characters are.
export function drawing(canvas, changed) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  let last = null, touched = false;
  const clear = () => {
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    touched = true;
  };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [
      (event.clientX - box.left) * canvas.width / box.width,
      (event.clientY - box.top) * canvas.height / box.height,
    ];
  };
  const line = (event) => {
    const next = place(event);
    Object.assign(context, {
      lineWidth: canvas.width / 9, lineCap: "round", strokeStyle: "#fff",
    });
    context.beginPath();
    context.moveTo(...(last ?? next));
    context.lineTo(...next);
    context.stroke();
    last = next;
  };
  canvas.onpointerdown = (event) => {
    if (!touched) clear(); // the example
    canvas.setPointerCapture(event.pointerId);
    line(event);
  };
  canvas.onpointermove = (event) => last && line(event);
  canvas.onpointerup = canvas.onpointercancel = () => {
    last = null;
    changed(centered(canvas, context));
  };
  return clear;
}

function centered(canvas, context) {
  const { width, height } = canvas;
  const { data } = context.getImageData(0, 0, width, height);
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let i = 0; i < width * height; i++) {
    if (data[4 * i] > 64) {
      const x = i % width, y = Math.floor(i / width);
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y + 1);
    }
  }
  const side = Math.max(right - left, bottom - top, 1);
  const found = new OffscreenCanvas(side, side);
  const target = found.getContext("2d");
  target.fillRect(0, 0, side, side);
  target.drawImage(canvas, left - (side - right + left) / 2,
    top - (side - bottom + top) / 2, side, side, 0, 0, side, side);
  return found;
}
