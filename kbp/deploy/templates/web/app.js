// The page: what goes in on the left, what comes out on the right.

import * as images from "./images.js";
import { hasWebGpu, open, softmax } from "./runtime.js";
import * as tables from "./tables.js";

const $ = (id) => document.getElementById(id);
const facts = await (await fetch("./model.json")).json();
let runner, latest;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

// Predict again what was asked last, such as on another processor.
async function ask(question = latest) {
  latest = question;
  if (!question || !runner) return;
  try {
    const milliseconds = await question();
    const digits = milliseconds < 10 ? 2 : 0;
    say(`${milliseconds.toFixed(digits)} ms on ${runner.where}`);
    document.body.dataset.ready ??= Math.round(performance.now());
  } catch (error) {
    $("result").replaceChildren();
    say(error.message ?? String(error), true);
  }
}

const percent = (share) => `${(100 * share).toFixed(1)}%`;

function bars(labels, shares, swatches = false) {
  const order = shares.map((_, i) => i).sort((a, b) => shares[b] - shares[a]);
  return element("ol", { className: "shares" }, ...order.slice(0, 10).map((i) => {
    const name = element("span");
    if (swatches) {
      const swatch = element("i", { className: "swatch" });
      swatch.style.background = `rgb(${images.colorOf(i) ?? [0, 0, 0]})`;
      name.append(swatch);
    }
    name.append(labels[i]);
    const item = element("li", {}, name,
      element("span", { textContent: percent(shares[i]) }));
    item.style.setProperty("--share", percent(shares[i]));
    return item;
  }));
}

const answer = (text) => element("p", { className: "answer", textContent: text });

async function classify(source) {
  const values = images.toInput(source, facts);
  const made = await runner.predict(values);
  const shares = softmax(made.values);
  const seen = element("canvas");
  images.show(seen, values, facts);
  $("result").replaceChildren(
    answer(facts.labels[shares.indexOf(Math.max(...shares))]),
    bars(facts.labels, shares),
    element("div", { className: "seen" }, seen,
      element("span", { className: "quiet", textContent: "what the model sees" })),
  );
  return made.milliseconds;
}

async function labelPixels(source) {
  const values = images.toInput(source, facts);
  const made = await runner.predict(values);
  const count = facts.labels.length, counts = new Array(count).fill(0);
  const mask = Array.from({ length: made.values.length / count }, (_, i) => {
    let best = 0;
    for (let c = 1; c < count; c++) {
      if (made.values[i * count + c] > made.values[i * count + best]) best = c;
    }
    counts[best]++;
    return best;
  });
  const seen = element("canvas", { className: "stage" });
  images.show(seen, values, facts, (i) => images.colorOf(mask[i]));
  const list = bars(facts.labels, counts.map((n) => n / mask.length), true);
  list.style.marginTop = "1rem";
  $("result").replaceChildren(seen, list);
  return made.milliseconds;
}

const cell = (tag) => (text) => element(tag, { textContent: text });
const shown = (x) => String(Number(x.toPrecision(6)));

function tableOf(header, rows) {
  return element("div", { className: "scroll" }, element("table", {},
    element("thead", {}, element("tr", {}, ...header.map(cell("th")))),
    element("tbody", {}, ...rows.map((row) =>
      element("tr", {}, ...row.map(cell("td")))))));
}

async function predictTable(text) {
  const { found, milliseconds } = await tables.predictRows(runner, facts, text);
  const { name } = facts.target;
  const [first] = found;
  if (!facts.labels.length) {
    $("result").replaceChildren(answer(shown(first)), tableOf(
      ["row", name], found.map((x, i) => [i + 1, shown(x)])));
    return milliseconds;
  }
  const best = found.map((s) => s.indexOf(Math.max(...s)));
  $("result").replaceChildren(
    answer(facts.labels[best[0]]), bars(facts.labels, first),
    tableOf(["row", name, "probability"], found.map((s, i) =>
      [i + 1, facts.labels[best[i]], percent(s[best[i]])])));
  return milliseconds;
}

async function forecastTable(text) {
  const made = await tables.forecast(runner, facts, text);
  const box = element("div");
  const draw = (c) => {
    box.innerHTML = tables.chart(made.columns[c], made.forecasts[c]);
  };
  const choice = element("select", { ariaLabel: "Column" }, ...made.names.map(
    (name, value) => element("option", { value, textContent: name })));
  choice.onchange = () => draw(Number(choice.value));
  draw(0);
  const steps = made.forecasts[0].map((_, t) =>
    [t + 1, ...made.forecasts.map((x) => shown(x[t]))]);
  $("result").replaceChildren(
    element("div", { className: "row" }, choice), box,
    tableOf(["step", ...made.names], steps));
  return made.milliseconds;
}

// Files that are chosen or dropped.
function chooser(accept, label, take) {
  const input = element("input", { type: "file", accept });
  input.onchange = () => input.files[0] && take(input.files[0]);
  const box = document.querySelector(".card");
  box.ondragover = (event) => event.preventDefault();
  box.ondrop = (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  };
  return element("label", { className: "button" }, label, input);
}

function imageInputs(predict) {
  const [height, width, channels] = facts.image;
  const fill = (canvas, source) => {
    Object.assign(canvas, { width: source.width, height: source.height });
    canvas.getContext("2d").drawImage(source, 0, 0);
  };
  const take = (canvas) => async (file) => {
    try {
      const source = await createImageBitmap(file);
      fill(canvas, source);
      await ask(() => predict(source));
    } catch {
      say(`${file.name ?? "The file"} is no image that a browser reads.`, true);
    }
  };
  const example = async () => (await fetch("./example.png")).blob();
  const pages = {};
  if (predict === classify && channels === 1 && Math.max(height, width) <= 64) {
    pages.Draw = async (box) => {
      const canvas = element("canvas", {
        className: "stage draw", width: 320, height: 320, id: "draw",
      });
      const clear = images.drawing(canvas, (drawn) => ask(() => predict(drawn)));
      box.replaceChildren(canvas, element("div", { className: "row" },
        element("button", { textContent: "Clear", onclick: () => {
          clear();
          latest = null;
          $("result").replaceChildren();
          say("Draw with a finger or the mouse.");
        } }),
        element("span", { className: "quiet", textContent: "draw here" })));
      const source = await createImageBitmap(await example());
      canvas.getContext("2d").drawImage(source, 0, 0, 320, 320);
      await ask(() => predict(source));
    };
  }
  pages.Image = async (box) => {
    const canvas = element("canvas", { className: "stage" });
    box.replaceChildren(canvas, element("div", { className: "row" },
      chooser("image/*", "Choose an image", take(canvas)),
      element("span", { className: "quiet", textContent: "or drop one here" })));
    await take(canvas)(await example());
  };
  pages.Camera = async (box) => {
    const video = element("video", {
      autoplay: true, muted: true, playsInline: true,
    });
    box.replaceChildren(video);
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia(
        { video: { facingMode: "environment" } });
    } catch {
      say("There is no camera, or it may not be used. It needs HTTPS or localhost.",
        true);
      return;
    }
    const look = async () => {
      if (!video.isConnected) {
        video.srcObject.getTracks().forEach((track) => track.stop());
        return;
      }
      if (video.videoWidth) {
        const source = images.canvasOf(
          video, video.videoWidth, video.videoHeight);
        await ask(() => predict(source));
      }
      setTimeout(look, 100);
    };
    look();
  };
  return pages;
}

function textInputs(predict) {
  return {
    CSV: async (box) => {
      const area = element("textarea", {
        spellcheck: false, ariaLabel: "CSV text with a header", wrap: "off",
      });
      const run = () => ask(() => predict(area.value));
      const take = async (file) => {
        area.value = await file.text();
        await run();
      };
      box.replaceChildren(area, element("div", { className: "row" },
        element("button", { textContent: "Predict", onclick: run }),
        chooser(".csv,text/csv", "Open a file", take)));
      await take(await fetch("./example.csv"));
    },
  };
}

const KINDS = {
  classes: () => imageInputs(classify),
  masks: () => imageInputs(labelPixels),
  series: () => textInputs(forecastTable),
  table: () => textInputs(predictTable),
};

async function choose(page, tab) {
  for (const other of $("tabs").children) other.ariaSelected = other === tab;
  latest = null;
  $("result").replaceChildren();
  await page($("input"));
}

async function start(accelerator) {
  runner?.close();
  runner = null;
  try {
    runner = await open(facts, accelerator);
  } catch (error) {
    if (accelerator === "wasm") throw error;
    $("accelerator").value = "wasm";
    runner = await open(facts, "wasm");
    $("about").textContent = `WebGPU does not run this model: ${error.message}`;
  }
}

document.title = facts.name;
// Long names break after these marks.
$("name").replaceChildren(...facts.name.split(/(?<=[._-])/).flatMap(
  (part) => [part, element("wbr")]));
$("about").textContent =
  `${facts.task.replaceAll("_", " ")}, ${facts.input.shape.slice(1).join("×")}`
  + ` in, ${facts.output.shape.slice(1).join("×")} out`;
hasWebGpu().catch(() => false).then((has) => {
  const option = $("accelerator").options[1];
  option.disabled = !has;
  if (!has) option.text = "WebGPU (not here)";
});
$("accelerator").onchange = async (event) => {
  say("Loading the model");
  await start(event.target.value);
  await ask();
};
const pages = Object.entries(KINDS[facts.kind]());
const tabs = pages.map(([name, page]) => {
  const tab = element("button", { textContent: name, role: "tab" });
  tab.onclick = () => choose(page, tab);
  return tab;
});
if (tabs.length > 1) $("tabs").append(...tabs);
try {
  await start("wasm");
  await choose(pages[0][1], tabs[0]);
} catch (error) {
  say(error.message ?? String(error), true);
}
