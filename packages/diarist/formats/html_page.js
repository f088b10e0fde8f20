"use strict";
const audio = document.querySelector("audio");
const timeline = document.querySelector(".timeline");
const playhead = document.querySelector(".timeline line");
const list = document.querySelector("ol");
const follow = document.querySelector("#follow");
const calm = matchMedia("(prefers-reduced-motion: reduce)");

// Everything in the text that has a time, in the order of time: segments may overlap, so the page's order is another.
const timed = [...document.querySelectorAll("p [data-t]")]
  .map((node) => ({ node, start: Number(node.dataset.t), end: Number(node.dataset.e) }))
  .sort((a, b) => a.start - b.start);
const segments = list ? [...list.children] : [];
const startOf = (segment) => Number(segment.dataset.t);
let shown = null;

function lastStarted(time) {
  let low = 0;
  let high = timed.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (timed[middle].start <= time) low = middle + 1;
    else high = middle;
  }
  return timed[low - 1] ?? null;
}

function show() {
  const time = audio.currentTime;
  if (playhead) {
    playhead.setAttribute("x1", time);
    playhead.setAttribute("x2", time);
  }
  const last = lastStarted(time);
  const node = last && time < last.end + 0.3 ? last.node : null;
  if (node === shown) return;
  const before = shown?.closest("li");
  const now = node?.closest("li");
  shown?.classList.remove("on");
  node?.classList.add("on");
  shown = node;
  if (now === before) return;
  before?.classList.remove("now");
  now?.classList.add("now");
  if (now && follow.checked && !audio.paused) {
    now.scrollIntoView({ block: "nearest", behavior: calm.matches ? "auto" : "smooth" });
  }
}

function tick() {
  show();
  if (!audio.paused) requestAnimationFrame(tick);
}

function seek(time, play = true) {
  if (!document.body.classList.contains("playable")) return;
  audio.currentTime = Math.max(0, time);
  show();
  if (play) audio.play();
}

function step(direction) {
  const time = audio.currentTime;
  const starts = segments.map(startOf).sort((a, b) => a - b);
  const next = direction > 0 ? starts.find((start) => start > time + 0.05) : starts.findLast((start) => start < time - 0.7);
  seek(next ?? (direction > 0 ? time : 0), !audio.paused);
}

const keys = {
  " ": () => (audio.paused ? audio.play() : audio.pause()),
  ArrowLeft: () => seek(audio.currentTime - 5, !audio.paused),
  ArrowRight: () => seek(audio.currentTime + 5, !audio.paused),
  ArrowUp: () => step(-1),
  ArrowDown: () => step(1),
};

document.addEventListener("keydown", (event) => {
  const own = event.target.closest("input, button, audio");  // these have a use for the keys themselves
  const act = keys[event.key];
  if (!act || own || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
  if (!document.body.classList.contains("playable")) return;
  event.preventDefault();
  act();
});

document.addEventListener("click", (event) => {
  const place = event.target.closest("p [data-t], li > a");
  if (!place || !getSelection().isCollapsed) return;  // selecting text is not clicking it
  seek(Number((place.dataset.t ? place : place.parentNode).dataset.t));
});

timeline?.addEventListener("click", (event) => {
  const box = timeline.getBoundingClientRect();
  seek(((event.clientX - box.left) / box.width) * timeline.viewBox.baseVal.width);
});

audio.addEventListener("play", tick);
audio.addEventListener("seeked", show);
audio.addEventListener("timeupdate", show);

document.querySelector("#file")?.addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (!file) return;
  audio.src = URL.createObjectURL(file);
  audio.hidden = false;
  document.body.classList.add("playable");
  timeline?.classList.add("playable");
});

document.addEventListener("input", (event) => {
  const speaker = event.target.dataset.speaker;
  if (speaker === undefined) return;
  const name = event.target.value.trim() || event.target.defaultValue;
  for (const node of document.querySelectorAll(`b[data-speaker="${speaker}"]`)) node.textContent = name;
});

document.querySelector("#save").addEventListener("click", () => {
  const lines = segments.map((segment) => {
    const name = segment.querySelector("b")?.textContent;
    return `[${segment.querySelector("a").textContent}] ${name ? `${name}: ` : ""}${segment.querySelector("p").textContent}\n`;
  });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(lines, { type: "text/plain" }));
  link.download = `${document.title}.txt`;
  link.click();
  URL.revokeObjectURL(link.href);
});

const linked = document.getElementById(location.hash.slice(1));  // a link to a segment, page.html#s12
if (linked?.dataset.t) audio.addEventListener("loadedmetadata", () => seek(startOf(linked), false), { once: true });
