import RetentionModel
import SafeSQL

extension RetentionSchema {
  /// `029_storage_history.sql`: how the totals of the storage have changed over time.
  func storageHistoryTable() -> Artefact {
    Artefact(
      path: "029_storage_history.sql",
      kind: .versioned,
      purpose: [
        "What was stored when, by storage class: every real cleanup records it when it ends. One row a day and class, of",
        "the day's last cleanup, so that it stays small however often a cleanup runs: 365 rows a year and class.",
      ],
      locks: ["none on existing tables"],
      body: """
        CREATE TABLE IF NOT EXISTS \(storageHistory) (
          recorded_on   date NOT NULL,
          storage_class text NOT NULL,
          recorded_at   timestamptz NOT NULL,
          blobs         bigint NOT NULL,
          bytes         bigint NOT NULL,
          PRIMARY KEY (recorded_on, storage_class)
        );
        COMMENT ON TABLE \(storageHistory) IS 'Blobs and their bytes by storage class, at the end of each day''s last real cleanup.';
        COMMENT ON COLUMN \(storageHistory).recorded_on IS 'The day of recorded_at, in UTC.';
        """
    )
  }

  var storageHistory: QualifiedName { names.qualified("storage_history") }

  /// Records what is stored, at the time `finished_at` of the one row that `run` has, if it has one.
  func recordStorageHistory(of run: SQL) -> SQL {
    let day: SQL = "(e.finished_at AT TIME ZONE 'UTC')::date"
    return """
      INSERT INTO \(storageHistory) AS h (recorded_on, storage_class, recorded_at, blobs, bytes)
      SELECT \(day), s.storage_class, e.finished_at, sum(s.blobs), sum(s.bytes)
      FROM \(run) AS e
      CROSS JOIN LATERAL (
        SELECT t.storage_class, t.blobs, t.bytes FROM \(storage) AS t
        UNION ALL
        -- A class of which nothing has been left since an earlier run of the day.
        SELECT p.storage_class, 0, 0 FROM \(storageHistory) AS p WHERE p.recorded_on = \(day)
      ) AS s
      GROUP BY e.finished_at, s.storage_class
      ORDER BY s.storage_class
      ON CONFLICT (recorded_on, storage_class) DO UPDATE
      SET recorded_at = EXCLUDED.recorded_at, blobs = EXCLUDED.blobs, bytes = EXCLUDED.bytes;
      """
  }
}
