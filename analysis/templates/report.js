// The page reads without this; it lets the reader choose heads, lay fixations over, and copy tables.
"use strict";
document.documentElement.classList.add("js");

const look = document.getElementById("look");
const data = JSON.parse(document.getElementById("look-data").textContent);

function show(side) {
  const select = document.getElementById("head-" + side);
  if (!select) return;
  const [layer, head] = select.value.split(":").map(Number);
  const name = select.selectedOptions[0].dataset.label;
  data.maps.forEach((maps, i) => {
    const image = document.getElementById(`map-${side}-${i}`);
    const words = document.getElementById(`words-${side}-${i}`);
    const href = (maps[layer] || [])[head];
    if (!image) return;
    if (href) image.setAttribute("href", href); else image.removeAttribute("href");
    const score = (data.scores[i][layer] || [])[head] || "";
    words.innerHTML = "";
    words.append(Object.assign(document.createElement("b"), { textContent: name }), score ? ", " + score : "");
    image.closest("svg").setAttribute("aria-label", `Attention of ${name}. ${score}`);
  });
}

for (const side of ["a", "b"]) {
  const select = document.getElementById("head-" + side);
  // A browser may keep a choice over a reload: the maps follow it.
  if (select) { select.addEventListener("change", () => show(side)); show(side); }
}
const box = document.getElementById("show-fixations");
if (box) {
  const lay = () => look.classList.toggle("with-fixations", box.checked);
  box.addEventListener("change", lay);
  lay();
}

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const table = button.closest(".table").querySelector("table");
    const text = [...table.rows].map((r) => [...r.cells].map((c) => c.textContent.trim()).join("\t")).join("\n");
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // Pages opened from a disk may not use the clipboard everywhere: select the table instead.
      const range = document.createRange();
      range.selectNode(table);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "Selected: copy with Ctrl+C";
    }
    setTimeout(() => (button.textContent = "Copy"), 2500);
  });
}
