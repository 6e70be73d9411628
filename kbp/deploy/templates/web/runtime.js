// The model on LiteRT.js: floats go in, floats come out.

import {
  Tensor, isWebGPUSupported, loadAndCompile, loadLiteRt, supportsFeature,
  unloadLiteRt,
} from "@litertjs/core";

const ARRAYS = {
  float32: Float32Array, int32: Int32Array, uint8: Uint8Array,
};

export const hasWebGpu = async () =>
  isWebGPUSupported() && Boolean(await navigator.gpu.requestAdapter());

// What WebGPU lacks runs on WASM, for which that has to wait: by JSPI.
let loaded = null;

async function load(jspi) {
  if (loaded === jspi) return;
  if (loaded !== null) unloadLiteRt();
  await loadLiteRt("./litert/wasm/", { jspi });
  loaded = jspi;
}

export async function open(facts, accelerator) {
  const jspi = accelerator === "webgpu" && await supportsFeature("jspi");
  await load(jspi);
  const model = await loadAndCompile("./model.tflite", { accelerator });
  let where = "WASM";
  if (model.options.accelerator === "webgpu") {
    where = model.isFullyAccelerated ? "WebGPU" : "WebGPU, in part on WASM";
  }
  const runner = new Runner(model, where, facts);
  // The first run is slower: what it needs is made then.
  await runner.predict(new Float32Array(facts.input.shape.reduce((a, b) => a * b)));
  return runner;
}

class Runner {
  constructor(model, where, { input, output }) {
    Object.assign(this, { model, where, input, output });
  }

  // Run one example; returns its outputs and the milliseconds it took.
  async predict(values) {
    const { shape, dtype, scale, zero_point: zero } = this.input;
    const raw = new ARRAYS[dtype](values.length);
    for (let i = 0; i < raw.length; i++) {
      raw[i] = scale
        ? Math.min(255, Math.max(0, roundToEven(values[i] / scale) + zero))
        : values[i];
    }
    const begin = performance.now();
    const tensor = new Tensor(raw, shape);
    const [found] = await this.model.run([tensor]);
    const integers = (await found.data()).slice();
    const milliseconds = performance.now() - begin;
    tensor.delete();
    found.delete();
    const { scale: step, zero_point: origin } = this.output;
    const floats = Float32Array.from(
      integers, (x) => (step ? (x - origin) * step : x));
    return { values: floats, milliseconds };
  }

  close() {
    this.model.delete();
  }
}

function roundToEven(x) {
  const rounded = Math.round(x);
  return rounded - x === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}

// Probabilities of logits; those that are some already stay as they are.
export function softmax(values) {
  const list = Array.from(values);
  const sum = list.reduce((a, b) => a + b, 0);
  const slack = Math.min(0.1, (list.length + 1) / 256);
  if (Math.min(...list) >= 0 && Math.abs(sum - 1) < slack) {
    return list.map((x) => x / sum);
  }
  const top = Math.max(...list);
  const powers = list.map((x) => Math.exp(x - top));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((x) => x / total);
}
