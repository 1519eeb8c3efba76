// The page reads without this; it lets the reader choose heads and sigma, lay fixations over, and copy tables.
"use strict";
document.documentElement.classList.add("js");

const look = document.getElementById("look");
const data = JSON.parse(document.getElementById("look-data").textContent);
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const colours = bytes(data.colours);
const differences = bytes(data.differences);
const levels = colours.length / 4;
const $ = (id) => document.getElementById(id);

// The error function to 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26).
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const y = 1 - t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))) * Math.exp(-x * x);
  return x < 0 ? -y : y;
}

// A Gaussian's mass in each of `length` pixels.
function gaussian(position, length, sigma) {
  const mass = new Float64Array(length);
  let below = erf(-position / (sigma * Math.SQRT2));
  for (let i = 0; i < length; i++) {
    const above = erf((i + 1 - position) / (sigma * Math.SQRT2));
    mass[i] = (above - below) / 2;
    below = above;
  }
  return mass;
}

// Everybody's map, each participant weighing the same, in multiples of an even spread; null where nobody looked.
function peopleMap(object, sigma) {
  const [width, height] = object.grid;
  if (!object.gaze.length) return writtenMap(object.people, 0);
  const map = new Float64Array(width * height);
  for (const gaze of object.gaze) {
    const own = new Float64Array(width * height);
    let total = 0;
    for (let k = 0; k < gaze.length; k += 3) {
      const across = gaussian(gaze[k] / 10, width, sigma);
      const down = gaussian(gaze[k + 1] / 10, height, sigma);
      for (let y = 0; y < height; y++) {
        const row = gaze[k + 2] * down[y];
        if (row < 1e-12) continue;
        for (let x = 0; x < width; x++) { const mass = row * across[x]; own[y * width + x] += mass; total += mass; }
      }
    }
    if (total > 0) for (let i = 0; i < map.length; i++) map[i] += own[i] / total;
  }
  const sum = map.reduce((a, b) => a + b, 0);
  return { width, height, values: map.map((v) => (v * map.length) / sum) };
}

// A map as it was written: the square root of its share of the largest value, a byte a patch.
function writtenMap(written, head) {
  if (!written) return null;
  const [height, width, peaks, text] = written;
  const all = (written.bytes ??= bytes(text));
  const own = all.subarray(head * width * height, (head + 1) * width * height);
  return { width, height, values: Float64Array.from(own, (b) => peaks[head] * (b / 255) ** 2) };
}

const headMap = (object, layer, head) => writtenMap(object.heads[layer], head);

function minus(people, head) {
  const { width, height } = people;
  const values = people.values.map((v, i) => {
    const y = Math.floor(((Math.floor(i / width) + 0.5) * head.height) / height);
    const x = Math.floor((((i % width) + 0.5) * head.width) / width);
    return v - head.values[y * head.width + x];
  });
  return { width, height, values };
}

// A map as an image; `position` says where on the palette a value lies, 0 to 1.
function drawn(map, palette, position) {
  const canvas = Object.assign(document.createElement("canvas"), { width: map.width, height: map.height });
  const context = canvas.getContext("2d");
  const image = context.createImageData(map.width, map.height);
  map.values.forEach((v, i) => {
    const level = Math.min(levels - 1, Math.max(0, Math.floor(position(v) * (levels - 1) + 0.5)));
    image.data.set(palette.subarray(4 * level, 4 * level + 4), 4 * i);
  });
  context.putImageData(image, 0, 0);
  return canvas.toDataURL();
}
const plain = (map) => map && drawn(map, colours, (v) => v / data.top);
const signed = (map) => map && drawn(map, differences, (v) => (v / data.top + 1) / 2);

const slider = $("people-sigma");
const sigmaIndex = () => (slider ? Number(slider.value) : 0);
const chosen = (side) => {
  const select = $("head-" + side);
  const [layer, head] = select.value.split(":").map(Number);
  return { layer, head, name: select.selectedOptions[0].dataset.label };
};

function put(id, href) {
  const image = $(id);
  if (!image) return;
  if (href) image.setAttribute("href", href); else image.removeAttribute("href");
}
function say(side, i, name, score, label) {
  $(`words-${side}-${i}`).replaceChildren(Object.assign(document.createElement("b"), { textContent: name }), score ? ", " + score : "");
  $(`map-${side}-${i}`)?.closest("svg").setAttribute("aria-label", label);
}

function showHead(side, i) {
  const { layer, head, name } = chosen(side);
  const value = data.objects[i].scores[layer]?.[head]?.[sigmaIndex()];
  const score = value == null ? "" : `${data.measures[sigmaIndex()]} ${value.toFixed(2).replace("-", "\u2212")}`;
  put(`map-${side}-${i}`, plain(headMap(data.objects[i], layer, head)));
  say(side, i, name, score, `Attention of ${name}. ${score}`);
}

function show(i) {
  const object = data.objects[i];
  const people = peopleMap(object, data.sigmas[sigmaIndex()] * object.pxPerSigma);
  put(`people-${i}`, plain(people));
  showHead("a", i);
  if ($("head-b").value !== "difference") { showHead("b", i); return; }
  const { layer, head, name } = chosen("a");
  const map = headMap(object, layer, head);
  put(`map-b-${i}`, people && map && signed(minus(people, map)));
  say("b", i, `people minus ${name}`, "", `People's map minus attention of ${name}`);
}

// Only what is in sight is drawn at once; the rest when it comes into sight, or to paper.
const stale = new Set();
const inSight = new Set();
function refresh() {
  for (const i of stale) if (inSight.has(i)) { show(i); stale.delete(i); }
}
let waiting = false;
function choose() {
  data.objects.forEach((_, i) => stale.add(i));
  if (slider) {
    const number = Number(data.sigmas[sigmaIndex()].toPrecision(6));
    $("sigma-text").textContent = String(number) + slider.dataset.unit;
    slider.setAttribute("aria-valuetext", $("sigma-text").textContent);
  }
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; refresh(); });
}
const sight = new IntersectionObserver((entries) => {
  for (const e of entries) {
    const i = Number(e.target.dataset.object);
    if (e.isIntersecting) inSight.add(i); else inSight.delete(i);
  }
  refresh();
}, { rootMargin: "400px" });
for (const object of look.querySelectorAll(".object")) sight.observe(object);
addEventListener("beforeprint", () => { for (const i of stale) show(i); stale.clear(); });

for (const id of ["head-a", "head-b"]) $(id).addEventListener("change", choose);
slider?.addEventListener("input", choose);
// A browser may keep a choice over a reload: the maps follow it.
if (look.querySelector(".object")) choose();

const box = $("show-fixations");
const lay = () => look.classList.toggle("with-fixations", box.checked);
box.addEventListener("change", lay);
lay();

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = button.dataset.of ? $(button.dataset.of) : button.closest(".table").querySelector("table");
    const text = source.rows
      ? [...source.rows].map((r) => [...r.cells].map((c) => c.textContent.trim()).join("\t")).join("\n")
      : source.textContent.trim();
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // Pages opened from a disk may not use the clipboard everywhere: select it instead.
      const range = document.createRange();
      range.selectNode(source);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "Selected: copy with Ctrl+C";
    }
    setTimeout(() => (button.textContent = "Copy"), 2500);
  });
}
