// One dream: its state, what was imagined so far, and whether the model knows its way.
import { normals } from "./model.js";

const KEPT = 200; // decisions

export class Play {
  constructor(model, starts) {
    Object.assign(this, { model, starts, temperature: 1, exploration: 0 });
    this.reset(0);
  }

  // Begin with one of the recorded frames.
  reset(index = this.start) {
    this.start = index;
    this.state = this.model.about.starts[index];
    this.frame = this.starts[index];
    Object.assign(this, { history: [], total: 0, decisions: 0, outside: false });
  }

  async agentAction() {
    return this.model.act(this.state, normals(this.model.about.actions, this.exploration));
  }

  // Imagine one decision.
  async step(action) {
    const noise = normals(this.model.about.noise, this.temperature);
    const made = await this.model.step(this.state, action, noise);
    Object.assign(this, { state: made.state, frame: made.frame });
    this.history.push(made);
    made.scores = this.scores();
    const enough = this.history.length >= (this.model.about.usual?.window ?? Infinity);
    made.outside = this.outside = enough && Math.max(...made.scores) > 1;
    this.total += made.reward;
    this.decisions += 1;
    if (this.history.length > KEPT) this.history.shift();
    return made;
  }

  // Return the parts of the surprise over the last decisions: 0 is their usual value, 1 their limit.
  scores() {
    const { usual } = this.model.about;
    if (!usual) return null;
    const recent = this.history.slice(-usual.window);
    return usual.highest.map((highest, part) => {
      const mean = recent.reduce((sum, made) => sum + made.surprise[part], 0) / recent.length;
      return (mean - usual.median[part]) / Math.max(highest - usual.median[part], 1e-6);
    });
  }
}
