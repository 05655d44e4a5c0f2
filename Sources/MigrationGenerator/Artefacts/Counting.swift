import RetentionModel
import SafeSQL

extension RetentionSchema {
  /// `040_counting.sql`: the functions and views of reference counting.
  func counting() -> Artefact {
    Artefact(
      path: "040_counting.sql",
      kind: .repeatable,
      purpose: [
        "Functions and views of reference counting. The law that they keep, for every hash and in every snapshot:",
        "stored refcount + pending ledger entries + unresolved references = references that rows hold.",
        looksUpByKeyNote,
      ],
      locks: ["none on tables", locksOfViews],
      body: .joined(
        // Views in this order: a cleanup reads the first before the others, and a writer who deletes blobs the last.
        [
          triggerHealth, scanFunction, referencesView, refcountsView, verifyFunction, foldFunction, repairFunction,
          touchFunction,
          referrersFunction,
        ],
        separator: "\n\n"
      )
    )
  }

  /// For functions that change or read what only the retention may. Compiling their plans takes longer than they run: the
  /// planner expects far more rows from arrays and scans than there are.
  var ownerRights: SQL { "SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off" }

  /// For functions that decide by what they do not find. Where row-level security is forced on their owner, they fail
  /// instead of taking what it hides for what is not there. (PostgreSQL manual, "row_security")
  var seesEveryRow: SQL { "SET row_security = off" }

  /// For functions that look rows up by their key. A plan is kept for the session: made while a table is small, it would be
  /// to read all of it, and stay so while the table grows. (PostgreSQL manual, section 43.11.2, "Plan Caching")
  var looksUpByKey: SQL { "SET enable_seqscan = off" }

  /// Why, for who reads the file.
  var looksUpByKeyNote: String {
    "Functions with enable_seqscan = off look rows up by key: a session keeps their plans, however much a table grows."
  }

  /// What replacing a view takes, for who reads the file.
  var locksOfViews: String {
    "ACCESS EXCLUSIVE on its views until COMMIT: waits for those who read them, and new ones for it"
  }

  private var scanFunction: SQL {
    let function = names.qualified("scan_hashes")
    let digits: SQL = "'0123456789abcdef'::bytea"
    let run: SQL = "pg_catalog.encode(pg_catalog.substring(c.bytes, n * 32 + 1 - r.before, 64), 'escape')"
    let hash = model.hasBinaryKey ? "pg_catalog.decode(\(run), 'hex')" : run
    let body: SQL = """
        SELECT \(hash)
        -- OFFSET 0: the content is fetched and decompressed once.
        FROM (SELECT content || ''::bytea AS bytes OFFSET 0) AS c
        -- In blocks of 32 bytes, because a run of 64 digits fills at least one of them, and most contents fill none. A regular
        -- expression takes longer, and up to 25 microseconds for each run.
        CROSS JOIN pg_catalog.generate_series(0, pg_catalog.octet_length(content) / 32 - 1) AS n
        CROSS JOIN LATERAL (
          SELECT pg_catalog.substring(c.bytes, n * 32 - 31, 32) AS before, pg_catalog.substring(c.bytes, n * 32 + 33, 33) AS after
        ) AS s
        -- How many digits the run has before its first whole block, and behind it.
        CROSS JOIN LATERAL (
          SELECT pg_catalog.octet_length(s.before) - pg_catalog.octet_length(pg_catalog.rtrim(s.before, \(digits))) AS before,
            pg_catalog.octet_length(s.after) - pg_catalog.octet_length(pg_catalog.ltrim(s.after, \(digits))) AS after
        ) AS r
        WHERE pg_catalog.ltrim(pg_catalog.substring(c.bytes, n * 32 + 1, 32), \(digits)) = ''::bytea
          AND r.before < 32 AND r.before + r.after = 32
      """
    return """
      CREATE OR REPLACE FUNCTION \(function)(content bytea) RETURNS SETOF \(keyType)
      LANGUAGE sql IMMUTABLE PARALLEL SAFE
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(function)(bytea) IS 'The hashes that occur in some bytes: runs of exactly 64 lower-case hex digits.';
      """
  }

  private var referencesView: SQL {
    let view = names.qualified("references")
    let edges = referringTables.flatMap { table, edges in
      edges.map { edge -> SQL in
        let columnName: SQL = "\(literal: edge.columns.joined(separator: ", "))::text"
        let rowID: SQL =
          table.primaryKey.count == 1
          ? "r.\(Identifier(table.primaryKey[0]))::text"
          : "ROW(\(SQL.joined(table.primaryKey.map { "r.\(Identifier($0))" }, separator: ", ")))::text"
        return keys(
          of: edge,
          from: "\(names.table(table.name))",
          selecting: ", \(literal: table.name)::text AS table_name, \(columnName) AS column_name, \(rowID) AS row_id"
        )
      }
    }
    return """
      CREATE OR REPLACE VIEW \(view) AS
      SELECT e.hash, e.table_name, e.column_name, e.row_id
      FROM (
        \(SQL.joined(edges, separator: "\nUNION ALL\n"))
      ) AS e
      WHERE \(isKey("e.hash"));
      COMMENT ON VIEW \(view) IS 'Every reference that a row holds, once per occurrence. Reads the tables themselves: the truth that counting is checked against.';
      """
  }

  private var refcountsView: SQL {
    let view = names.qualified("\(blobs.singular)_refcounts")
    return """
      CREATE OR REPLACE VIEW \(view) AS
      SELECT
        b.\(key) AS hash,
        b.\(refcount) + coalesce(p.pending, 0) AS refcount,
        b.\(refcount) AS stored,
        coalesce(p.pending, 0) AS pending
      FROM \(blobTable) AS b
      LEFT JOIN (
        SELECT l.hash, sum(l.delta)::bigint AS pending
        FROM (
          SELECT hash, delta FROM \(ledger) WHERE hash IS NOT NULL
          UNION ALL
          SELECT hash, refcount FROM \(unresolved)
        ) AS l
        GROUP BY l.hash
      ) AS p ON p.hash = b.\(key);
      COMMENT ON VIEW \(view) IS 'The exact number of references of each blob: stored in its row plus pending in the ledger.';
      """
  }

  private var verifyFunction: SQL {
    let function = names.qualified("verify_refcounts")
    let body: SQL = """
        SELECT coalesce(held.hash, kept.hash), coalesce(held.n, 0), coalesce(kept.n, 0)
        FROM (
          SELECT r.hash, count(*) AS n FROM \(names.qualified("references")) AS r GROUP BY r.hash
        ) AS held
        FULL JOIN (
          SELECT k.hash, sum(k.n)::bigint AS n
          FROM (
            SELECT b.\(key) AS hash, b.\(refcount) AS n FROM \(blobTable) AS b
            UNION ALL
            SELECT l.hash, l.delta FROM \(ledger) AS l WHERE l.hash IS NOT NULL
            UNION ALL
            SELECT u.hash, u.refcount FROM \(unresolved) AS u
          ) AS k
          GROUP BY k.hash
        ) AS kept ON kept.hash = held.hash
        WHERE coalesce(held.n, 0) <> coalesce(kept.n, 0)
      """
    return """
      CREATE OR REPLACE FUNCTION \(function)() RETURNS TABLE (hash \(keyType), expected bigint, counted bigint)
      LANGUAGE sql STABLE \(ownerRights) \(seesEveryRow)
      -- Reads everything, also when it is a fold that asks, whose own setting is another.
      SET enable_seqscan = on
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(function)() IS 'The hashes whose count differs from the references that rows hold; none: the law holds. Reads everything, locks nothing, works on a standby.';
      \(revoke("FUNCTION", "\(function)()"))
      """
  }

  /// No TRUNCATE may end between a snapshot and the look at its table, which it would find empty whatever the snapshot.
  private var keepTruncatesAway: SQL {
    let tables = (referringTables.map(\.table.name) + [blobs.table]).map { SQL("\(names.table($0))") }
    return """
      -- A TRUNCATE empties a table for older snapshots too; the next statement's must not be older.
      LOCK TABLE \(SQL.joined(tables, separator: ", ")) IN ACCESS SHARE MODE;
      """
  }

  private var appendDrift: SQL {
    """
    INSERT INTO \(ledger) (hash, delta)
    SELECT v.hash, v.expected - v.counted FROM \(names.qualified("verify_refcounts"))() AS v;
    """
  }

  private var foldFunction: SQL {
    let function = names.qualified("fold_references")
    let body: SQL = """
      DECLARE
        folded    bigint;
        clamped   bigint;
        is_stored boolean;
      BEGIN
        \(requireReadCommitted("reference counts can be folded"))
        -- One fold at a time; the lock comes before the statement, so that its snapshot sees what the last one did.
        IF NOT pg_catalog.pg_try_advisory_xact_lock(\(lockNamespace), \(LockKey.fold)) THEN
          RETURN bigint '0';
        END IF;

        -- A row without a hash: a TRUNCATE above READ COMMITTED could not count what it removed. Count again.
        DELETE FROM \(ledger) AS l WHERE l.hash IS NULL;
        IF FOUND THEN
          \(keepTruncatesAway)
          \(appendStorageDrift)
          \(appendDrift)
        END IF;
        \(foldStorage)

        -- Everything is taken, and what cannot be counted now is put back. Nobody knows how many hashes the ledger holds
        -- when this is planned; so blobs and what waits for them are looked up by their key, and the steps are not joined.
        WITH taken AS (
          DELETE FROM \(ledger) AS l WHERE l.hash IS NOT NULL
          RETURNING l.hash, l.delta, l.recorded_at, l.is_put
        ), pending AS MATERIALIZED (
          SELECT t.hash, sum(t.delta)::bigint AS delta, max(t.recorded_at) FILTER (WHERE t.is_put) AS put_at,
            min(t.recorded_at) AS recorded_at, count(*) AS entries
          FROM taken AS t
          GROUP BY t.hash
        ), found AS MATERIALIZED (
          SELECT p.hash, p.delta, p.put_at, p.recorded_at, p.entries, b.stored, u.refcount AS awaited,
            -- NULL: locked by us; true: here, but locked by somebody; false: not here.
            CASE WHEN b.stored IS NULL THEN EXISTS (SELECT FROM \(blobTable) AS x WHERE x.\(key) = p.hash) END AS is_busy
          FROM pending AS p
          LEFT JOIN LATERAL (
            -- Rows that somebody else has locked keep their entries for the next fold.
            SELECT b.\(refcount) AS stored FROM \(blobTable) AS b WHERE b.\(key) = p.hash FOR NO KEY UPDATE SKIP LOCKED
          ) AS b ON true
          LEFT JOIN LATERAL (
            SELECT u.refcount FROM \(unresolved) AS u WHERE u.hash = p.hash OFFSET 0
          ) AS u ON true
        ), counted AS (
          SELECT f.hash, f.stored, f.delta + coalesce(f.awaited, 0) AS delta, f.put_at, f.awaited
          FROM found AS f
          WHERE f.stored IS NOT NULL
        ), absent AS (
          SELECT f.hash, coalesce(f.awaited, 0) AS stored, f.delta FROM found AS f WHERE NOT f.is_busy
        ), applied AS (
          UPDATE \(blobTable) AS b
          SET \(refcount) = greatest(b.\(refcount) + c.delta, 0)
          FROM counted AS c
          WHERE b.\(key) = c.hash AND c.delta <> 0
          RETURNING b.\(refcount) AS stored, pg_catalog.nextval(\(literal(adjustments)))
        ), put AS (
          INSERT INTO \(puts) AS t (hash, put_at)
          SELECT c.hash, c.put_at FROM counted AS c WHERE c.put_at IS NOT NULL
          ON CONFLICT (hash) DO UPDATE SET put_at = greatest(t.put_at, EXCLUDED.put_at)
        ), resolved AS (
          DELETE FROM \(unresolved) AS u USING found AS f
          WHERE u.hash = f.hash AND f.awaited IS NOT NULL
            AND (f.stored IS NOT NULL OR NOT f.is_busy AND f.awaited + f.delta <= 0)
        ), waiting AS (
          INSERT INTO \(unresolved) (hash, refcount)
          SELECT a.hash, a.stored + a.delta FROM absent AS a WHERE a.delta <> 0 AND a.stored + a.delta > 0
          ON CONFLICT (hash) DO UPDATE SET refcount = EXCLUDED.refcount
        ), kept AS (
          INSERT INTO \(ledger) (hash, delta, recorded_at, is_put)
          SELECT f.hash, e.delta, e.recorded_at, e.is_put
          FROM found AS f
          CROSS JOIN LATERAL (
            VALUES (f.delta, f.recorded_at, false), (0, f.put_at, true)
          ) AS e (delta, recorded_at, is_put)
          WHERE f.is_busy AND e.recorded_at IS NOT NULL
        ), anomaly AS (
          INSERT INTO \(anomalies) (hash, stored, delta)
          SELECT c.hash, c.stored, c.delta FROM counted AS c WHERE c.stored + c.delta < 0
          UNION ALL
          SELECT a.hash, a.stored, a.delta FROM absent AS a WHERE a.stored + a.delta < 0
          RETURNING hash
        )
        SELECT (SELECT coalesce(sum(f.entries), 0)::bigint FROM found AS f WHERE f.is_busy IS NOT TRUE),
          (SELECT count(*) FROM anomaly),
          (SELECT (count(*), coalesce(sum(a.stored), 0)) FROM applied AS a)
            = (SELECT (count(*), coalesce(sum(greatest(c.stored + c.delta, 0)), 0)) FROM counted AS c WHERE c.delta <> 0)
        INTO folded, clamped, is_stored;

        IF NOT is_stored THEN
          RAISE EXCEPTION 'a trigger of % keeps counts from being stored', \(literal: blobTable.quoted)
            USING ERRCODE = 'triggered_data_change_violation',
              HINT = 'A BEFORE UPDATE trigger must let refcount through: it may return neither NULL nor OLD.';
        END IF;
        IF clamped > 0 THEN
          RAISE WARNING 'refcount of % hashes would have gone below zero and was set to zero', clamped
            USING HINT = \(literal: "See \(anomalies.quoted); then SELECT \(names.qualified("repair_refcounts").quoted)().");
        END IF;
        RETURN folded;
      END
      """
    return """
      CREATE OR REPLACE FUNCTION \(function)() RETURNS bigint
      LANGUAGE plpgsql \(ownerRights) \(looksUpByKey) \(marksOwnChanges)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(function)() IS 'Moves ledger entries into refcount; returns how many. Per hash all or nothing; skips blobs that are locked; a second one at the same time does nothing.';
      \(revoke("FUNCTION", "\(function)()"))
      """
  }

  private var repairFunction: SQL {
    let function = names.qualified("repair_refcounts")
    let body: SQL = """
      DECLARE
        corrected bigint;
      BEGIN
        \(requireReadCommitted("reference counts can be folded"))
        -- Waits for a fold or another repair, never for a writer: two repairs would correct the same drift twice.
        PERFORM pg_catalog.pg_advisory_xact_lock(\(lockNamespace), \(LockKey.fold));
        \(keepTruncatesAway)
        \(appendStorageDrift)
        \(appendDrift)
        GET DIAGNOSTICS corrected = ROW_COUNT;
        PERFORM \(names.qualified("fold_references"))();
        RETURN corrected;
      END
      """
    return """
      CREATE OR REPLACE FUNCTION \(function)() RETURNS bigint
      LANGUAGE plpgsql \(ownerRights)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(function)() IS 'Corrects every count that differs from the references that rows hold, and the totals of the storage; returns how many counts. Exact while others write: the drift is taken in one snapshot.';
      \(revoke("FUNCTION", "\(function)()"))
      """
  }

  private var touchFunction: SQL {
    let function = names.qualified("touch_\(blobs.plural)")
    // Qualified: the blob table may have a column of that name.
    let given: SQL = "\(function.identifier).hashes"
    let body: SQL = """
      BEGIN
        -- Keeps a deletion away until this transaction ends; it comes first, so that the next statement sees the outcome.
        PERFORM FROM (SELECT DISTINCT \(bucket("h.hash")) AS bucket FROM pg_catalog.unnest(\(given)) AS h (hash) WHERE \(isKey("h.hash"))) AS b
        WHERE pg_catalog.pg_advisory_xact_lock_shared(\(lockNamespace), b.bucket) IS NOT NULL;

        -- An older snapshot still shows a blob that is gone by now; locking its row tells, with a serialization failure.
        IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
          PERFORM FROM \(blobTable) AS b WHERE b.\(key) = ANY (\(given)) FOR KEY SHARE;
        END IF;

        INSERT INTO \(ledger) (hash, delta, recorded_at, is_put)
        SELECT b.\(key), 0, clock_timestamp(), true FROM \(blobTable) AS b WHERE b.\(key) = ANY (\(given));

        RETURN QUERY
        SELECT DISTINCT h.hash FROM pg_catalog.unnest(\(given)) AS h (hash)
        WHERE NOT EXISTS (SELECT FROM \(blobTable) AS b WHERE b.\(key) = h.hash);
      END
      """
    return """
      CREATE OR REPLACE FUNCTION \(function)(hashes \(keyType)[]) RETURNS SETOF \(keyType)
      LANGUAGE plpgsql \(ownerRights) \(looksUpByKey)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(function)(\(keyType)[]) IS 'Returns those hashes whose blobs are missing; the others count as put now, so that no cleanup within the retention window takes them.';
      \(revoke("FUNCTION", "\(function)(\(keyType)[])"))
      """
  }

  private var referrersFunction: SQL {
    let function = names.qualified("referrers")
    let body: SQL = """
        SELECT r.table_name, r.column_name, r.row_id FROM \(names.qualified("references")) AS r WHERE r.hash = $1
      """
    return """
      CREATE OR REPLACE FUNCTION \(function)(hash \(keyType)) RETURNS TABLE (table_name text, column_name text, row_id text)
      LANGUAGE sql STABLE \(ownerRights)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(function)(\(keyType)) IS 'Who holds a blob: one row per reference. Reads the referring tables.';
      \(revoke("FUNCTION", "\(function)(\(keyType))"))
      """
  }

  private var triggerHealth: SQL {
    let view = names.qualified("counting_triggers")
    let counted = referringTables.flatMap { table, _ in
      ["count_insert", "count_delete", "count_truncate", "count_update"].map { (table.name, $0) }
    }
    let guarding = [
      "own_refcount_insert", "own_refcount_update", "record_put", "record_size", "refuse_delete", "record_insert",
      "record_delete", "record_truncate",
    ].map { (blobs.table, $0) }
    let rows = (counted + guarding).map { table, purpose -> SQL in
      "(\(literal: names.table(table).quoted), \(literal: table), \(literal: names.identifier(of: table, purpose).name))"
    }
    return """
      CREATE OR REPLACE VIEW \(view) AS
      SELECT e.table_name, e.trigger_name,
        CASE
          WHEN t.oid IS NULL THEN 'missing'
          WHEN t.tgenabled = 'D' THEN 'disabled'
          WHEN t.tgenabled = 'R' THEN 'enabled for replicas only'
          -- What a subscription writes fires none of these.
          WHEN EXISTS (SELECT FROM pg_catalog.pg_subscription_rel AS s WHERE s.srrelid = t.tgrelid) THEN 'bypassed by a subscription'
          ELSE 'enabled'
        END AS state
      FROM (VALUES
        \(SQL.joined(rows))
      ) AS e (qualified_table, table_name, trigger_name)
      LEFT JOIN pg_catalog.pg_trigger AS t
        ON t.tgrelid = pg_catalog.to_regclass(e.qualified_table) AND t.tgname = e.trigger_name
      UNION ALL
      -- Until 050_triggers removes them, they go on counting what verification and repair do not know any more.
      SELECT c.relname::text COLLATE pg_catalog."default", t.tgname::text COLLATE pg_catalog."default", 'of a former model'
      FROM pg_catalog.pg_trigger AS t
      JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
      WHERE t.tgfoid IN (
        \(formerFunctions)
      );
      COMMENT ON VIEW \(view) IS 'The triggers that counting relies on, and whether each is there and enabled; and those that should not be there any more.';
      """
  }
}
