import SafeSQL

/// What a user writes who has no retention yet. It gives the same result when nobody else writes, and no more care was
/// taken than one takes at first: no batches, no thought of who waits for whom.
enum HandWritten {
  /// One trigger function for all tables: the count of each hash goes up or down, hash after hash, row after row.
  static let rowsTriggers: SQL = """
    CREATE FUNCTION count_references(hashes text[], step bigint) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
      h text;
    BEGIN
      FOREACH h IN ARRAY hashes LOOP
        UPDATE jam_preimages SET refcount = refcount + step WHERE hash = h;
      END LOOP;
    END $$;
    CREATE FUNCTION hashes_in(content bytea) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
      SELECT coalesce(array_agg(m[1]), '{}') FROM regexp_matches(encode(content, 'escape'), '[0-9a-f]{64}', 'g') AS m
    $$;
    CREATE FUNCTION count_array() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP <> 'INSERT' THEN PERFORM count_references(OLD.preimage_hashes, -1); END IF;
      IF TG_OP <> 'DELETE' THEN PERFORM count_references(NEW.preimage_hashes, 1); END IF;
      RETURN NULL;
    END $$;
    CREATE FUNCTION count_content() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP <> 'INSERT' THEN PERFORM count_references(hashes_in(OLD.refine_output_compact), -1); END IF;
      IF TG_OP <> 'DELETE' THEN PERFORM count_references(hashes_in(NEW.refine_output_compact), 1); END IF;
      RETURN NULL;
    END $$;
    CREATE TRIGGER count AFTER INSERT OR DELETE OR UPDATE OF preimage_hashes ON jam_work_packages
      FOR EACH ROW EXECUTE FUNCTION count_array();
    CREATE TRIGGER count AFTER INSERT OR DELETE OR UPDATE OF preimage_hashes ON jam_work_items
      FOR EACH ROW EXECUTE FUNCTION count_array();
    CREATE TRIGGER count AFTER INSERT OR DELETE OR UPDATE OF refine_output_compact ON jam_work_reports
      FOR EACH ROW EXECUTE FUNCTION count_content();
    """

  /// Every reference that a row holds.
  private static let references: SQL = """
    SELECT unnest(preimage_hashes) AS hash FROM jam_work_packages
    UNION ALL SELECT unnest(preimage_hashes) FROM jam_work_items
    UNION ALL SELECT code_hash FROM jam_services
    UNION ALL SELECT code_hash FROM jam_service_versions
    UNION ALL SELECT (regexp_matches(encode(refine_output_compact, 'escape'), '[0-9a-f]{64}', 'g'))[1] FROM jam_work_reports
    """

  /// What the counts are, for rows that came before the triggers.
  static let rowsBackfill: SQL = """
    UPDATE jam_preimages AS b SET refcount = r.n
    FROM (SELECT r.hash, count(*) AS n FROM (\(references)) AS r GROUP BY r.hash) AS r
    WHERE r.hash = b.hash AND b.refcount <> r.n
    """

  private static let expired: [SQL] = [
    "DELETE FROM jam_work_reports WHERE created_at < \(Dataset.cutoff)",
    """
    DELETE FROM jam_work_packages AS p WHERE p.created_at < \(Dataset.cutoff)
      AND NOT EXISTS (SELECT FROM jam_work_reports AS r WHERE r.package_id = p.id)
    """,
  ]

  static let rowsCleanup: [SQL] =
    expired + ["DELETE FROM jam_preimages WHERE refcount = 0 AND created_at < \(Dataset.cutoff)"]

  static let joinsCleanup: [SQL] =
    expired + [
      """
      DELETE FROM jam_preimages AS b WHERE b.created_at < \(Dataset.cutoff)
        AND NOT EXISTS (SELECT FROM (\(references)) AS r WHERE r.hash = b.hash)
      """
    ]
}
