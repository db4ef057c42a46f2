// Remedies for refused requests, by reason code, else by error type or status (docs/http-api.md, docs/adapter-format.md).

const WHOLE_FILE = "The file is not a valid safetensors file. Copy it again, or check it with: adakron inspect FILE.";
const RETRAIN = "The file was not written by adakron train of this release. Train again, or check the file with: adakron inspect FILE.";
const TENSORS = "The tensors do not match the config. Publish the adapter.safetensors of a training run unchanged.";
const WEIGHTS = "The weights are unusable: the training has probably diverged. Train again with a lower learning rate.";

const CHANGED = "A proxy has changed the request: try without it, or ask the operator.";
const SLOW = "The connection is too slow: try again from a network closer to the server.";

const BY_REASON = {
  other_backbone: "Train the adapter on the backbone of this server (shown at the top of the page), or publish it on a server with the adapter's own backbone.",
  other_tokenizer: "Train the adapter with the tokenizer of this server's backbone.",
  container_foreign_format: "Only safetensors files are accepted: publish the adapter.safetensors that adakron train writes.",
  container_truncated: "The file is incomplete: copy it again.",
  file_too_large: "An adapter file may have at most 64 MiB: use a smaller bottleneck.",
  format_version: "The file comes from another release: upgrade this server, or train with the release of this server.",
  pooling: "Train with --pooling mean or cls, or serve a backbone with a pooler.",
  golden_examples: "This server computes other logits than the trainer did. Train again with the library versions of this server.",
  no_effect: "The adapter does not change the answers: it is probably untrained.",
  over_memory: "Ask the operator to raise ADAKRON_ADAPTER_MEMORY_BYTES, or use a smaller bottleneck.",
  check_timeout: "Try again when the server is less busy, or ask the operator to raise ADAKRON_CHECK_TIMEOUT_S.",
  check_crashed: "The file crashed the process that checked it. Do not upload it again; check it with: adakron inspect FILE.",
  too_many_uploads: "Wait until the other uploads have finished, then try again.",
  body_too_large: "The request exceeds a limit of this server: use a smaller bottleneck, or ask the operator to raise ADAKRON_MAX_UPLOAD_BYTES or ADAKRON_MAX_BODY_BYTES.",
  body_timeout: SLOW,
  body_cut: "The connection broke: try again.",
  body_empty: "The file is empty: choose another file.",
  content_digest: "The file was damaged in transit: try again.",
  content_digest_form: "A proxy has changed a header: try without it.",
  content_type: "A proxy has changed a header: try without it.",
  content_encoding: "A proxy has compressed the file: try without it.",
  task_name: "Use at most 63 lower-case letters, digits and hyphens, and begin with a letter or digit.",
  incompatible: "Change the clients first, or choose Activate and allow the change. The uploaded file is published but not live.",
  key_missing: "Enter a key at the top right of the page.",
  key_unknown: "Check that the key is complete and belongs to this server.",
  key_revoked: "Ask an administrator for a new key.",
  key_scope: "Use a key with this scope, or ask an administrator to create one: adakron keys create NAME --scope SCOPE.",
  key_task: "Use a key for this task or for every task.",
};

const BUSY = "The server is overloaded: try again in a few seconds.";

const BY_PREFIX = [
  [/^queued_|^predicted_latency$/, BUSY],
  [/^deadline$/, "The answer would come too late: try again, or with fewer texts."],
  [/^container_/, WHOLE_FILE],
  [/^(metadata|label|gate)_|^(config|gates|task_type|temperature|max_length|metrics|examples)$/, RETRAIN],
  [/^tensor_|^(bottleneck|layer_index)$/, TENSORS],
  [/^(not_finite|magnitude)$|^dry_run_/, WEIGHTS],
];

const BY_TYPE = {
  precondition_failed: "Another user has moved the alias. Check where it points now, then decide again.",
  alias_conflict: "Check where the aliases point: a version with an alias cannot be deleted, and a damaged version cannot get one.",
  unknown_task: "Reload the list of tasks.",
  unknown_version: "Reload the task: the version or alias no longer exists.",
  overloaded: BUSY,
  timeout: "The server did not answer in time: try again, or send fewer texts.",
  storage_full: "The registry's disk is full: delete versions, or ask the operator for more space.",
  registry_unavailable: "The database does not answer. The change may have been saved: check before you try again.",
  checker_unavailable: "Uploads cannot be checked at the moment: ask the operator to read the server's log.",
  shutting_down: "The server is shutting down: try again in a moment.",
  engine_died: "The engine has crashed and the server is restarting: try again in a moment.",
  engine_hangs: "The engine hangs. A change may have been saved: check before you try again, or ask the operator to restart the server.",
  internal: "A bug of the server: send the request again, and give the operator the request's id.",
  adapter_unavailable: "The adapter file is damaged or does not fit into memory: publish the same file again, or ask the operator.",
  incompatible: BY_REASON.incompatible,
  malformed_json: CHANGED,
  malformed_http: CHANGED,
  target_too_long: CHANGED,
  head_too_large: CHANGED,
  not_implemented: CHANGED,
  head_timeout: SLOW,
  not_found: "This server has no such route: it may run another release, or serve the admin API on another port.",
};

/** The remedy for a refused request; "" if its message is enough. */
export function hintFor({ reason, type, status }) {
  if (reason in BY_REASON) return BY_REASON[reason];
  const group = BY_PREFIX.find(([pattern]) => reason && pattern.test(reason));
  if (group) return group[1];
  if (type in BY_TYPE) return BY_TYPE[type];
  return status === 0 ? "Check that the server is running, then try again." : "";
}
