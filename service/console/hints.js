// What to do about a refusal, by its reason code, else by its type or status (docs/http-api.md, docs/adapter-format.md).

const WHOLE_FILE = "The file is not a clean safetensors file. Copy it again, or look at it with: adakron inspect FILE.";
const RETRAIN = "The file was not written by this release's training. Train it again with adakron train, or look at it with: adakron inspect FILE.";
const TENSORS = "Tensors and config of the file do not belong together. Publish the adapter.safetensors of a training as it is.";
const WEIGHTS = "The weights are unusable: the training has probably diverged. Train again, with a lower learning rate.";

const CHANGED = "Something between this page and the server has changed the request: try without the proxy, or ask the operator.";
const SLOW = "The connection is too slow: try again nearer to the server.";

const BY_REASON = {
  other_backbone: "Train the adapter on the backbone that this server has (shown at the top of the page), or publish it where its own is served.",
  other_tokenizer: "Train the adapter with the tokenizer of this server's backbone.",
  container_foreign_format: "Only safetensors files are read: publish the adapter.safetensors that adakron train writes.",
  container_truncated: "The file is cut off: copy it again.",
  file_too_large: "An adapter has at most 64 MiB: use a smaller bottleneck.",
  format_version: "The file is of another release: upgrade this server, or train with its release.",
  pooling: "Train with --pooling mean or cls, or serve a backbone that has a pooler.",
  golden_examples: "Here the file does not give what it gave where it was trained. Train again with the library versions of this server.",
  no_effect: "The adapter changes nothing: it has probably not been trained.",
  over_memory: "Ask the operator for more ADAKRON_ADAPTER_MEMORY_BYTES, or use a smaller bottleneck.",
  check_timeout: "Try again when the server has less to do; or ask the operator for more ADAKRON_CHECK_TIMEOUT_S.",
  check_crashed: "The check of this file ended the process that made it. Do not try it again; look at it with: adakron inspect FILE.",
  too_many_uploads: "Wait until the other uploads are done, and try again.",
  body_too_large: "Over the limit of this server: use a smaller bottleneck, or ask the operator (ADAKRON_MAX_UPLOAD_BYTES, ADAKRON_MAX_BODY_BYTES).",
  body_timeout: SLOW,
  body_cut: "The connection broke: try again.",
  body_empty: "The file is empty: choose another.",
  content_digest: "The file was changed on its way: try again.",
  content_digest_form: "Something on the way has changed a header: try without the proxy.",
  content_type: "Something on the way has changed a header: try without the proxy.",
  content_encoding: "Something on the way has compressed the file: try without the proxy.",
  task_name: "Use lower-case letters, digits and hyphens, 63 at most, a letter or digit first.",
  incompatible: "Change the clients first, or allow it: Activate offers that. An uploaded file is published, and waits as a version.",
  key_missing: "Enter a key, at the top right of the page.",
  key_unknown: "Look whether the key was copied whole, and is of this server.",
  key_revoked: "Ask an administrator for a new key.",
  key_scope: "Use a key with that scope, or ask an administrator for one: adakron keys create NAME --scope SCOPE.",
  key_task: "Use a key that is for this task, or for every task.",
};

const BY_PREFIX = [
  [/^container_/, WHOLE_FILE],
  [/^(metadata|label)_|^(config|task_type|temperature|max_length|metrics|examples)$/, RETRAIN],
  [/^tensor_|^(bottleneck|layer_index)$/, TENSORS],
  [/^(not_finite|magnitude)$|^dry_run_/, WEIGHTS],
];

const BY_TYPE = {
  precondition_failed: "Somebody else has changed it meanwhile. Look at where it points now, and decide again.",
  alias_conflict: "Look at where the aliases point: a version in use cannot be deleted, and a damaged one not be used.",
  unknown_task: "Reload the list of tasks.",
  unknown_version: "Reload the task: the version or alias has gone.",
  overloaded: "The server has too much to do: try again in a few seconds.",
  timeout: "The server was too slow: try again, or with fewer texts.",
  storage_full: "The registry's disk is full: delete versions, or ask the operator.",
  registry_unavailable: "The database does not answer. The change may have been made: look before you try again.",
  checker_unavailable: "Uploads cannot be checked at present: ask the operator to look at the server's log.",
  shutting_down: "The server is ending: try again in a moment.",
  engine_died: "The server has lost its engine and ends: try again in a moment.",
  adapter_unavailable: "The adapter's bytes are damaged or there is no room: publish the same file again, or ask the operator.",
  incompatible: BY_REASON.incompatible,
  malformed_json: CHANGED,
  malformed_http: CHANGED,
  target_too_long: CHANGED,
  head_too_large: CHANGED,
  not_implemented: CHANGED,
  head_timeout: SLOW,
  not_found: "This server has no such route: it may be of another release, or have its admin API on another port.",
};

/** A sentence for whoever reads a refusal; "" where its message says all. */
export function hintFor({ reason, type, status }) {
  if (reason in BY_REASON) return BY_REASON[reason];
  const group = BY_PREFIX.find(([pattern]) => reason && pattern.test(reason));
  if (group) return group[1];
  if (type in BY_TYPE) return BY_TYPE[type];
  return status === 0 ? "Look whether the server is running, and try again." : "";
}
