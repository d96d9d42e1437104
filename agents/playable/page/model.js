// The world model and the actor: ONNX graphs, computed by ONNX Runtime Web in one thread.
import * as ort from "./vendor/ort.js";

// Return the bytes of a file; unpacked if they are gzip, as a server may have done already.
export async function fetchBytes(path) {
  const answer = await fetch(new URL(path, import.meta.url));
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${answer.statusText}`);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(unpacked).arrayBuffer());
}

export async function loadModel() {
  const [about, wasm, step, actor] = await Promise.all([
    fetchBytes("dream/about.json"), fetchBytes("vendor/ort.wasm.gz"),
    fetchBytes("dream/step.onnx.gz"), fetchBytes("dream/actor.onnx.gz"),
  ]);
  Object.assign(ort.env.wasm, { wasmBinary: wasm, numThreads: 1 });
  const options = { executionProviders: ["wasm"], graphOptimizationLevel: "all" };
  return new Model(
    JSON.parse(new TextDecoder().decode(about)),
    await ort.InferenceSession.create(step, options),
    await ort.InferenceSession.create(actor, options),
  );
}

const row = (numbers) => new ort.Tensor("float32", Float32Array.from(numbers), [1, numbers.length]);

// A state is { recurrent, latent }, arrays of numbers.
export class Model {
  constructor(about, stepSession, actorSession) {
    Object.assign(this, { about, stepSession, actorSession });
  }

  // Imagine one decision. Noise are the normal numbers that the world model draws.
  async step(state, action, noise) {
    const found = await this.stepSession.run({
      recurrent: row(state.recurrent), latent: row(state.latent), action: row(action), noise: row(noise),
    });
    return {
      state: { recurrent: found.next_recurrent.data, latent: found.next_latent.data },
      frame: found.frame.data, // H W C bytes
      reward: found.reward.data[0],
      continuation: found.continuation.data[0],
      // nats: of the motion, of the encoder, of the pixels
      surprise: this.about.usual
        ? [found.log_prior, found.log_volume, found.log_pixels].map((part) => -part.data[0])
        : null,
    };
  }

  // Return the actor's action; noise of zeros gives its mode.
  async act(state, noise) {
    const found = await this.actorSession.run({
      recurrent: row(state.recurrent), latent: row(state.latent), noise: row(noise),
    });
    return Array.from(found.action.data);
  }
}

// Return standard normal numbers times a factor (Box and Muller, 1958).
export function normals(count, factor) {
  return Array.from({ length: count }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - Math.random()));
    return factor * radius * Math.cos(2 * Math.PI * Math.random());
  });
}
