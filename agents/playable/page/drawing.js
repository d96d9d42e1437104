// Canvases: frames, the strip of the last ones, plots.

const SHOWN = 150; // decisions of a plot
const NAMES = ["line", "faint", "accent", "green", "warm", "red"];
const ink = {}; // colours by name
const sizes = new Map(); // canvas -> its size on the screen

// Read colours and sizes from the page: when it is shown, resized or turned dark, not at every frame.
export function readLook(canvases) {
  const style = getComputedStyle(document.documentElement);
  for (const name of NAMES) ink[name] = style.getPropertyValue(`--${name}`).trim();
  for (const canvas of canvases) sizes.set(canvas, [canvas.clientWidth, canvas.clientHeight]);
}

// Return a frame, H W C bytes, as a picture.
export function picture(frame, [channels, height, width]) {
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i += 1) {
    for (let c = 0; c < 3; c += 1) image.data[4 * i + c] = frame[channels * i + (c % channels)];
    image.data[4 * i + 3] = 255;
  }
  return image;
}

export function drawFrame(canvas, frame, shape) {
  if (canvas.width !== shape[2]) [, canvas.height, canvas.width] = shape;
  canvas.getContext("2d").putImageData(picture(frame, shape), 0, 0);
}

// Fit a canvas to its size on the screen; return its context, in CSS pixels, and that size.
function prepare(canvas) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = sizes.get(canvas);
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return [context, width, height];
}

const small = document.createElement("canvas");

// Draw every `every`-th of the last frames, the newest on the right.
export function drawStrip(canvas, play, shape, every = 5) {
  const [context, width, height] = prepare(canvas);
  const side = height - 4;
  context.imageSmoothingEnabled = false;
  for (let k = 0; k * (side + 4) < width; k += 1) {
    const age = (play.decisions % every) + k * every;
    const made = play.history[play.history.length - 1 - age];
    if (!made) break;
    drawFrame(small, made.frame, shape);
    const x = width - (k + 1) * (side + 4) + 2;
    context.drawImage(small, x, 2, side, side);
    context.lineWidth = 2;
    context.strokeStyle = made.outside ? ink.red : ink.line;
    context.strokeRect(x - 1, 1, side + 2, side + 2);
  }
}

// Draw lines { values, colour } over the last decisions between two heights.
function drawLines(context, width, height, low, high, lines) {
  const at = (value) => height - 5 - ((value - low) / (high - low)) * (height - 10);
  for (const line of lines) {
    context.beginPath();
    line.values.forEach((value, i) => {
      const x = width - 2 - ((line.values.length - 1 - i) * (width - 4)) / (SHOWN - 1);
      const y = at(Math.min(high, Math.max(low, value)));
      if (i) context.lineTo(x, y);
      else context.moveTo(x, y);
    });
    context.strokeStyle = line.colour;
    context.lineWidth = line.wide ?? 1.6;
    context.stroke();
  }
  return at;
}

function level(context, width, y, text, colour) {
  context.strokeStyle = context.fillStyle = colour;
  context.setLineDash([3, 4]);
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(0, y);
  context.lineTo(width, y);
  context.stroke();
  context.setLineDash([]);
  context.font = "11px system-ui, sans-serif";
  context.fillText(text, 2, y > 14 ? y - 3 : y + 12);
}

export function drawRewards(canvas, play) {
  const [context, width, height] = prepare(canvas);
  const values = play.history.slice(-SHOWN).map((made) => made.reward);
  const low = Math.min(0, ...values);
  const high = Math.max(1, ...values);
  const at = drawLines(context, width, height, low, high, [{ values, colour: ink.accent }]);
  level(context, width, at(0), "0", ink.faint);
  level(context, width, at(high), high.toFixed(high < 10 ? 1 : 0), ink.faint);
}

export const PARTS = [["motion", "accent"], ["encoding", "green"], ["pixels", "warm"]];

export function drawSurprise(canvas, play) {
  const [context, width, height] = prepare(canvas);
  const shown = play.history.slice(-SHOWN);
  context.fillStyle = ink.red;
  context.globalAlpha = 0.16;
  shown.forEach((made, i) => {
    const each = (width - 4) / (SHOWN - 1);
    if (made.outside) context.fillRect(width - 2 - (shown.length - i) * each, 0, each + 0.5, height);
  });
  context.globalAlpha = 1;
  const lines = PARTS.map(([, name], part) => ({
    values: shown.map((made) => made.scores[part]), colour: ink[name],
  }));
  const at = drawLines(context, width, height, -1, 2, lines);
  level(context, width, at(1), "limit", ink.red);
  level(context, width, at(0), "usual", ink.faint);
}
