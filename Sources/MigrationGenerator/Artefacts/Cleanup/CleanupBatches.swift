import RetentionModel
import SafeSQL

/// The functions that delete one batch each.
extension RetentionSchema {
  func batchName(_ name: String) -> QualifiedName { names.qualified("cleanup_\(name)_batch") }

  /// What a step does with errors.
  ///
  /// - Parameter retry: what it does about those that may not come again, besides saying so.
  private func caughtErrors(retry: SQL) -> SQL {
    """
    EXCEPTION
      WHEN deadlock_detected OR lock_not_available OR serialization_failure THEN
        \(retry)
        outcome := 'retry';
        failure := SQLERRM;
        failure_state := SQLSTATE;
      WHEN OTHERS THEN
        outcome := 'failed';
        failure := SQLERRM;
        failure_state := SQLSTATE;
    """
  }

  /// The same for a batch; `last` and `last_time` survive the error, since variables are not rolled back.
  private func caughtErrors(lastKey last: SQL) -> SQL {
    caughtErrors(
      retry: """
        -- Where the batch would have ended: after the last attempt the caller goes on from there.
        after_time := coalesce(last_time, after_time);
        after_key := coalesce(\(last), after_key);
        """
    )
  }

  /// Tells a session that asks for DEBUG messages what a batch has done; its program knows the message by its SQLSTATE.
  private func tellBatch(_ name: String, of candidates: SQL, deleted: SQL) -> SQL {
    let busy: SQL = "cardinality(\(candidates)) - \(deleted)"
    return """
      RAISE DEBUG 'cleanup run %: a batch of %: % deleted, % busy', run_id, \(literal: name), \(deleted), \(busy)
        USING ERRCODE = \(literal: CleanupNotice.batch), DETAIL = pg_catalog.json_build_object(
          'run_id', run_id, 'data_class', \(literal: name)::text, 'deleted', \(deleted), 'busy', \(busy))::text;
      """
  }

  /// The fold between the batches of the classes and those of the blobs.
  var foldStepFunction: SQL {
    let function = names.qualified("cleanup_fold")
    let body: SQL = """
      BEGIN
        -- A second fold at the same time would do nothing.
        IF NOT pg_try_advisory_xact_lock(\(lockNamespace), \(LockKey.fold)) THEN
          outcome := 'retry';
          failure := 'another fold or repair is still at work';
          RETURN;
        END IF;
        PERFORM \(names.qualified("fold_references"))();
        outcome := 'done';
      \(caughtErrors(retry: "-- Nothing is taken yet, and the next attempt takes it."))
      END
      """
    return """
      CREATE OR REPLACE FUNCTION \(function)(OUT outcome text, OUT failure text, OUT failure_state text)
      LANGUAGE plpgsql \(ownerRights) SET lock_timeout = '1s'
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(function)() IS 'Folds as a step of a cleanup, which records what goes wrong.';
      \(revoke("FUNCTION", "\(function)()"))
      """
  }

  /// Ends the custom plans of the statements before it, for the rest of the function. (PostgreSQL manual, "SET")
  private var plansForeignKeysOnce: SQL {
    """
    -- What foreign keys to this table ask for each row that goes is planned once, not each time.
    SET LOCAL plan_cache_mode = auto;
    """
  }

  private func batchSignature(_ type: SQL) -> SQL { "bigint, timestamptz, integer, timestamptz, \(type)" }

  private func createBatch(_ name: String, keyType type: SQL, rights: SQL, comment: String, body: SQL) -> SQL {
    let function = batchName(name)
    return """
      CREATE OR REPLACE FUNCTION \(function)(
        IN run_id bigint, IN cutoff timestamptz, IN batch_size integer,
        INOUT after_time timestamptz, INOUT after_key \(type),
        OUT outcome text, OUT failure text, OUT failure_state text
      )
      LANGUAGE plpgsql \(rights) \(seesEveryRow) SET lock_timeout = '1s'
      -- For a thousand keys the planner would rather read a whole table that is not large, in each statement again.
      SET plan_cache_mode = force_custom_plan SET enable_seqscan = off
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(function)(\(batchSignature(type))) IS \(literal: comment);
      \(revoke("FUNCTION", "\(function)(\(batchSignature(type)))"))
      """
  }

  /// Deletes rows of a class or part into the archive.
  ///
  /// - Parameter condition: the WHERE clause of the rows `x`.
  private func archiveRows(_ name: String, _ condition: SQL) -> SQL {
    guard let archived = archivedTables.first(where: { $0.name == name }) else {
      preconditionFailure("\(name) is no class or part: the model was not validated")
    }
    let count = Identifier("\(name)_count")
    return """
      \(movingToArchive(archived, condition))
      SELECT count(*), coalesce(sum(k.bytes), 0)::bigint INTO \(count), kept_bytes FROM kept AS k;
      PERFORM \(archiveAdd)(run_id, \(literal: name), \(count), kept_bytes);
      """
  }

  /// The search for the rows `r` of a batch: those of the next `batch_size` by age that `checked` lets go.
  ///
  /// With `content`, a column, the batch ends where that has been `maximumBatchContent` bytes, after one row at the earliest.
  ///
  /// The two conditions are asked one after the other. In one query the planner believes that hardly a row passes all of
  /// `checked`, does not trust the LIMIT to be reached, and reads whole tables for every batch.
  private func nextBatch(
    of target: QualifiedName,
    key: Identifier,
    timestamp: Identifier,
    content: Identifier? = nil,
    where condition: SQL,
    into found: SQL,
    checked: SQL
  ) -> SQL {
    func oldest(selecting extra: SQL = "") -> SQL {
      """
      SELECT r.\(key) AS id, r.\(timestamp) AS at\(extra)
      FROM \(target) AS r
      WHERE \(condition) AND (r.\(timestamp), r.\(key)) > (after_time, after_key)
      ORDER BY r.\(timestamp), r.\(key)
      LIMIT batch_size
      """
    }
    let rows: SQL =
      if let content {
        """
        (
          SELECT n.id, n.at, n.bytes, sum(n.bytes) OVER (ORDER BY n.at, n.id ROWS UNBOUNDED PRECEDING) AS total
          FROM (
            \(oldest(selecting: ", coalesce(octet_length(r.\(content)), 0) AS bytes"))
          ) AS n
        ) AS w
        -- Submits may wait for this batch: of what is inline it takes so much at most, or a single one that is larger.
        WHERE w.total <= \(Self.maximumBatchContent) OR w.total = w.bytes
        """
      } else {
        """
        (
          \(oldest())
        ) AS w
        """
      }
    return """
      -- By age alone, so that a batch reads no more rows than it may delete; what has to stay among them is passed over.
      LOOP
        SELECT array_agg(w.id ORDER BY w.at, w.id), max(w.at) INTO aged, last_time
        FROM \(rows);
        IF aged IS NULL THEN
          outcome := 'done';
          RETURN;
        END IF;
        last_key := aged[cardinality(aged)];
        SELECT array_agg(r.\(key)) INTO \(found)
        FROM \(target) AS r
        WHERE r.\(key) = ANY (aged)
          AND \(checked);
        EXIT WHEN \(found) IS NOT NULL;
        after_time := last_time;
        after_key := last_key;
      END LOOP;
      """
  }

  /// Keeps what protects a row as it is until COMMIT, or the row out of `doomed`; nothing where no row can be protected.
  private func lockProtectors(of dataClass: DataClass) -> SQL? {
    let id = keyColumn(dataClass.table)
    let locks = waysToProtectors(of: dataClass.table).map { way -> SQL in
      let joins = way.enumerated().map { index, key -> SQL in
        let (child, parent): (SQL, SQL) = (index == 0 ? "r" : "p\(index)", "p\(index + 1)")
        return "JOIN \(names.table(key.parent)) AS \(parent) ON \(join(key, child: child, parent: parent))"
      }
      let rows: SQL = """
        FROM \(names.table(dataClass.table)) AS r \(SQL.joined(joins, separator: " "))
        WHERE r.\(id) = ANY (doomed)
        """
      return """
        WITH held AS MATERIALIZED (
          SELECT r.\(id) AS id
          \(rows)
          FOR SHARE OF p\(way.count) SKIP LOCKED
        )
        SELECT array_agg(k.id) INTO doomed
        FROM unnest(doomed) AS k (id)
        WHERE k.id NOT IN (
          SELECT r.\(id)
          \(rows)
          EXCEPT
          SELECT h.id FROM held AS h
        );
        """
    }
    guard !locks.isEmpty else { return nil }
    return """
      IF cardinality(protected) > 0 THEN
        -- Nor may a parent come into a protected status before COMMIT. A row whose parent we could not lock stays.
        \(SQL.joined(locks, separator: "\n"))
      END IF;
      """
  }

  func batchFunction(_ dataClass: DataClass) -> SQL {
    let target = names.table(dataClass.table)
    let id = keyColumn(dataClass.table)
    let type = keyColumnType(dataClass.table)
    let timestamp = Identifier(dataClass.timestamp)
    let conditions = conditions(dataClass, cutoff: "cutoff", protected: "protected", dying: false)
    let checked = SQL.joined(["r.\(timestamp) < cutoff"] + conditions, separator: "\nAND ")
    let parts = dataClass.parts.map { part -> (lock: SQL, delete: SQL, archive: SQL, count: SQL) in
      let key = partKey(part, of: dataClass)
      let child = Identifier(key.columns[0])
      return (
        """
        -- A row goes with all its \(comment: part.name) or not at all. One that we see and could not lock keeps its parent: all
        -- we see, minus all we hold.
        WITH held AS MATERIALIZED (
          SELECT x.\(child) AS id FROM \(names.table(part.table)) AS x WHERE x.\(child) = ANY (doomed) FOR UPDATE SKIP LOCKED
        )
        SELECT array_agg(k.id) INTO doomed
        FROM unnest(doomed) AS k (id)
        WHERE k.id NOT IN (
          SELECT x.\(child) FROM \(names.table(part.table)) AS x WHERE x.\(child) = ANY (doomed)
          EXCEPT ALL
          SELECT h.id FROM held AS h
        );
        """,
        """
        DELETE FROM \(names.table(part.table)) AS x WHERE x.\(child) = ANY (doomed);
        GET DIAGNOSTICS \(Identifier("\(part.name)_count")) = ROW_COUNT;
        """,
        archiveRows(part.name, "WHERE x.\(child) = ANY (doomed)"),
        "\(Identifier("\(part.name)_count")) bigint;"
      )
    }
    let counts = ([dataClass.name] + dataClass.parts.map(\.name)).map { name -> SQL in
      "\(Identifier("deleted_\(name)")) = r.\(Identifier("deleted_\(name)")) + \(Identifier("\(name)_count"))"
    }
    // A variable that nothing reads would be noise for the reader, and a finding of plpgsql_check.
    let readsStatus =
      dataClass.status != nil
      || !protectedAncestors(of: dataClass.table, alias: "r", protected: "protected", depth: 1).isEmpty
    let settings: (variable: SQL, query: SQL) =
      readsStatus
      ? (
        "protected text[];",
        "SELECT p.protected_statuses, p.archive_days > 0 INTO protected, archives FROM \(policy) AS p;"
      ) : ("", "SELECT p.archive_days > 0 INTO archives FROM \(policy) AS p;")
    let variables: [SQL] =
      (readsStatus ? [settings.variable] : []) + [
        "archives  boolean;", "kept_bytes bigint;",
        "aged      \(type)[];", "expired   \(type)[];", "doomed    \(type)[];",
        "last_time timestamptz;", "last_key  \(type);",
        "\(Identifier("\(dataClass.name)_count")) bigint;",
      ] + parts.map(\.count)
    let search = nextBatch(
      of: target,
      key: id,
      timestamp: timestamp,
      where: "r.\(timestamp) < cutoff",
      into: "expired",
      checked: checked
    )
    let body: SQL = """
      #variable_conflict use_variable
      DECLARE
        \(SQL.joined(variables, separator: "\n"))
      BEGIN
        \(settings.query)

        \(search)

        SELECT array_agg(l.id) INTO doomed
        FROM (SELECT r.\(id) AS id FROM \(target) AS r WHERE r.\(id) = ANY (expired) FOR UPDATE SKIP LOCKED) AS l;
        \(SQL.joined(parts.map(\.lock) + [lockProtectors(of: dataClass)].compactMap { $0 }, separator: "\n"))
        -- Again, now that nothing can change: a child may have come between the first look and the lock.
        SELECT array_agg(r.\(id)) INTO doomed
        FROM \(target) AS r
        WHERE r.\(id) = ANY (doomed)
          AND \(checked);

        \(plansForeignKeysOnce)
        IF archives THEN
          \(SQL.joined(parts.map(\.archive) + [archiveRows(dataClass.name, "WHERE x.\(id) = ANY (doomed)")], separator: "\n"))
        ELSE
          \(SQL.joined(parts.map(\.delete), separator: "\n"))
          DELETE FROM \(target) AS r WHERE r.\(id) = ANY (doomed);
          GET DIAGNOSTICS \(Identifier("\(dataClass.name)_count")) = ROW_COUNT;
        END IF;

        IF \(Identifier("\(dataClass.name)_count")) < cardinality(doomed) THEN
          -- What belongs to them is gone already; all of it comes back with the error.
          RAISE EXCEPTION 'a trigger keeps % of % expired rows of %', cardinality(doomed) - \(Identifier("\(dataClass.name)_count")),
            cardinality(doomed), \(literal: target.quoted)
            USING ERRCODE = 'triggered_data_change_violation',
              HINT = \(literal: "Let protected_statuses of \(policy.quoted) keep such rows.");
        END IF;

        UPDATE \(runs) AS r
        SET batches = r.batches + 1,
          busy_rows = r.busy_rows + cardinality(expired) - \(Identifier("\(dataClass.name)_count")),
          \(SQL.joined(counts))
        WHERE r.id = run_id;
        \(tellBatch(dataClass.name, of: "expired", deleted: "\(Identifier("\(dataClass.name)_count"))"))
        after_time := last_time;
        after_key := last_key;
        outcome := 'more';
      \(caughtErrors(lastKey: "last_key"))
      END
      """
    return createBatch(
      dataClass.name,
      keyType: type,
      rights: ownerRights,
      comment:
        "Deletes one batch of expired \(dataClass.name), the oldest after the given place. Skips what others have locked.",
      body: body
    )
  }

  var blobBatchFunction: SQL {
    let createdAt = Identifier(blobs.createdAt)
    let unused: SQL = """
      NOT EXISTS (SELECT FROM \(puts) AS t WHERE t.hash = r.\(key) AND t.put_at >= cutoff)
      AND NOT EXISTS (SELECT FROM \(unresolved) AS u WHERE u.hash = r.\(key))
      """
    let search = nextBatch(
      of: blobTable,
      key: key,
      timestamp: createdAt,
      content: Identifier(blobs.data),
      where: "r.\(refcount) = 0 AND r.\(createdAt) < cutoff",
      into: "unreferenced",
      checked: unused
    )
    func sums(_ rows: SQL) -> SQL {
      """
      SELECT count(*), coalesce(sum(d.bytes), 0)::bigint, count(*) FILTER (WHERE d.is_external),
        coalesce(sum(d.bytes) FILTER (WHERE d.is_external), 0)::bigint
      INTO blob_count, blob_bytes, object_count, object_bytes
      FROM \(rows) AS d;
      """
    }
    let body: SQL = """
      #variable_conflict use_variable
      DECLARE
        archives     boolean;
        aged         \(keyType)[];
        unreferenced \(keyType)[];
        settled      \(keyType)[];
        doomed       \(keyType)[];
        buckets      integer[];
        last_time    timestamptz;
        last_key     \(keyType);
        blob_count   bigint;
        blob_bytes   bigint;
        object_count bigint;
        object_bytes bigint;
      BEGIN
        IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
          RAISE EXCEPTION 'an older snapshot cannot show that nothing refers to a \(comment: blobs.singular) by now'
            USING ERRCODE = 'active_sql_transaction';
        END IF;
        \(search)

        -- Whoever refers to a blob holds its bucket until COMMIT: a bucket that is free now has told the ledger all,
        -- and the next statements see it.
        SELECT array_agg(k.bucket) INTO buckets
        FROM (SELECT DISTINCT \(bucket("h.hash")) AS bucket FROM unnest(unreferenced) AS h (hash)) AS k
        WHERE pg_try_advisory_xact_lock(\(lockNamespace), k.bucket);

        -- First the ledger, then the rows, in this order: an entry that a fold takes in between was still seen here, so its
        -- \(comment: blobs.singular) is left out.
        SELECT array_agg(s.hash) INTO settled
        FROM (
          SELECT u.hash FROM unnest(unreferenced) AS u (hash)
          EXCEPT
          SELECT l.hash FROM \(ledger) AS l
        ) AS s;
        SELECT array_agg(f.hash) INTO doomed
        FROM (
          SELECT r.\(key) AS hash
          FROM \(blobTable) AS r
          WHERE r.\(key) = ANY (settled) AND \(bucket("r.\(key)")) = ANY (buckets)
            -- Not "= 0": the planner would read all of the index of unreferenced \(comment: blobs.plural) for each batch.
            AND r.\(refcount) <= 0 AND r.\(createdAt) < cutoff
            AND \(unused)
            AND NOT EXISTS (SELECT FROM \(ledger) AS l WHERE l.hash IS NULL)
          FOR UPDATE OF r SKIP LOCKED
        ) AS f;

        SELECT p.archive_days > 0 INTO archives FROM \(policy) AS p;
        \(plansForeignKeysOnce)
        IF archives THEN
          \(movingToArchive(archivedBlobs, "WHERE x.\(key) = ANY (doomed)"))
          \(sums("kept"))
          PERFORM \(archiveAdd)(run_id, \(literal: blobs.plural), blob_count, blob_bytes, object_count, object_bytes);
          -- Not freed yet.
          blob_bytes := bigint '0';
          object_count := bigint '0';
          object_bytes := bigint '0';
        ELSE
          WITH deleted AS (
            DELETE FROM \(blobTable) AS b WHERE b.\(key) = ANY (doomed)
            RETURNING b.\(Identifier(blobs.size)) AS bytes, \(isExternal("b")) AS is_external
          )
          \(sums("deleted"))
        END IF;

        UPDATE \(runs) AS r
        SET batches = r.batches + 1,
          \(Identifier("busy_\(blobs.plural)")) = r.\(Identifier("busy_\(blobs.plural)")) + cardinality(unreferenced) - blob_count,
          \(Identifier("deleted_\(blobs.plural)")) = r.\(Identifier("deleted_\(blobs.plural)")) + blob_count,
          freed_bytes = r.freed_bytes + blob_bytes,
          external_blobs = r.external_blobs + object_count,
          external_bytes = r.external_bytes + object_bytes
        WHERE r.id = run_id;
        \(tellBatch(blobs.plural, of: "unreferenced", deleted: "blob_count"))
        after_time := last_time;
        after_key := last_key;
        outcome := 'more';
      \(caughtErrors(lastKey: "last_key"))
      END
      """
    return createBatch(
      blobs.plural,
      keyType: keyType,
      rights: "\(ownerRights) \(marksOwnChanges)",
      comment:
        "Deletes one batch of unreferenced \(blobs.plural), the oldest after the given place. Skips what others use.",
      body: body
    )
  }

  /// The name of the loop that empties the archive, beside those of the classes.
  var purge: String { "purge" }

  var purgeBatchFunction: SQL {
    let last = archivedTables.map { archived -> SQL in
      """
      (SELECT a.\(archived.entry) AS entry FROM \(archived.archive) AS a
        WHERE a.\(archived.run) = purged_run AND a.\(archived.entry) > after_key ORDER BY a.\(archived.entry) LIMIT batch_size)
      """
    }
    func range(_ archived: ArchivedTable) -> SQL {
      "a.\(archived.run) = purged_run AND a.\(archived.entry) > after_key AND a.\(archived.entry) <= last_entry"
    }
    let objects: SQL = """
      SELECT a.\(key) AS hash, a.\(archivedBlobs.generation) AS generation, a.\(Identifier(blobs.size)) AS size
      FROM \(archivedBlobs.archive) AS a
      WHERE \(range(archivedBlobs)) AND a.\(archivedBlobs.generation) IS NOT NULL
      """
    let deletes = archivedTables.map { archived -> SQL in
      "DELETE FROM \(archived.archive) AS a WHERE \(range(archived));"
    }
    let isBlob: SQL = "g.data_class = \(literal: blobs.plural)"
    let body: SQL = """
      #variable_conflict use_variable
      DECLARE
        due        timestamptz;
        purged_run bigint;
        last_time  timestamptz;
        last_entry bigint;
      BEGIN
        SELECT coalesce(cutoff, r.started_at - make_interval(days => p.archive_days)) INTO due
        FROM \(policy) AS p
        JOIN \(runs) AS r ON r.id = run_id;
        -- The place is the run, by the time of its last entry, and the entry in it.
        SELECT a.run_id, max(a.archived_at) INTO purged_run, last_time
        FROM \(archive) AS a
        GROUP BY a.run_id
        HAVING max(a.archived_at) < due AND max(a.archived_at) >= after_time
        ORDER BY 2, 1
        LIMIT 1;
        IF purged_run IS NULL THEN
          outcome := 'done';
          RETURN;
        END IF;
        IF last_time > after_time OR after_key IS NULL THEN
          after_key := bigint '0';
        END IF;

        SELECT max(l.entry) INTO last_entry
        FROM (
          SELECT e.entry
          FROM (
            \(SQL.joined(last, separator: "\nUNION ALL\n"))
          ) AS e
          ORDER BY e.entry
          LIMIT batch_size
        ) AS l;
        outcome := 'more';
        IF last_entry IS NULL THEN
          -- On to the next run. A batch that was skipped waits for the next cleanup.
          IF NOT EXISTS (SELECT FROM \(archiveContents) AS c WHERE c.run_id = purged_run) THEN
            DELETE FROM \(archive) AS a WHERE a.run_id = purged_run;
            UPDATE \(runs) AS r SET purged_at = clock_timestamp() WHERE r.id = purged_run;
          END IF;
          after_time := last_time + interval '1 microsecond';
          after_key := bigint '0';
          RETURN;
        END IF;

        -- A sweep that looks now would take the objects for needed and forget them.
        \(lockObjects(of: objects))
        INSERT INTO \(deletions) (hash, generation, size)
        SELECT DISTINCT ON (o.hash, o.generation) o.hash, o.generation, o.size
        FROM (
          \(objects)
        ) AS o
        ON CONFLICT (hash, generation) DO NOTHING;

        WITH given_up AS MATERIALIZED (
          SELECT c.data_class, count(*) AS rows, sum(c.bytes) AS bytes, count(*) FILTER (WHERE c.is_external) AS external_rows,
            coalesce(sum(c.bytes) FILTER (WHERE c.is_external), 0) AS external_bytes
          FROM \(archiveContents) AS c
          WHERE c.run_id = purged_run AND c.entry > after_key AND c.entry <= last_entry
          GROUP BY c.data_class
        ), totals AS (
          UPDATE \(archive) AS a
          SET rows = a.rows - g.rows, bytes = a.bytes - g.bytes, external_rows = a.external_rows - g.external_rows,
            external_bytes = a.external_bytes - g.external_bytes
          FROM given_up AS g
          WHERE a.run_id = purged_run AND a.data_class = g.data_class
        )
        UPDATE \(runs) AS r
        SET batches = r.batches + 1, purged_rows = r.purged_rows + f.rows, purged_bytes = r.purged_bytes + f.bytes,
          freed_bytes = r.freed_bytes + f.bytes, external_blobs = r.external_blobs + f.external_rows,
          external_bytes = r.external_bytes + f.external_bytes
        FROM (
          SELECT sum(g.rows) AS rows, coalesce(sum(g.bytes) FILTER (WHERE \(isBlob)), 0) AS bytes,
            sum(g.external_rows) AS external_rows, sum(g.external_bytes) AS external_bytes
          FROM given_up AS g
        ) AS f
        WHERE r.id = run_id;
        \(SQL.joined(deletes, separator: "\n"))
        after_time := last_time;
        after_key := last_entry;
      \(caughtErrors(lastKey: "last_entry"))
      END
      """
    return createBatch(
      purge,
      keyType: "bigint",
      rights: ownerRights,
      comment:
        "Takes one batch of older runs out of the archive, after the given place, and queues its objects for deletion. cutoff NULL: archive_days before the run.",
      body: body
    )
  }
}
