import RetentionModel
import SafeSQL

extension RetentionSchema {
  /// `070_cleanup.sql`: the cleanup procedure and what it is made of.
  func cleanup() -> Artefact {
    Artefact(
      path: "070_cleanup.sql",
      kind: .repeatable,
      purpose: [
        "The cleanup: CALL \(names.identifier("cleanup").quoted)(cutoff, dry_run). The procedure only loops and commits; every batch is a",
        "function that catches its own errors, because PostgreSQL allows no COMMIT in a block that catches errors.",
      ],
      locks: ["none on tables"],
      body: .joined(
        [previewFunction, startFunction, holdFunction, finishFunction] + model.classes.map(batchFunction)
          + [blobBatchFunction, purgeBatchFunction, nextTransaction, procedure],
        separator: "\n\n"
      )
    )
  }

  // MARK: What may be deleted

  private func keyColumn(_ tableName: String) -> Identifier { Identifier(table(tableName).primaryKey[0]) }

  private func window(_ name: String) -> Identifier { Identifier("\(name)_cutoff") }

  private func keyColumnType(_ tableName: String) -> SQL {
    "\(raw: columnType(of: table(tableName).primaryKey[0], in: tableName))"
  }

  /// Children of a table, each with the foreign key.
  private func children(of name: String) -> [(table: Table, key: ForeignKey)] {
    model.tables.flatMap { table in table.foreignKeys.filter { $0.parent == name }.map { (table, $0) } }
  }

  private func join(_ key: ForeignKey, child: SQL, parent: SQL) -> SQL {
    .joined(
      zip(key.columns, key.parentColumns).map { "\(child).\(Identifier($0)) = \(parent).\(Identifier($1))" },
      separator: " AND "
    )
  }

  private func partKey(_ part: DataClass.Part, of dataClass: DataClass) -> ForeignKey {
    guard let key = table(part.table).foreignKeys.first(where: { $0.parent == dataClass.table }) else {
      preconditionFailure("part \(part.name) has no foreign key to \(dataClass.table): the model was not validated")
    }
    return key
  }

  /// The conditions under which the row `r` of a class may go, besides its age.
  ///
  /// With `dying`, rows of earlier classes do not block when the query of that name lists them; without, they are gone.
  private func conditions(_ dataClass: DataClass, cutoff: SQL, protected: SQL, dying: Bool) -> [SQL] {
    var result: [SQL] = []
    if let status = dataClass.status {
      result.append("(r.\(Identifier(status)) = ANY (\(protected))) IS NOT TRUE")
    }
    result += protectedAncestors(of: dataClass.table, alias: "r", protected: protected, depth: 1)
    for part in dataClass.parts {
      let key = partKey(part, of: dataClass)
      if let timestamp = part.timestamp {
        result.append(
          "NOT EXISTS (SELECT FROM \(names.table(part.table)) AS x WHERE \(join(key, child: "x", parent: "r")) AND x.\(Identifier(timestamp)) >= \(cutoff))"
        )
      }
      for (child, childKey) in children(of: part.table)
      where !dataClass.parts.contains(where: { $0.table == child.name }) {
        result.append(
          "NOT EXISTS (SELECT FROM \(names.table(part.table)) AS x JOIN \(names.table(child.name)) AS y ON \(join(childKey, child: "y", parent: "x")) WHERE \(join(key, child: "x", parent: "r")))"
        )
      }
    }
    for (child, key) in children(of: dataClass.table) where !dataClass.parts.contains(where: { $0.table == child.name })
    {
      let alreadyDying: SQL =
        dying && model.classes.contains { $0.table == child.name }
        ? " AND NOT EXISTS (SELECT FROM \(dyingName(child.name)) AS d WHERE d.\(keyColumn(child.name)) = c.\(keyColumn(child.name)))"
        : ""
      result.append(
        "NOT EXISTS (SELECT FROM \(names.table(child.name)) AS c WHERE \(join(key, child: "c", parent: "r"))\(alreadyDying))"
      )
    }
    return result
  }

  /// A batch begins after the place where the last one ended, and nothing comes before `-infinity`: a row with that time
  /// stays, as one without a time does.
  private func hasAge(_ timestamp: SQL) -> SQL { "\(timestamp) > '-infinity'" }

  private func protectedAncestors(of name: String, alias: SQL, protected: SQL, depth: Int) -> [SQL] {
    table(name).foreignKeys.flatMap { key -> [SQL] in
      guard let parent = model.classes.first(where: { $0.table == key.parent }) else { return [] }
      let parentAlias: SQL = "p\(depth)"
      var alternatives: [SQL] = []
      if let status = parent.status { alternatives.append("\(parentAlias).\(Identifier(status)) = ANY (\(protected))") }
      alternatives += protectedAncestors(of: parent.table, alias: parentAlias, protected: protected, depth: depth + 1)
        .map { "NOT (\($0))" }
      guard !alternatives.isEmpty else { return [] }
      return [
        "NOT EXISTS (SELECT FROM \(names.table(key.parent)) AS \(parentAlias) WHERE \(join(key, child: alias, parent: parentAlias)) AND (\(SQL.joined(alternatives, separator: " OR "))))"
      ]
    }
  }

  private func dyingName(_ tableName: String) -> Identifier {
    let owner = model.classes.first { $0.table == tableName || $0.parts.contains { $0.table == tableName } }
    let name = owner.flatMap { $0.table == tableName ? $0.name : $0.parts.first { $0.table == tableName }?.name }
    return Identifier("dying_\(name ?? tableName)")
  }

  // MARK: Preview

  /// The preview's name for what is in the object store; no class has a space in its name.
  private var externalFigure: String { "external \(blobs.plural)" }

  /// The preview's names for what goes into the archive and out of it.
  private var archivedRowsFigure: String { "archived rows" }
  private var archivedFigure: String { "archived \(blobs.plural)" }
  private var purgedFigure: String { "purged \(blobs.plural)" }
  private var purgedRowsFigure: String { "purged rows" }

  /// What a cleanup takes out of the archive: runs of which nothing has come after `cutoff`.
  private func purgeable(_ cutoff: SQL) -> SQL {
    """
    SELECT a.* FROM \(archive) AS a
    WHERE a.run_id IN (SELECT e.run_id FROM \(archive) AS e GROUP BY e.run_id HAVING max(e.archived_at) < \(cutoff))
    """
  }

  private var previewFunction: SQL {
    let function = names.qualified("cleanup_preview")
    let windowColumns = (model.classes.map(\.name) + [blobs.plural]).map { name -> SQL in
      """
      coalesce($1, now() - pg_catalog.make_interval(days => coalesce(p.\(Identifier("\(name)_retention_days")), p.retention_days))) AS \(window(name))
      """
    }
    var queries: [SQL] = [
      """
      policy AS MATERIALIZED (
        SELECT p.protected_statuses, p.archive_days > 0 AS archives,
          now() - pg_catalog.make_interval(days => p.archive_days) AS due,
          \(SQL.joined(windowColumns))
        FROM \(policy) AS p
        WHERE p.retention_days > 0
      )
      """
    ]
    var figures: [SQL] = []
    var edgeSources: [SQL] = []
    func storedBytes(_ tableName: String) -> Identifier {
      var name = "stored_bytes"
      while table(tableName).columns.contains(where: { $0.name == name }) { name += "_" }
      return Identifier(name)
    }
    func figure(_ name: String, _ tableName: String, _ timestamp: String?) {
      let times: SQL =
        timestamp.map { "min(d.\(Identifier($0))), max(d.\(Identifier($0)))" }
        ?? "NULL::timestamptz, NULL::timestamptz"
      figures.append(
        "SELECT \(literal: name)::text, count(*), coalesce(sum(d.\(storedBytes(tableName))), 0)::bigint, \(times) FROM \(dyingName(tableName)) AS d"
      )
    }
    func selected(_ tableName: String, _ alias: SQL) -> SQL {
      let columns = table(tableName).columns.map { column -> SQL in "\(alias).\(Identifier(column.name))" }
      let sizes = table(tableName).columns.map { column -> SQL in
        column.isNullable
          ? "coalesce(pg_catalog.pg_column_size(\(alias).\(Identifier(column.name))), 0)"
          : "pg_catalog.pg_column_size(\(alias).\(Identifier(column.name)))"
      }
      return
        "\(SQL.joined(columns, separator: ", ")),\n\(SQL.joined(sizes, separator: " + ")) AS \(storedBytes(tableName))"
    }
    for dataClass in model.classes {
      let dying = dyingName(dataClass.table)
      let conditions =
        [
          "r.\(Identifier(dataClass.timestamp)) < w.\(window(dataClass.name))",
          hasAge("r.\(Identifier(dataClass.timestamp))"),
        ]
        + conditions(dataClass, cutoff: "w.\(window(dataClass.name))", protected: "w.protected_statuses", dying: true)
      queries.append(
        """
        \(dying) AS MATERIALIZED (
          SELECT \(selected(dataClass.table, "r"))
          FROM \(names.table(dataClass.table)) AS r, policy AS w
          WHERE \(SQL.joined(conditions, separator: "\n  AND "))
        )
        """
      )
      figure(dataClass.name, dataClass.table, dataClass.timestamp)
      for part in dataClass.parts {
        queries.append(
          """
          \(dyingName(part.table)) AS MATERIALIZED (
            SELECT \(selected(part.table, "x"))
            FROM \(names.table(part.table)) AS x
            JOIN \(dying) AS r ON \(join(partKey(part, of: dataClass), child: "x", parent: "r"))
          )
          """
        )
        figure(part.name, part.table, part.timestamp)
      }
      for name in [dataClass.table] + dataClass.parts.map(\.table) {
        for edge in model.references where edge.table == name {
          edgeSources.append("SELECT k.hash, -1 AS delta FROM (\(keys(of: edge, from: "\(dyingName(name))"))) AS k")
        }
      }
    }
    queries.append(
      """
      -- What is on its way to refcount, and what the rows above take away from it.
      changes AS MATERIALIZED (
        SELECT c.hash, sum(c.delta)::bigint AS delta, max(c.put_at) AS put_at
        FROM (
          SELECT l.hash, l.delta, CASE WHEN l.is_put THEN l.recorded_at END AS put_at FROM \(ledger) AS l WHERE l.hash IS NOT NULL
          UNION ALL
          SELECT u.hash, u.refcount, NULL FROM \(unresolved) AS u
          UNION ALL
          SELECT e.hash, e.delta, NULL
          FROM (
            \(edgeSources.isEmpty ? "SELECT NULL::\(keyType) AS hash, 0 AS delta" : SQL.joined(edgeSources, separator: "\nUNION ALL\n"))
          ) AS e
          WHERE \(isKey("e.hash"))
        ) AS c
        GROUP BY c.hash
      )
      """
    )
    let createdAt = Identifier(blobs.createdAt)
    let dyingBlobs = Identifier("dying_\(blobs.plural)")
    func blobColumns() -> SQL {
      "b.\(key) AS hash, b.\(Identifier(blobs.size)) AS stored_bytes, b.\(createdAt) AS created_at, \(isExternal("b")) AS is_external"
    }
    queries.append(
      """
      \(dyingBlobs) AS (
        SELECT f.stored_bytes, f.created_at, f.is_external
        FROM (
          SELECT \(blobColumns()), NULL::timestamptz AS put_at
          FROM \(blobTable) AS b, policy AS w
          WHERE b.\(refcount) = 0 AND b.\(createdAt) < w.\(window(blobs.plural))
            AND NOT EXISTS (SELECT FROM changes AS c WHERE c.hash = b.\(key))
          UNION ALL
          SELECT \(blobColumns()), c.put_at
          FROM changes AS c
          JOIN \(blobTable) AS b ON b.\(key) = c.hash AND b.\(refcount) + c.delta = 0
        ) AS f
        CROSS JOIN policy AS w
        WHERE f.created_at < w.\(window(blobs.plural)) AND \(hasAge("f.created_at"))
          AND (f.put_at < w.\(window(blobs.plural))) IS NOT FALSE
          AND NOT EXISTS (SELECT FROM \(puts) AS t WHERE t.hash = f.hash AND t.put_at >= w.\(window(blobs.plural)))
      )
      """
    )
    figures.append(
      "SELECT \(literal: blobs.plural)::text, count(*), coalesce(sum(d.stored_bytes), 0)::bigint, min(d.created_at), max(d.created_at) FROM \(dyingBlobs) AS d"
    )
    // Those of them that are in the object store; the figures above hold them too.
    figures.append(
      "SELECT \(literal: externalFigure)::text, count(*), coalesce(sum(d.stored_bytes), 0)::bigint, min(d.created_at), max(d.created_at) FROM \(dyingBlobs) AS d WHERE d.is_external"
    )
    let dyingTables = model.classes.flatMap { [$0.table] + $0.parts.map(\.table) }
    let dying: [(rows: Identifier, bytes: Identifier)] =
      dyingTables.map { (dyingName($0), storedBytes($0)) } + [(dyingBlobs, Identifier("stored_bytes"))]
    func sum(_ value: (Identifier) -> SQL) -> SQL {
      .joined(dying.map { one -> SQL in "(SELECT \(value(one.bytes)) FROM \(one.rows) AS d)" }, separator: " + ")
    }
    figures.append(
      """
      SELECT \(literal: archivedRowsFigure)::text,
        CASE WHEN w.archives THEN \(sum { _ in "count(*)" }) ELSE 0 END,
        CASE WHEN w.archives THEN (\(sum { "coalesce(sum(d.\($0)), 0)" }))::bigint ELSE 0 END, NULL, NULL
      FROM (SELECT EXISTS (SELECT FROM policy AS p WHERE p.archives) AS archives) AS w
      """
    )
    figures.append(
      "SELECT \(literal: archivedFigure)::text, count(*), coalesce(sum(d.stored_bytes), 0)::bigint, min(d.created_at), max(d.created_at) FROM \(dyingBlobs) AS d, policy AS w WHERE w.archives"
    )
    // What older runs have archived.
    queries.append(
      """
      purged AS MATERIALIZED (
        SELECT p.* FROM policy AS w, LATERAL (
          \(purgeable("w.due"))
        ) AS p
      )
      """
    )
    let purgedFigures: [(name: String, condition: SQL)] = [
      (purgedRowsFigure, ""), (purgedFigure, " WHERE d.data_class = \(literal: blobs.plural)"),
    ]
    for (name, condition) in purgedFigures {
      figures.append(
        "SELECT \(literal: name)::text, coalesce(sum(d.rows), 0)::bigint, coalesce(sum(d.bytes), 0)::bigint, min(d.archived_at), max(d.archived_at) FROM purged AS d\(condition)"
      )
    }
    let body: SQL = """
      WITH \(SQL.joined(queries, separator: ", "))
      \(SQL.joined(figures, separator: "\nUNION ALL\n"))
      """
    return """
      CREATE OR REPLACE FUNCTION \(function)(cutoff timestamptz DEFAULT NULL)
      RETURNS TABLE (data_class text, rows bigint, bytes bigint, oldest timestamptz, newest timestamptz)
      LANGUAGE sql STABLE \(ownerRights)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(function)(timestamptz) IS 'What a cleanup with this cutoff (NULL: the policy) would delete now. Changes nothing; works in a READ ONLY transaction and on a standby. bytes: of blobs their size, of other rows what their columns take on disk.';
      \(revoke("FUNCTION", "\(function)(timestamptz)"))
      """
  }

  // MARK: Begin and end of a run

  private var startFunction: SQL {
    let function = names.qualified("cleanup_start")
    let windows = (model.classes.map(\.name) + [blobs.plural]).map { name -> SQL in
      """
      \(window(name)) := coalesce(given_cutoff, now() - make_interval(days => coalesce(settings.\(Identifier("\(name)_retention_days")), settings.retention_days)));
      """
    }
    let outputs = (model.classes.map(\.name) + [blobs.plural]).map { name -> SQL in "OUT \(window(name)) timestamptz" }
    let dryRunFigures = model.classes.flatMap { [$0.name] + $0.parts.map(\.name) } + [blobs.plural]
    func figure(_ name: String, _ column: SQL) -> SQL {
      "(SELECT f.\(column) FROM figures AS f WHERE f.data_class = \(literal: name))"
    }
    /// What the store loses: objects of blobs that are deleted without an archive, and of those that are purged.
    func givenUp(_ column: SQL) -> SQL {
      """
      CASE WHEN settings.archive_days > 0 THEN 0 ELSE \(figure(externalFigure, column)) END
        + (SELECT coalesce(sum(p.external_\(column)), 0) FROM (\(purgeable("now() - make_interval(days => settings.archive_days)"))) AS p)
      """
    }
    let assignments = dryRunFigures.map { name -> SQL in
      "\(Identifier("deleted_\(name)")) = \(figure(name, "rows"))"
    }
    let tables =
      model.classes.flatMap { [($0.name, $0.table)] + $0.parts.map { ($0.name, $0.table) } } + [
        (blobs.plural, blobs.table)
      ]
    let shares = tables.map { name, table -> SQL in
      "SELECT \(literal: name)::text AS data_class, count(*) AS total FROM \(names.table(table))"
    }
    let body: SQL = """
      DECLARE
        settings \(policy);
        refusal  text;
      BEGIN
        IF given_cutoff > now() THEN
          RAISE EXCEPTION 'cutoff % is in the future', given_cutoff
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a moment that has passed; everything before it expires.';
        END IF;
        SELECT * INTO STRICT settings FROM \(policy);
        dry_run := coalesce(dry_run, settings.dry_run);
        batch_size := settings.batch_size;
        batch_pause := extract(epoch FROM settings.batch_pause)::double precision;
        deadline := coalesce(clock_timestamp() + settings.max_duration, 'infinity');
        \(SQL.joined(windows, separator: "\n"))

        status := CASE
          WHEN settings.retention_days <= 0 THEN 'disabled'
          WHEN dry_run THEN 'completed'
          WHEN NOT pg_try_advisory_xact_lock(\(lockNamespace), \(LockKey.cleanup)) THEN 'skipped'
          WHEN NOT take_over AND EXISTS (SELECT FROM \(runs) AS r WHERE r.status = 'running') THEN 'probe'
          ELSE 'running'
        END;
        IF status = 'probe' THEN
          RETURN;
        END IF;
        IF status = 'running' THEN
          UPDATE \(runs) AS r
          SET status = 'interrupted', finished_at = clock_timestamp(),
            error = coalesce(r.error, 'the session that ran it ended or was cancelled')
          WHERE r.status = 'running';
        END IF;

        IF status IN ('running', 'completed') THEN
          SELECT format('trigger %s of table %s is %s: references would be lost', t.trigger_name, t.table_name, t.state)
          INTO refusal
          FROM \(names.qualified("counting_triggers")) AS t
          WHERE t.state <> 'enabled'
          LIMIT 1;
          IF refusal IS NULL AND settings.max_delete_fraction IS NOT NULL THEN
            SELECT format('would delete %s of %s rows of %s, more than max_delete_fraction %s',
              f.rows, s.total, f.data_class, settings.max_delete_fraction)
            INTO refusal
            FROM \(names.qualified("cleanup_preview"))(given_cutoff) AS f
            JOIN (
              \(SQL.joined(shares, separator: "\nUNION ALL\n"))
            ) AS s ON s.data_class = f.data_class
            WHERE f.rows > s.total * settings.max_delete_fraction
            LIMIT 1;
          END IF;
          IF refusal IS NOT NULL THEN
            status := 'refused';
          END IF;
        END IF;

        INSERT INTO \(runs) (cutoff, dry_run, status, finished_at, error)
        VALUES (given_cutoff, dry_run, status, CASE WHEN status <> 'running' THEN clock_timestamp() END, refusal)
        RETURNING id INTO run_id;

        IF status = 'completed' THEN
          WITH figures AS MATERIALIZED (SELECT * FROM \(names.qualified("cleanup_preview"))(given_cutoff))
          UPDATE \(runs) AS r
          SET \(SQL.joined(assignments)),
            freed_bytes = \(figure(blobs.plural, "bytes")) - \(figure(archivedFigure, "bytes")) + \(figure(purgedFigure, "bytes")),
            external_blobs = \(givenUp("rows")),
            external_bytes = \(givenUp("bytes")),
            archived_rows = \(figure(archivedRowsFigure, "rows")),
            archived_bytes = \(figure(archivedFigure, "bytes")),
            purged_rows = \(figure(purgedRowsFigure, "rows")),
            purged_bytes = \(figure(purgedFigure, "bytes")),
            finished_at = clock_timestamp()
          WHERE r.id = run_id;
        END IF;
      END
      """
    return """
      CREATE OR REPLACE FUNCTION \(function)(
        IN given_cutoff timestamptz, IN take_over boolean, INOUT dry_run boolean, OUT run_id bigint, OUT status text,
        OUT batch_size integer, OUT batch_pause double precision, OUT deadline timestamptz,
        \(SQL.joined(outputs))
      )
      LANGUAGE plpgsql \(ownerRights)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(function)(timestamptz, boolean, boolean) IS 'Begins a run: checks, windows, the record. A dry run is finished when this returns.';
      \(revoke("FUNCTION", "\(function)(timestamptz, boolean, boolean)"))
      """
  }

  private var holdFunction: SQL {
    let function = names.qualified("cleanup_hold")
    let body: SQL = """
      BEGIN
        PERFORM pg_advisory_xact_lock(\(lockNamespace), \(LockKey.cleanup));
        RETURN EXISTS (SELECT FROM \(runs) AS r WHERE r.id = run_id AND r.status = 'running');
      END
      """
    return """
      CREATE OR REPLACE FUNCTION \(function)(run_id bigint) RETURNS boolean
      LANGUAGE plpgsql \(ownerRights)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(function)(bigint) IS 'Holds the one place of a cleanup until COMMIT; false if another run has taken over. A transaction''s lock, because a session''s would outlive a cancelled run.';
      \(revoke("FUNCTION", "\(function)(bigint)"))
      """
  }

  private var finishFunction: SQL {
    let function = names.qualified("cleanup_finish")
    let body: SQL = """
        WITH ended AS (
          UPDATE \(runs) AS r
          SET status = $2, error = $3, finished_at = clock_timestamp()
          WHERE r.id = $1 AND r.status = 'running'
          RETURNING r.finished_at
        )
        \(recordStorageHistory(of: "ended"))
        SELECT * FROM \(runs) AS r WHERE r.id = $1
      """
    return """
      CREATE OR REPLACE FUNCTION \(function)(run_id bigint, status text, error text) RETURNS \(runs)
      LANGUAGE sql \(ownerRights)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(function)(bigint, text, text) IS 'Ends a run that is still running and returns its record.';
      \(revoke("FUNCTION", "\(function)(bigint, text, text)"))
      """
  }

  // MARK: Batches

  private func batchName(_ name: String) -> QualifiedName { names.qualified("cleanup_\(name)_batch") }

  /// What a batch does with errors; `last` and `last_time` survive them, since variables are not rolled back.
  private func caughtErrors(lastKey last: SQL) -> SQL {
    """
    EXCEPTION
      WHEN deadlock_detected OR lock_not_available OR serialization_failure THEN
        -- Where the batch would have ended: after the last attempt the caller goes on from there.
        after_time := coalesce(last_time, after_time);
        after_key := coalesce(\(last), after_key);
        outcome := 'retry';
        failure := SQLERRM;
        failure_state := SQLSTATE;
      WHEN OTHERS THEN
        outcome := 'failed';
        failure := SQLERRM;
        failure_state := SQLSTATE;
    """
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

  private func batchSignature(_ type: SQL) -> SQL { "bigint, timestamptz, integer, timestamptz, \(type)" }

  private func createBatch(_ name: String, keyType type: SQL, rights: SQL, comment: String, body: SQL) -> SQL {
    let function = batchName(name)
    return """
      CREATE OR REPLACE FUNCTION \(function)(
        IN run_id bigint, IN cutoff timestamptz, IN batch_size integer,
        INOUT after_time timestamptz, INOUT after_key \(type),
        OUT outcome text, OUT failure text, OUT failure_state text
      )
      LANGUAGE plpgsql \(rights) SET lock_timeout = '1s' SET plan_cache_mode = force_custom_plan
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
  /// The two conditions are asked one after the other. In one query the planner believes that hardly a row passes all of
  /// `checked`, does not trust the LIMIT to be reached, and reads whole tables for every batch.
  private func nextBatch(
    of target: QualifiedName,
    key: Identifier,
    timestamp: Identifier,
    where condition: SQL,
    into found: SQL,
    checked: SQL
  ) -> SQL {
    """
    -- By age alone, so that a batch reads no more rows than it may delete; what has to stay among them is passed over.
    LOOP
      SELECT array_agg(w.id ORDER BY w.at, w.id), max(w.at) INTO aged, last_time
      FROM (
        SELECT r.\(key) AS id, r.\(timestamp) AS at
        FROM \(target) AS r
        WHERE \(condition) AND (r.\(timestamp), r.\(key)) > (after_time, after_key)
        ORDER BY r.\(timestamp), r.\(key)
        LIMIT batch_size
      ) AS w;
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

  private func batchFunction(_ dataClass: DataClass) -> SQL {
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
        -- A row goes with all its \(comment: part.name) or not at all.
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
        \(SQL.joined(parts.map(\.lock), separator: "\n"))
        -- Again, now that nothing can change: a child may have come between the first look and the lock.
        SELECT array_agg(r.\(id)) INTO doomed
        FROM \(target) AS r
        WHERE r.\(id) = ANY (doomed)
          AND \(checked);

        IF archives THEN
          \(SQL.joined(parts.map(\.archive) + [archiveRows(dataClass.name, "WHERE x.\(id) = ANY (doomed)")], separator: "\n"))
        ELSE
          \(SQL.joined(parts.map(\.delete), separator: "\n"))
          DELETE FROM \(target) AS r WHERE r.\(id) = ANY (doomed);
          GET DIAGNOSTICS \(Identifier("\(dataClass.name)_count")) = ROW_COUNT;
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

  private var blobBatchFunction: SQL {
    let createdAt = Identifier(blobs.createdAt)
    let unused: SQL = """
      NOT EXISTS (SELECT FROM \(puts) AS t WHERE t.hash = r.\(key) AND t.put_at >= cutoff)
      AND NOT EXISTS (SELECT FROM \(unresolved) AS u WHERE u.hash = r.\(key))
      """
    let search = nextBatch(
      of: blobTable,
      key: key,
      timestamp: createdAt,
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
        \(search)

        -- Whoever refers to a blob holds its bucket until COMMIT: a bucket that is free now has told the ledger all,
        -- and the next statements see it.
        SELECT array_agg(k.bucket) INTO buckets
        FROM (SELECT DISTINCT \(bucket("h.hash")) AS bucket FROM unnest(unreferenced) AS h (hash)) AS k
        WHERE pg_try_advisory_xact_lock(\(lockNamespace), k.bucket);

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
            AND r.\(refcount) = 0 AND r.\(createdAt) < cutoff
            AND \(unused)
            AND NOT EXISTS (SELECT FROM \(ledger) AS l WHERE l.hash IS NULL)
          FOR UPDATE OF r SKIP LOCKED
        ) AS f;

        SELECT p.archive_days > 0 INTO archives FROM \(policy) AS p;
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

  private var purgeBatchFunction: SQL {
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

  // MARK: The procedure

  private var nextTransaction: SQL {
    let procedure = names.qualified("cleanup_next_transaction")
    let body: SQL = """
      BEGIN
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
      END
      """
    return """
      CREATE OR REPLACE PROCEDURE \(procedure)()
      LANGUAGE plpgsql
      AS \(body.dollarQuoted());
      COMMENT ON PROCEDURE \(procedure)() IS 'Commits what a cleanup has done and begins its next transaction, at READ COMMITTED whatever the default is.';
      \(revoke("PROCEDURE", "\(procedure)()"))
      """
  }

  private var procedure: SQL {
    let procedure = names.qualified("cleanup")
    let next: SQL = "CALL \(names.qualified("cleanup_next_transaction"))();"
    let outputs = countColumns.map { column -> SQL in "INOUT \(Identifier(column.name)) bigint DEFAULT NULL" }
    let results = countColumns.map { column -> SQL in
      "\(Identifier(column.name)) := finished.\(Identifier(column.name));"
    }
    let keys: [(name: String, type: SQL)] =
      model.classes.map { ($0.name, keyColumnType($0.table)) } + [(blobs.plural, keyType), (purge, "bigint")]
    let variables = keys.map { name, type -> SQL in
      """
      \(Identifier("\(name)_time")) timestamptz := timestamptz '-infinity';
      \(Identifier("\(name)_key")) \(type);
      """
    }
    let classLoops = model.classes.map { loop($0.name, next: next) }
    let body: SQL = """
      #variable_conflict use_variable
      DECLARE
        run      record;
        batch    record;
        finished \(runs);
        probes   integer := 0;
        attempts integer;
        result   text := 'completed';
        problem  text;
        problem_state text;
        real     boolean;
        pause_end timestamptz;
        \(SQL.joined(variables, separator: "\n"))
      BEGIN
        IF cutoff > pg_catalog.now() THEN
          RAISE EXCEPTION 'cutoff % is in the future', cutoff
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a moment that has passed; everything before it expires.';
        END IF;
        SELECT NOT coalesce(dry_run, p.dry_run) INTO real FROM \(policy) AS p;
        IF real THEN
          -- A procedure cannot ask whether it may commit, nor catch that it may not: the comment inside the parentheses is
          -- what the error's context shows.
          CALL \(names.qualified("cleanup_next_transaction"))(
            /* a real cleanup commits after every batch: CALL it outside BEGIN ... COMMIT, with autocommit on */);
        END IF;

        LOOP
          SELECT s.* INTO run FROM \(names.qualified("cleanup_start"))(cutoff, probes >= 3, dry_run) AS s;
          EXIT WHEN run.status <> 'probe';
          -- A run is recorded as running but holds no lock: either its session is gone, or it is between two batches
          -- at this instant. Three looks tell.
          probes := probes + 1;
          \(next)
          PERFORM pg_catalog.pg_sleep(0.05);
        END LOOP;
        run_id := run.run_id;
        RAISE DEBUG 'cleanup run % begins', run_id
          USING ERRCODE = \(literal: CleanupNotice.begin), DETAIL = pg_catalog.json_build_object('run_id', run_id)::text;

        <<work>>
        BEGIN
          EXIT work WHEN run.status <> 'running';

          \(SQL.joined(classLoops, separator: "\n\n"))

          -- What the steps above have freed goes in this run too. A fold that is at work may not have seen it, and a second
          -- one at the same time does nothing: ask until it has ended.
          LOOP
            \(next)
            IF NOT \(names.qualified("cleanup_hold"))(run_id) THEN
              EXIT work;
            END IF;
            EXIT WHEN pg_catalog.pg_try_advisory_xact_lock(\(lockNamespace), \(LockKey.fold));
            IF pg_catalog.clock_timestamp() >= run.deadline THEN
              result := 'partial';
              problem := 'max_duration is over';
              EXIT work;
            END IF;
            PERFORM pg_catalog.pg_sleep(0.05);
          END LOOP;
          PERFORM \(names.qualified("fold_references"))();

          \(loop(blobs.plural, next: next))

          \(loop(purge, cutoff: "NULL", next: next))
        END work;

        IF run.status = 'running' THEN
          \(next)
        END IF;
        SELECT f.* INTO finished FROM \(names.qualified("cleanup_finish"))(run_id, result, problem) AS f;
        status := finished.status;
        \(SQL.joined(results, separator: "\n"))
        IF status = 'failed' OR status = 'refused' AND real THEN
          \(next)
          RAISE EXCEPTION 'cleanup run % %: %', run_id, status, finished.error
            USING ERRCODE = coalesce(problem_state, 'object_not_in_prerequisite_state'),
              HINT = \(literal: "The run is recorded in \(runs.quoted).");
        END IF;
      END
      """
    return """
      CREATE OR REPLACE PROCEDURE \(procedure)(
        IN cutoff timestamptz DEFAULT NULL, IN dry_run boolean DEFAULT NULL,
        INOUT run_id bigint DEFAULT NULL, INOUT status text DEFAULT NULL,
        \(SQL.joined(outputs))
      )
      LANGUAGE plpgsql
      AS \(body.dollarQuoted());
      COMMENT ON PROCEDURE \(procedure)(timestamptz, boolean, bigint, text\(SQL.joined(countColumns.map { _ in ", bigint" }, separator: ""))) IS 'Deletes what has expired. cutoff NULL: the windows of the policy; dry_run NULL: the policy''s. Can be stopped at any point and started again.';
      \(revoke("PROCEDURE", "\(procedure)(timestamptz, boolean, bigint, text\(SQL.joined(countColumns.map { _ in ", bigint" }, separator: "")))"))
      """
  }

  /// The loop over the batches of one class.
  ///
  /// - Parameter cutoff: default: that of the class.
  private func loop(_ name: String, cutoff: SQL? = nil, next: SQL) -> SQL {
    let cutoff = cutoff ?? "run.\(window(name))"
    let time = Identifier("\(name)_time")
    let key = Identifier("\(name)_key")
    return """
      -- \(comment: name)
      attempts := 0;
      LOOP
        \(next)
        IF NOT \(names.qualified("cleanup_hold"))(run_id) THEN
          EXIT work;
        END IF;
        IF pg_catalog.clock_timestamp() >= run.deadline THEN
          result := 'partial';
          problem := 'max_duration is over';
          EXIT work;
        END IF;
        pause_end := pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => run.batch_pause);
        WHILE pg_catalog.clock_timestamp() < pause_end LOOP
          -- In slices: who ends the run does not wait for the end of a pause.
          PERFORM pg_catalog.pg_sleep(least(1, extract(epoch FROM pause_end - pg_catalog.clock_timestamp())));
          IF NOT \(names.qualified("cleanup_hold"))(run_id) THEN
            EXIT work;
          END IF;
        END LOOP;
        SELECT b.* INTO batch FROM \(batchName(name))(run_id, \(cutoff), run.batch_size, \(time), \(key)) AS b;
        EXIT WHEN batch.outcome = 'done';
        IF batch.outcome = 'failed' THEN
          result := 'failed';
          problem := batch.failure;
          problem_state := batch.failure_state;
          EXIT work;
        END IF;
        IF batch.outcome = 'retry' THEN
          attempts := attempts + 1;
          CONTINUE WHEN attempts < 3;
          -- After three attempts this batch waits for the next run; where its end is unknown, so does the whole class.
          result := 'partial';
          problem := pg_catalog.format('a batch of %s was skipped: %s', \(literal: name), batch.failure);
          EXIT WHEN batch.after_key IS NOT DISTINCT FROM \(key);
        END IF;
        attempts := 0;
        \(time) := batch.after_time;
        \(key) := batch.after_key;
      END LOOP;
      """
  }
}
