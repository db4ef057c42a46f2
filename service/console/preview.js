// Reads the metadata of an adapter file in the browser for a preview. The server makes the real checks.

const MAX_HEADER_BYTES = 256 * 1024; // as on the server

/** Read the `adakron` metadata of a safetensors file; null if there are none. */
export async function describe(file) {
  try {
    const length = Number(new DataView(await file.slice(0, 8).arrayBuffer()).getBigUint64(0, true));
    if (length > MAX_HEADER_BYTES) return null;
    const header = JSON.parse(await file.slice(8, 8 + length).text());
    return JSON.parse(header.__metadata__.adakron);
  } catch {
    return null;
  }
}

/** Suggest a task name for a file: "sst2" for "SST2.safetensors"; "" for generic file names. */
export function taskOf(fileName) {
  const stem = fileName.replace(/(\.safetensors|\.bin)?$/i, "").replace(/-[0-9]+$/, "").toLowerCase();
  const name = stem.replace(/[^a-z0-9-]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 63);
  return name === "adapter" || name === "model" ? "" : name;
}
