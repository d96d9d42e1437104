// The page: loads the model, plays, shows.
import { Choices, Sliders } from "./controls.js";
import { PARTS, drawFrame, drawRewards, drawStrip, drawSurprise, readLook } from "./drawing.js";
import { loadModel } from "./model.js";
import { Play } from "./play.js";

const $ = (id) => document.getElementById(id);
const nats = (value) => value.toLocaleString("en", { maximumFractionDigits: 0 }).replace("-", "−");
const write = (node, html) => { if (node.written !== html) node.innerHTML = node.written = html; };
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// Return the recorded frames, which stand side by side in one picture.
async function loadStarts({ shape: [channels, height, width], starts }) {
  const image = new Image();
  image.src = new URL("dream/starts.png", import.meta.url);
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return starts.map((_, i) => {
    const { data } = context.getImageData(i * width, 0, width, height);
    return data.filter((_value, k) => k % 4 < channels);
  });
}

class Page {
  constructor(model, starts) {
    const { about } = model;
    this.model = model;
    this.play = new Play(model, starts);
    this.agent = true; // the agent plays
    this.paused = false;
    this.rate = 0; // decisions a second
    const Kind = about.discrete ? Choices : Sliders;
    this.controls = new Kind($("actions"), about.actions, () => this.takeOver());
    this.describe(about);
    this.makeStarts(starts);
    this.bind();
    this.look();
  }

  // Take colours and sizes from the page, and draw again.
  look() {
    readLook([$("strip"), $("rewards"), $("surprises")]);
    this.show();
  }

  describe(about) {
    $("task").textContent = about.task;
    document.title = `A dream of ${about.task}`;
    $("about").textContent = "Nothing here is simulated: every frame is imagined by a world model "
      + `(${about.model}) that has seen ${about.frames.toLocaleString("en")} frames of the task.`;
    $("likelihood").hidden = !about.usual;
    $("unscored").hidden = Boolean(about.usual);
    $("unscored").textContent = about.unscored ?? "";
    if (!about.usual) return;
    $("legend").innerHTML = PARTS.map(([name, ink], i) =>
      `<span><i style="background:var(--${ink})"></i>${name} <output id="part${i}"></output></span>`).join("");
  }

  makeStarts(starts) {
    starts.forEach((frame, i) => {
      const button = document.createElement("button");
      const canvas = document.createElement("canvas");
      button.setAttribute("aria-label", `begin with frame ${i + 1}`);
      button.append(canvas);
      button.addEventListener("click", () => this.reset(i));
      $("starts").append(button);
      drawFrame(canvas, frame, this.model.about.shape);
    });
  }

  bind() {
    $("hand").addEventListener("click", () => (this.agent ? this.takeOver() : this.handBack()));
    $("pause").addEventListener("click", () => this.pause());
    $("once").addEventListener("click", () => this.once());
    $("reset").addEventListener("click", () => this.reset());
    for (const id of ["temperature", "exploration", "speed"]) {
      $(id).addEventListener("input", () => this.adjust());
      $(id).addEventListener("pointerup", () => $(id).blur());
    }
    this.adjust();
    document.addEventListener("click", ({ target, detail }) => { // with a mouse, keys go on to play
      if (detail) target.closest("button")?.blur();
    });
    window.addEventListener("keydown", (event) => this.key(event, true));
    window.addEventListener("keyup", (event) => this.key(event, false));
    window.addEventListener("blur", () => this.controls.release());
    window.addEventListener("resize", () => this.look());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.look());
  }

  adjust() {
    this.play.temperature = Number($("temperature").value);
    this.play.exploration = Number($("exploration").value);
    this.speed = Number($("speed").value);
    $("temperaturevalue").value = this.play.temperature.toFixed(1);
    $("explorationvalue").value = this.play.exploration.toFixed(1);
  }

  key(event, down) {
    const { target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.type === "range" && event.key.startsWith("Arrow")) return; // it moves the slider
    if (target.tagName === "BUTTON" && [" ", "Enter"].includes(event.key)) return; // it is pressed
    const commands = {
      " ": () => this.pause(), ".": () => this.once(), r: () => this.reset(), Enter: () => this.handBack(),
    };
    if (this.controls.handles(event)) {
      this.controls.key(event, down);
      if (down) this.takeOver();
    } else if (commands[event.key.toLowerCase()] ?? commands[event.key]) {
      if (down && !event.repeat) (commands[event.key.toLowerCase()] ?? commands[event.key])();
    } else return;
    event.preventDefault();
  }

  takeOver() {
    this.agent = false;
    this.show();
  }

  handBack() {
    this.agent = true;
    this.controls.clear();
    this.show();
  }

  pause(paused = !this.paused) {
    this.paused = paused;
    this.show();
  }

  async once() {
    this.pause(true);
    await this.decide();
  }

  reset(index) {
    this.play.reset(index);
    this.show();
  }

  // Make one decision, unless one is being made.
  async decide() {
    if (this.deciding) return;
    this.deciding = true;
    try {
      const action = this.agent ? await this.play.agentAction() : this.controls.action();
      await this.play.step(action);
      this.controls.show(action);
      this.show();
    } finally {
      this.deciding = false;
    }
  }

  async run() {
    let last = performance.now();
    for (;;) {
      const begin = performance.now();
      if (!this.paused && !document.hidden) {
        await this.decide();
        const passed = begin - last;
        if (passed < 1000) this.rate += 0.1 * (1000 / Math.max(passed, 1) - this.rate);
      }
      last = begin;
      await sleep(Math.max(0, 1000 / this.speed - (performance.now() - begin)));
    }
  }

  show() {
    const { play, model: { about } } = this;
    const made = play.history[play.history.length - 1];
    drawFrame($("picture"), play.frame, about.shape);
    drawStrip($("strip"), play, about.shape);
    drawRewards($("rewards"), play);
    write($("who"), made ? (this.agent ? "the agent plays" : "you play") : "a recorded frame");
    write($("hand"), this.agent ? "Take over" : "Let the agent play <kbd>Enter</kbd>");
    write($("pause"), `${this.paused ? "Play" : "Pause"} <kbd>Space</kbd>`);
    $("speedvalue").value = this.paused ? "paused" : `${this.rate.toFixed(0)}/s`;
    $("frame").classList.toggle("outside", play.outside);
    $("outside").hidden = !play.outside;
    $("reward").value = made ? `${made.reward.toFixed(2)} · sum ${play.total.toFixed(1)}` : "";
    write($("hint"), made && made.continuation < 0.5
      ? "The model expects the episode to end here."
      : this.agent ? "Press a key of an action, or move its slider, to take over." : "&nbsp;");
    [...$("starts").children].forEach((button, i) => button.classList.toggle("chosen", i === play.start));
    if (!about.usual) return;
    drawSurprise($("surprises"), play);
    const parts = made?.surprise ?? [];
    $("surprise").value = made ? `${nats(parts.reduce((a, b) => a + b))} nats` : "";
    PARTS.forEach((_, i) => { $(`part${i}`).value = made ? nats(parts[i]) : ""; });
  }
}

try {
  const model = await loadModel();
  const starts = await loadStarts(model.about);
  $("message").hidden = true;
  $("page").hidden = false;
  window.dream = new Page(model, starts); // for tests and the console
  await window.dream.run();
} catch (error) {
  $("message").hidden = false;
  $("message").className = "failed";
  $("message").textContent = `The dream could not be loaded (${error.message}). The page needs a file server and a `
    + "browser of 2023 or later.";
  throw error;
}
