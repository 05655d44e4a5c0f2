import RetentionModel
import SafeSQL

extension RetentionSchema {
  /// The names of the count columns of a run, in the order in which a cleanup deletes.
  var deletedColumns: [(name: String, description: String)] {
    model.classes.flatMap { dataClass in
      [(dataClass.name, dataClass.table)] + dataClass.parts.map { ($0.name, $0.table) }
    }.map { ("deleted_\($0.0)", "Rows deleted from \($0.1).") }
      + [("deleted_\(blobs.plural)", "Blobs deleted from \(blobs.table).")]
  }

  /// All count columns of a run that the cleanup reports.
  var countColumns: [(name: String, description: String)] {
    deletedColumns + [
      ("freed_bytes", "Bytes of the deleted blobs."),
      ("busy_\(blobs.plural)", "Blobs left for the next run because another transaction was using them."),
    ]
  }

  /// `020_retention_tables.sql`: what the retention itself keeps.
  func retentionTables() -> Artefact {
    let windows = (model.classes.map(\.name) + [blobs.plural]).map { name -> SQL in
      """
      \(Identifier("\(name)_retention_days")) integer CHECK (\(Identifier("\(name)_retention_days")) BETWEEN 1 AND 36500)
      """
    }
    let counts = countColumns.map { column -> SQL in "\(Identifier(column.name)) bigint NOT NULL DEFAULT 0" }
    return Artefact(
      path: "020_retention_tables.sql",
      kind: .versioned,
      purpose: [
        "The tables of the retention itself: the ledger of reference changes, references to blobs that are",
        "not here (yet), later puts, anomalies, the policy (one row) and the record of all cleanup runs.",
      ],
      locks: ["none on existing tables"],
      lintException: .init(
        rules: ["prefer-bigint-over-int"],
        reason: ["The integers are days and rows of a batch; a CHECK holds each far below the largest integer."]
      ),
      body: """
        CREATE TABLE IF NOT EXISTS \(ledger) (
          hash        \(keyType),
          delta       bigint NOT NULL,
          recorded_at timestamptz NOT NULL DEFAULT now(),
          is_put      boolean NOT NULL DEFAULT false
        ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
        COMMENT ON TABLE \(ledger) IS 'Changes of references that are not folded into refcount yet. Append-only and without an index, so that no writer ever waits for another. (hash, 0) marks a blob''s arrival or put; a row without a hash asks the next fold for a recount.';
        COMMENT ON COLUMN \(ledger).delta IS 'References gained (positive) or lost (negative).';
        COMMENT ON COLUMN \(ledger).is_put IS 'The blob was put again or touched at recorded_at.';
        \(identifyByWholeRow(ledger))

        CREATE TABLE IF NOT EXISTS \(unresolved) (
          hash     \(keyType) PRIMARY KEY,
          refcount bigint NOT NULL CHECK (refcount > 0)
        );
        COMMENT ON TABLE \(unresolved) IS 'References to blobs that are not here: late binding. The fold after a blob''s arrival moves them to the blob.';

        CREATE TABLE IF NOT EXISTS \(puts) (
          hash   \(keyType) PRIMARY KEY,
          put_at timestamptz NOT NULL
        );
        COMMENT ON TABLE \(puts) IS 'When a blob was last put again or touched. Its first put is the blob row''s own creation time.';

        CREATE TABLE IF NOT EXISTS \(anomalies) (
          id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          recorded_at timestamptz NOT NULL DEFAULT now(),
          hash        \(keyType) NOT NULL,
          stored      bigint NOT NULL,
          delta       bigint NOT NULL
        );
        COMMENT ON TABLE \(anomalies) IS \(literal: "Folds that would have taken a refcount below zero; it was set to zero instead. Each one means that counting was bypassed: run \(names.identifier("verify_refcounts").quoted)().");

        CREATE SEQUENCE IF NOT EXISTS \(adjustments);
        COMMENT ON SEQUENCE \(adjustments) IS 'Counts the adjustments of refcount. A sequence, because it blocks nobody; rolled back adjustments count too.';

        CREATE TABLE IF NOT EXISTS \(policy) (
          only_row                boolean PRIMARY KEY DEFAULT true CHECK (only_row),
          retention_days          integer NOT NULL DEFAULT 30 CHECK (retention_days BETWEEN -36500 AND 36500),
          \(SQL.joined(windows)),
          dry_run                 boolean NOT NULL DEFAULT false,
          batch_size              integer NOT NULL DEFAULT 1000 CHECK (batch_size BETWEEN 1 AND 100000),
          batch_pause             interval NOT NULL DEFAULT '0' CHECK (batch_pause BETWEEN '0' AND '1 minute'),
          max_duration            interval CHECK (max_duration > '0'),
          protected_statuses      text[] NOT NULL DEFAULT '{}',
          max_delete_fraction     numeric CHECK (max_delete_fraction BETWEEN 0 AND 1),
          offload_threshold_bytes bigint NOT NULL DEFAULT 1048576 CHECK (offload_threshold_bytes >= 0),
          max_inline_bytes        bigint CHECK (max_inline_bytes >= 0),
          installed_at            timestamptz NOT NULL DEFAULT now()
        );
        INSERT INTO \(policy) DEFAULT VALUES ON CONFLICT DO NOTHING;
        COMMENT ON TABLE \(policy) IS 'What a cleanup keeps and how it works: one row, changed with a plain UPDATE.';
        COMMENT ON COLUMN \(policy).retention_days IS 'Days that everything is kept unless its own column says otherwise; 0 or less: the cleanup is disabled.';
        COMMENT ON COLUMN \(policy).dry_run IS 'Whether a cleanup that is not told only counts.';
        COMMENT ON COLUMN \(policy).batch_size IS 'Rows of the main table that a cleanup handles in one transaction.';
        COMMENT ON COLUMN \(policy).batch_pause IS 'Pause between two batches.';
        COMMENT ON COLUMN \(policy).max_duration IS 'A run that lasts longer ends with status partial; NULL: no limit.';
        COMMENT ON COLUMN \(policy).protected_statuses IS 'Rows in one of these states stay, and so does what depends on them.';
        COMMENT ON COLUMN \(policy).max_delete_fraction IS 'A run that would delete a larger share of a table (0.5: half) does not start; NULL: no limit.';
        COMMENT ON COLUMN \(policy).offload_threshold_bytes IS 'Blobs larger than this belong in the object store.';
        COMMENT ON COLUMN \(policy).max_inline_bytes IS 'A larger inline blob is refused; NULL: no limit.';

        CREATE TABLE IF NOT EXISTS \(runs) (
          id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
          finished_at timestamptz,
          cutoff      timestamptz,
          dry_run     boolean NOT NULL,
          status      text NOT NULL CHECK (status IN
            ('running', 'completed', 'partial', 'skipped', 'disabled', 'refused', 'failed', 'interrupted')),
          \(SQL.joined(counts)),
          busy_rows   bigint NOT NULL DEFAULT 0,
          batches     bigint NOT NULL DEFAULT 0,
          error       text
        );
        COMMENT ON TABLE \(runs) IS 'Every cleanup run, also those that failed. A run that is killed stays running until the next one marks it interrupted.';
        COMMENT ON COLUMN \(runs).cutoff IS 'The cutoff that the caller gave; NULL: the windows of the policy.';
        COMMENT ON COLUMN \(runs).busy_rows IS 'Expired rows left for the next run because another transaction had locked them.';
        \(SQL.joined(countColumns.map { "COMMENT ON COLUMN \(runs).\(Identifier($0.name)) IS \(literal: $0.description);" }, separator: "\n"))
        """
    )
  }
}
