// What an adapter file says of itself, read in the browser from its head. The server checks all of it; this is a courtesy.

const MOST_HEADER = 65536;

/** The `adakron` description in a safetensors file; null where there is none to be read. */
export async function describe(file) {
  try {
    const length = Number(new DataView(await file.slice(0, 8).arrayBuffer()).getBigUint64(0, true));
    if (length > MOST_HEADER) return null;
    const header = JSON.parse(await file.slice(8, 8 + length).text());
    return JSON.parse(header.__metadata__.adakron);
  } catch {
    return null;
  }
}

/** A name for the task of such a file: "sst2" of "SST2.safetensors"; "" where the name says nothing. */
export function taskOf(fileName) {
  const stem = fileName.replace(/(\.safetensors|\.bin)?$/i, "").replace(/-[0-9]+$/, "").toLowerCase();
  const name = stem.replace(/[^a-z0-9-]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 63);
  return name === "adapter" || name === "model" ? "" : name;
}
