// Keys and sliders: what the player wants each action to be.

const PAIRS = [
  ["ArrowLeft", "ArrowRight"], ["ArrowDown", "ArrowUp"], ["a", "d"], ["s", "w"], ["j", "l"], ["k", "i"],
  ["f", "h"], ["g", "t"],
];
const SIGNS = { ArrowLeft: "←", ArrowRight: "→", ArrowDown: "↓", ArrowUp: "↑" };
const keyName = (event) => (event.key.length === 1 ? event.key.toLowerCase() : event.key);
const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

// Numbers in [-1, 1], one slider and two keys each; `touched` is called when the player does something.
export class Sliders {
  constructor(parent, count, touched) {
    this.base = new Array(count).fill(0);
    this.held = new Set();
    this.rows = this.base.map((_, i) => {
      const keys = (PAIRS[i] ?? []).map((key) => element("kbd", { textContent: SIGNS[key] ?? key.toUpperCase() }));
      const slider = element("input", { type: "range", min: -1, max: 1, step: 0.01, value: 0 });
      slider.setAttribute("aria-label", `action ${i + 1}`);
      slider.addEventListener("input", () => { this.base[i] = Number(slider.value); touched(); });
      slider.addEventListener("pointerup", () => slider.blur()); // keys play again
      const output = element("output");
      parent.append(element("div", { className: "action" }, element("span", {}, `${i + 1} `, ...keys), slider, output));
      return { keys, slider, output };
    });
  }

  handles(event) { return PAIRS.slice(0, this.base.length).flat().includes(keyName(event)); }

  key(event, down) {
    if (down) this.held.add(keyName(event));
    else this.held.delete(keyName(event));
  }

  release() { this.held.clear(); }

  clear() { this.base.fill(0); this.release(); }

  action() {
    return this.base.map((value, i) => {
      const [low, high] = (PAIRS[i] ?? []).map((key) => this.held.has(key));
      return low === high ? value : high ? 1 : -1;
    });
  }

  show(action) {
    this.rows.forEach(({ keys, slider, output }, i) => {
      slider.value = action[i];
      output.value = action[i].toFixed(2);
      keys.forEach((key, k) => key.classList.toggle("held", this.held.has(PAIRS[i][k])));
    });
  }
}

// One choice of several, with a button and a number key each.
export class Choices {
  constructor(parent, count, touched) {
    this.choice = 0;
    this.touched = touched;
    this.buttons = Array.from({ length: count }, (_, i) => {
      const button = element("button", { textContent: `choice ${i + 1}` });
      button.addEventListener("click", () => { this.choice = i; touched(); });
      return button;
    });
    parent.append(element("div", { className: "choices" }, ...this.buttons));
  }

  handles(event) { return Number(event.key) >= 1 && Number(event.key) <= this.buttons.length; }

  key(event, down) { if (down) this.choice = Number(event.key) - 1; }

  release() {}

  clear() { this.choice = 0; }

  action() { return this.buttons.map((_, i) => Number(i === this.choice)); }

  show(action) { this.buttons.forEach((button, i) => button.classList.toggle("chosen", action[i] > 0.5)); }
}
