import RetentionModel
import SafeSQL

extension RetentionSchema {
  /// `065_archive.sql`: how rows come into the archive and back out of it.
  func archiving() -> Artefact {
    Artefact(
      path: "065_archive.sql",
      kind: .repeatable,
      purpose: [
        "The archive: what a cleanup calls where archive_days of the policy is more than 0, and",
        "SELECT * FROM \(undo.quoted)(run_id), which brings back what a run has deleted.",
      ],
      locks: ["none on tables", locksOfViews],
      body: .joined(
        [
          contentsView, addFunction, unknownColumnsFunction, otherColumnsFunction, columnListFunction, undoRowsFunction,
          undoConflictsFunction,
          undoExpiredFunction, undoFunction,
        ],
        separator: "\n\n"
      )
    )
  }

  /// The functions of the file, for removal.
  var archiveFunctionNames: [String] {
    [
      "undo_cleanup", "undo_expired", "undo_conflicts", "undo_rows", "column_list", "other_columns", "unknown_columns",
      "archive_add",
    ]
  }
  var undo: QualifiedName { names.qualified("undo_cleanup") }
  var archiveContents: QualifiedName { names.qualified("archive_contents") }
  var archiveAdd: QualifiedName { names.qualified("archive_add") }

  /// A transaction whose snapshot is older than its statement cannot do this.
  func requireReadCommitted(_ impossible: String) -> SQL {
    """
    IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
      RAISE EXCEPTION \(literal: "\(impossible) at READ COMMITTED only")
        USING ERRCODE = 'active_sql_transaction',
          HINT = 'SET default_transaction_isolation = ''read committed'', or BEGIN ISOLATION LEVEL READ COMMITTED.';
    END IF;
    """
  }

  /// The archive in the order in which it goes back: blobs first, parents before their children.
  private var restoredTables: [ArchivedTable] {
    [archivedBlobs]
      + model.tables.compactMap { table in archivedTables.first { !$0.isBlobs && $0.table.name == table.name } }
  }

  // MARK: Into the archive

  private var contentsView: SQL {
    let rows = archivedTables.map { archived -> SQL in
      """
      SELECT a.\(archived.run) AS run_id, \(literal: archived.name)::text AS data_class, \(literal: archived.source.quoted)::text AS table_name,
        a.\(archived.entry) AS entry, a.\(archived.archivedAt) AS archived_at, a.\(archived.bytes) AS bytes,
        \(archived.isBlobs ? "a.\(archived.generation) IS NOT NULL" : "false") AS is_external,
        \(otherKeys("a", archived)) AS other_columns
      FROM \(archived.archive) AS a
      """
    }
    return """
      CREATE OR REPLACE VIEW \(archiveContents) AS
      \(SQL.joined(rows, separator: "\nUNION ALL\n"));
      COMMENT ON VIEW \(archiveContents) IS \(literal: "Every row of the archive, without its content; \(archive.quoted) has the sums.");
      """
  }

  /// The names of the columns that the model does not know, as they were archived; NULL: there were none.
  private func otherKeys(_ alias: SQL, _ archived: ArchivedTable) -> SQL {
    """
    CASE WHEN \(alias).\(archived.others) IS NOT NULL
      THEN ARRAY(SELECT k.name FROM pg_catalog.json_object_keys(\(alias).\(archived.others)) AS k (name) ORDER BY k.name) END
    """
  }

  private var addFunction: SQL {
    let body: SQL = """
        INSERT INTO \(archive) AS a (run_id, data_class, rows, bytes, external_rows, external_bytes)
        SELECT $1, $2, $3, $4, $5, $6 WHERE $3 > 0
        ON CONFLICT (run_id, data_class) DO UPDATE
        SET archived_at = EXCLUDED.archived_at, rows = a.rows + EXCLUDED.rows, bytes = a.bytes + EXCLUDED.bytes,
          external_rows = a.external_rows + EXCLUDED.external_rows,
          external_bytes = a.external_bytes + EXCLUDED.external_bytes;
        UPDATE \(runs) AS r
        SET archived_rows = r.archived_rows + $3,
          archived_bytes = r.archived_bytes + CASE WHEN $2 = \(literal: blobs.plural) THEN $4 ELSE 0 END
        WHERE r.id = $1
      """
    let signature: SQL = "\(archiveAdd)(bigint, text, bigint, bigint, bigint, bigint)"
    return """
      CREATE OR REPLACE FUNCTION \(archiveAdd)(
        run_id bigint, data_class text, rows bigint, bytes bigint, external_rows bigint DEFAULT 0, external_bytes bigint DEFAULT 0
      ) RETURNS void
      LANGUAGE sql \(ownerRights)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(signature) IS 'Notes that so many rows of a run went into the archive.';
      \(revoke("FUNCTION", signature))
      """
  }

  /// For functions that write values as text or read them: no setting of a session may change what a text means.
  private var exactTexts: SQL {
    """
    SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex'
    SET lc_monetary = 'C' SET xmloption = 'content' SET array_nulls = on
    """
  }

  private var unknownColumns: QualifiedName { names.qualified("unknown_columns") }

  private var unknownColumnsFunction: SQL {
    // Not a cast, which somebody may have defined: what format makes of a value is what the output function of its type says.
    // And not IS NULL, which holds of a composite value of NULLs too.
    let form: SQL = "CASE WHEN ($1).%1$I IS DISTINCT FROM NULL THEN pg_catalog.format('%%s', ($1).%1$I) END"
    let body: SQL = """
        SELECT pg_catalog.array_agg(c.attname::text ORDER BY c.attnum),
          pg_catalog.array_agg(pg_catalog.format(\(literal: form.text), c.attname) ORDER BY c.attnum)
        FROM pg_catalog.pg_attribute AS c
        WHERE c.attrelid = relation AND c.attnum > 0 AND NOT c.attisdropped AND c.attname <> ALL (known)
      """
    let signature: SQL = "\(unknownColumns)(regclass, name[])"
    return """
      CREATE OR REPLACE FUNCTION \(unknownColumns)(relation regclass, known name[], OUT names text[], OUT forms text[])
      LANGUAGE sql STABLE
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(signature) IS 'The other columns of a table, and the expression for the text of each in the row $1; NULL: there are none.';
      \(revoke("FUNCTION", signature))
      """
  }

  private var otherColumnsFunction: SQL {
    let function = names.qualified("other_columns")
    let body: SQL = """
      DECLARE
        texts json;
      BEGIN
        EXECUTE pg_catalog.concat('SELECT pg_catalog.json_object($2, ARRAY[', pg_catalog.array_to_string(forms, ', '), '])')
        INTO texts USING whole, names;
        RETURN texts;
      END
      """
    let signature: SQL = "\(function)(anyelement, text[], text[])"
    return """
      CREATE OR REPLACE FUNCTION \(function)(whole anyelement, names text[], forms text[]) RETURNS json
      LANGUAGE plpgsql STABLE
      \(exactTexts)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(signature) IS \(literal: "What a row has in the columns that \(unknownColumns.quoted) tells: each value as the text that the input function of its type reads.");
      \(revoke("FUNCTION", signature))
      """
  }

  /// A WITH clause of two CTEs: `gone` deletes rows, `kept` archives them.
  ///
  /// - Parameter condition: the WHERE clause that tells the rows `x` that go.
  func movingToArchive(_ archived: ArchivedTable, _ condition: SQL) -> SQL {
    var extra: (names: SQL, values: SQL, joins: SQL) = ("", "", "")
    if archived.isBlobs {
      extra = (
        ", \(archived.putAt), \(archived.generation)",
        ", (SELECT t.put_at FROM \(puts) AS t WHERE t.hash = g.\(key)), CASE WHEN \(isExternal("g")) THEN coalesce(o.generation, 0) END",
        " LEFT JOIN \(objects) AS o ON o.hash = g.\(key)"
      )
    }
    let bytes: SQL =
      archived.isBlobs ? "coalesce(g.\(Identifier(blobs.size)), 0)" : archived.table.storedBytes(of: "g")
    // x.* is the row, also where a column is named x.
    return """
      WITH gone AS (
        DELETE FROM \(archived.source) AS x
        USING \(unknownColumns)(\(literal(archived.source)), \(archived.knownColumns)) AS o
        \(condition)
        RETURNING \(archived.table.columns(of: "x")),
          CASE WHEN o.names IS NOT NULL THEN \(names.qualified("other_columns"))(x.*, o.names, o.forms) END AS \(archived.others)
      ), kept AS (
        INSERT INTO \(archived.archive) (
          \(archived.run), \(archived.bytes), \(archived.others)\(extra.names), \(SQL.joined(archived.columns.map { "\($0)" }, separator: ", "))
        )
        SELECT run_id,
          \(bytes),
          g.\(archived.others)\(extra.values), \(archived.table.columns(of: "g"))
        FROM gone AS g\(extra.joins)
        RETURNING \(archived.bytes) AS bytes\(archived.isBlobs ? ", \(archived.generation) IS NOT NULL AS is_external" : "")
      )
      """
  }

  // MARK: Back

  private func parentIsThere(_ key: ForeignKey, _ alias: SQL) -> SQL {
    let isNull = key.columns.map { column -> SQL in "\(alias).\(Identifier(column)) IS NULL" }
    let same = zip(key.columns, key.parentColumns).map { column, parent -> SQL in
      "p.\(Identifier(parent)) = \(alias).\(Identifier(column))"
    }
    return """
      (\(SQL.joined(isNull, separator: " OR ")) OR EXISTS (SELECT FROM \(names.table(key.parent)) AS p WHERE \(SQL.joined(same, separator: " AND "))))
      """
  }

  private var columnList: QualifiedName { names.qualified("column_list") }

  private var columnListFunction: SQL {
    let body: SQL = """
        SELECT pg_catalog.string_agg(
          pg_catalog.format(
            -- A domain has the output function of its base type.
            CASE WHEN t.typoutput IN ('pg_catalog.json_out'::pg_catalog.regproc, 'pg_catalog.jsonb_out'::pg_catalog.regproc)
              THEN coalesce(json_form, form) ELSE form END,
            c.attname, pg_catalog.format_type(c.atttypid, c.atttypmod)),
          ', ' ORDER BY c.attnum)
        FROM pg_catalog.pg_attribute AS c
        JOIN pg_catalog.pg_type AS t ON t.oid = c.atttypid
        WHERE c.attrelid = relation AND c.attname = ANY (columns) AND NOT c.attisdropped
      """
    let signature: SQL = "\(columnList)(regclass, name[], text, text)"
    return """
      CREATE OR REPLACE FUNCTION \(columnList)(relation regclass, columns name[], form text, json_form text DEFAULT NULL) RETURNS text
      LANGUAGE sql STABLE
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(signature) IS 'Columns of a table as they stand in a statement, in their order; form: a format for the name and the type of each, json_form: that of those that hold JSON. NULL: there are none.';
      \(revoke("FUNCTION", signature))
      """
  }

  private var undoRowsFunction: SQL {
    let function = names.qualified("undo_rows")
    let branches = restoredTables.map { archived -> SQL in
      let keyColumns = SQL.joined(archived.primaryKey.map { "a.\($0)" }, separator: ", ")
      let conditions: [SQL] =
        [
          "a.\(archived.run) = $1", "a.\(archived.entry) BETWEEN $2 AND $3",
          "(\(otherKeys("a", archived))) IS NOT DISTINCT FROM $4",
        ]
        + archived.table.foreignKeys.map { parentIsThere($0, "a") }
      let columnNames = SQL.joined(archived.columns.map { "\($0)" }, separator: ", ")
      let beginning: SQL = """
        WITH chosen AS MATERIALIZED (
          SELECT DISTINCT ON (\(keyColumns)) \(keyColumns), a.\(archived.entry)
          FROM \(archived.archive) AS a
          WHERE \(SQL.joined(conditions, separator: "\n  AND "))
          ORDER BY \(keyColumns), a.\(archived.entry) DESC
        ), restored AS (
          INSERT INTO \(archived.source) (\(columnNames)
        """
      // JSON comes as a text and is cast: json_to_record would take the string for the value.
      let otherRecord: SQL = "CROSS JOIN LATERAL pg_catalog.json_to_record(a.\(archived.others)) AS o ("
      let middle: SQL = """
        ) OVERRIDING SYSTEM VALUE
          SELECT \(archived.table.columns(of: "a"))
        """
      let origin: SQL = """
          FROM chosen AS c
          JOIN \(archived.archive) AS a ON a.\(archived.run) = $1 AND a.\(archived.entry) = c.\(archived.entry)
        """
      let end: SQL = """
          ON CONFLICT DO NOTHING
          RETURNING \(SQL.joined(archived.primaryKey.map { "\($0)" }, separator: ", "))
        )
        """
      let deletion: SQL = """
        DELETE FROM \(archived.archive) AS a
        USING chosen AS c
        JOIN restored AS r ON \(archived.sameKey("r", "c"))
        WHERE a.\(archived.run) = $1 AND a.\(archived.entry) = c.\(archived.entry)
        """
      let rest: SQL =
        archived.isBlobs
        ? """
        , removed AS (
          \(deletion)
          RETURNING a.\(key), a.\(archived.putAt), a.\(archived.generation)
        ), put AS (
          INSERT INTO \(puts) AS t (hash, put_at)
          SELECT r.\(key), r.\(archived.putAt) FROM removed AS r WHERE r.\(archived.putAt) IS NOT NULL
          ON CONFLICT (hash) DO UPDATE SET put_at = greatest(t.put_at, EXCLUDED.put_at)
        )
        INSERT INTO \(objects) AS g (hash, generation, next_generation)
        SELECT r.\(key), r.\(archived.generation), r.\(archived.generation) FROM removed AS r
        WHERE r.\(archived.generation) > 0 OR r.\(archived.generation) = 0 AND EXISTS (SELECT FROM \(objects) AS o WHERE o.hash = r.\(key))
        ON CONFLICT (hash) DO UPDATE
        SET generation = EXCLUDED.generation, next_generation = greatest(g.next_generation, EXCLUDED.generation)
        """ : "\n\(deletion)"
      let after: SQL =
        archived.isBlobs
        ? """

        -- One that is here again has the same content: what is archived of it is not needed any more.
        WITH needless AS (
          DELETE FROM \(archived.archive) AS a
          USING \(blobTable) AS b
          WHERE a.\(archived.run) = $1 AND a.\(archived.entry) BETWEEN $4 AND $5
            AND b.\(key) = a.\(key) AND b.\(Identifier(blobs.size)) = a.\(Identifier(blobs.size))
            AND (
              b.\(Identifier(blobs.data)) = a.\(Identifier(blobs.data)) OR \(isExternal("b"))
              OR a.\(Identifier(blobs.data)) IS NULL AND (b.\(Identifier(blobs.data)) IS NOT NULL OR a.\(archived.generation) IS NULL)
            )
          RETURNING a.\(key) AS hash, a.\(archived.generation) AS generation, a.\(Identifier(blobs.size)) AS size
        )
        INSERT INTO \(deletions) (hash, generation, size)
        SELECT DISTINCT ON (n.hash, n.generation) n.hash, n.generation, n.size FROM needless AS n
        WHERE n.generation IS NOT NULL
        ON CONFLICT (hash, generation) DO NOTHING;
        """ : ""
      return """
        WHEN \(literal: archived.name) THEN
          EXECUTE concat(
            \(statement(beginning)),
            ', ' || \(columnList)(relation, given, '%I'),
            \(statement(middle)),
            ', ' || \(columnList)(relation, given, 'o.%I', 'o.%I::%s'),
            \(statement(origin)),
            \(literal: otherRecord.text) || \(columnList)(relation, given, '%I %s', '%I text') || ')',
            \(statement("\(end)\(rest)"))
          ) USING run_id, first_entry, last_entry, others;\(after)
        """
    }
    let body: SQL = """
      DECLARE
        relation constant regclass := to_regclass(table_name);
        given    constant name[] := ARRAY(
          SELECT c.attname FROM pg_attribute AS c
          WHERE c.attrelid = relation AND c.attname = ANY (others) AND c.attgenerated = '' AND NOT c.attisdropped
        );
      BEGIN
        -- Where the rows have no other columns, the pieces about them are NULL, and concat leaves NULLs out.
        CASE data_class
          \(SQL.joined(branches, separator: "\n"))
        END CASE;
      END
      """
    let signature: SQL = "\(function)(bigint, text, text, bigint, bigint, text[])"
    return """
      CREATE OR REPLACE FUNCTION \(function)(
        run_id bigint, data_class text, table_name text, first_entry bigint, last_entry bigint, others text[]
      ) RETURNS void
      LANGUAGE plpgsql \(ownerRights)
      \(exactTexts)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(signature) IS 'Brings back those rows of a run''s entries that can go back, in one statement; others: the columns besides the model''s that they had. Part of an undo.';
      \(revoke("FUNCTION", signature))
      """
  }

  /// The text of a statement as a string, in which white space has no meaning.
  private func statement(_ sql: SQL) -> SQL {
    var tag = "sql"
    while sql.text.contains("$\(tag)$") { tag += "_" }
    return """
      $\(raw: tag)$
        \(sql)
      $\(raw: tag)$
      """
  }

  private var undoConflictsFunction: SQL {
    let function = names.qualified("undo_conflicts")
    // Qualified: a table may have columns of these names.
    let given: (failed: SQL, reasons: SQL) = ("\(function.identifier).failed", "\(function.identifier).reasons")
    let branches = restoredTables.map { archived -> SQL in
      let parents = archived.table.foreignKeys.map { key -> SQL in
        let text: SQL
        if let parent = archivedTables.first(where: { $0.table.name == key.parent }) {
          let same = zip(key.columns, key.parentColumns).map { column, parent -> SQL in
            "p.\(Identifier(parent)) = a.\(Identifier(column))"
          }
          text = """
            coalesce(
              (SELECT format('its row of %s is in the archive of run %s: undo that first', \(literal: key.parent), max(p.\(parent.run)))
                FROM \(parent.archive) AS p WHERE \(SQL.joined(same, separator: " AND ")) AND p.\(parent.run) <> a.\(archived.run) HAVING count(*) > 0),
              \(literal: "its row of \(key.parent) is gone"))
            """
        } else {
          text = "\(literal: "its row of \(key.parent) is gone")"
        }
        return "WHEN NOT \(parentIsThere(key, "a")) THEN \(text)"
      }
      let isHere: SQL = """
        WHEN EXISTS (SELECT FROM \(archived.source) AS t WHERE \(archived.sameKey("t", "a")))
          THEN \(archived.isBlobs ? "'it is here again, with another content or none'" : "'a row with this key is here again'")
        """
      let rowKey: SQL =
        archived.primaryKey.count == 1
        ? "a.\(archived.primaryKey[0])::text"
        : "ROW(\(SQL.joined(archived.primaryKey.map { "a.\($0)" }, separator: ", ")))::text"
      return """
        WHEN \(literal: archived.name) THEN
          RETURN QUERY
          SELECT \(literal: archived.table.name)::text, \(rowKey),
            CASE
              WHEN a.\(archived.entry) = ANY (\(given.failed)) THEN \(given.reasons)[array_position(\(given.failed), a.\(archived.entry))]
              \(SQL.joined([isHere] + parents, separator: "\n"))
              WHEN a.\(archived.others) IS NOT NULL AND EXISTS (
                SELECT FROM json_object_keys(a.\(archived.others)) AS k (name)
                WHERE NOT EXISTS (
                  SELECT FROM pg_attribute AS c
                  WHERE c.attrelid = \(literal(archived.source))::regclass AND c.attname = k.name AND NOT c.attisdropped
                )
              ) THEN 'the table has lost a column that the row had'
              ELSE 'a row with one of its unique values is here, or a trigger refuses it'
            END
          FROM \(archived.archive) AS a
          WHERE a.\(archived.run) = $1
          ORDER BY a.\(archived.entry);
        """
    }
    let body: SQL = """
      BEGIN
        CASE data_class
          \(SQL.joined(branches, separator: "\n"))
        END CASE;
      END
      """
    let signature: SQL = "\(function)(bigint, text, bigint[], text[])"
    return """
      CREATE OR REPLACE FUNCTION \(function)(run_id bigint, data_class text, failed bigint[], reasons text[])
      RETURNS TABLE (table_name text, row_key text, reason text)
      LANGUAGE plpgsql STABLE \(ownerRights)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(signature) IS 'Which rows of a run are archived still, and why they cannot go back; failed: entries that met an error, and what it said. Part of an undo.';
      \(revoke("FUNCTION", signature))
      """
  }

  /// A row that is back had no children when it came: those that it has now are back too. So where one of them goes again,
  /// so does one without children, which no other row has to go before.
  private var undoExpiredFunction: SQL {
    let function = names.qualified("undo_expired")
    let cutoffs = (model.classes.map(\.name) + [blobs.plural]).map { name -> SQL in
      "now() - make_interval(days => coalesce(p.\(Identifier("\(name)_retention_days")), p.retention_days)) AS \(window(name))"
    }
    func isBack(_ timestamp: String, _ name: String) -> [SQL] {
      let timestamp: SQL = "r.\(Identifier(timestamp))"
      return ["\(timestamp) < w.\(window(name))", hasAge(timestamp), "age(r.xmin) <= 0"]
    }
    let counts = model.classes.map { dataClass -> SQL in
      let conditions =
        isBack(dataClass.timestamp, dataClass.name)
        + conditions(dataClass, cutoff: "w.\(window(dataClass.name))", protected: "w.protected_statuses", dying: false)
      return """
        SELECT \(literal: dataClass.name)::text, count(*)
        FROM \(names.table(dataClass.table)) AS r, policy AS w
        WHERE \(SQL.joined(conditions, separator: "\n  AND "))
        """
    }
    let blobCutoff: SQL = "w.\(window(blobs.plural))"
    let body: SQL = """
      WITH policy AS MATERIALIZED (
        SELECT p.protected_statuses,
          \(SQL.joined(cutoffs))
        FROM \(policy) AS p
        WHERE p.retention_days > 0
      ), changes AS MATERIALIZED (
        SELECT l.hash, sum(l.delta) AS delta, max(l.recorded_at) FILTER (WHERE l.is_put) AS put_at
        FROM \(ledger) AS l
        WHERE l.hash IS NOT NULL
        GROUP BY l.hash
      )
      -- age(xmin) <= 0: written by this transaction or its subtransactions, or by one that began later; too many rather than
      -- too few.
      \(SQL.joined(counts, separator: "\nUNION ALL\n"))
      UNION ALL
      SELECT \(literal: blobs.plural)::text, count(*)
      FROM \(blobTable) AS r
      CROSS JOIN policy AS w
      LEFT JOIN changes AS c ON c.hash = r.\(key)
      WHERE \(SQL.joined(isBack(blobs.createdAt, blobs.plural), separator: "\n  AND "))
        -- What rows that have come since refer to may be theirs alone, and go with them.
        AND (r.\(refcount) + coalesce(c.delta, 0) = 0 OR r.\(key) = ANY (\(function.identifier).wanted))
        AND (c.put_at < \(blobCutoff)) IS NOT FALSE
        AND NOT EXISTS (SELECT FROM \(puts) AS t WHERE t.hash = r.\(key) AND t.put_at >= \(blobCutoff))
      """
    let signature: SQL = "\(function)(\(keyType)[])"
    return """
      CREATE OR REPLACE FUNCTION \(function)(wanted \(keyType)[]) RETURNS TABLE (data_class text, rows bigint)
      LANGUAGE sql STABLE \(ownerRights)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(signature) IS \(literal: "How many rows that this transaction has brought back the next cleanup may delete; 0: none of that class, or only together with rows of another. wanted: \(blobs.plural) that were referred to before they were back. Part of an undo.");
      \(revoke("FUNCTION", signature))
      """
  }

  private var undoFunction: SQL {
    let preview = names.qualified("cleanup_preview")
    let classes = SQL.joined(restoredTables.map { "\(literal: $0.name)" }, separator: ", ")
    let deleted = SQL.joined(deletedColumns.map { "run.\(Identifier($0.name))" }, separator: " + ")
    let body: SQL = """
      #variable_conflict use_column
      DECLARE
        classes     constant text[] := ARRAY[\(classes)];
        given       constant text := current_setting('lock_timeout');
        run         \(runs);
        before_rows bigint;
        left_rows   bigint;
        blob_bytes  bigint;
        before      jsonb;
        wanted      \(keyType)[];
        expired     bigint;
        part        record;
        data_class  text;
        firsts      bigint[];
        lasts       bigint[];
        first_entry bigint;
        last_entry  bigint;
        failed      bigint[] := ARRAY[]::bigint[];
        reasons     text[] := ARRAY[]::text[];
      BEGIN
        \(requireReadCommitted("a cleanup can be undone"))
        -- No cleanup deletes or purges meanwhile; one that is between two batches ends.
        PERFORM pg_advisory_xact_lock(\(lockNamespace), \(LockKey.cleanup));
        SELECT r.* INTO run FROM \(runs) AS r WHERE r.id = $1;
        IF NOT FOUND THEN
          RAISE EXCEPTION 'there is no cleanup run %', $1
            USING ERRCODE = 'invalid_parameter_value', HINT = \(literal: "SELECT * FROM \(runs.quoted) ORDER BY id DESC shows them.");
        ELSIF run.dry_run THEN
          RAISE EXCEPTION 'cleanup run % was a dry run and has deleted nothing', $1 USING ERRCODE = 'invalid_parameter_value';
        END IF;
        SELECT coalesce(sum(a.rows), 0)::bigint, coalesce(sum(a.bytes) FILTER (WHERE a.data_class = \(literal: blobs.plural)), 0)::bigint
        INTO before_rows, blob_bytes
        FROM \(archive) AS a
        WHERE a.run_id = $1;
        IF before_rows = 0 AND run.purged_at IS NOT NULL THEN
          RAISE EXCEPTION 'what cleanup run % has deleted was purged from the archive', $1
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = format('That was at %s.', run.purged_at),
              HINT = 'Only a backup has it still.';
        ELSIF \(deleted) > 0 AND run.archived_rows = 0 THEN
          RAISE EXCEPTION 'cleanup run % has deleted without an archive', $1
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = \(literal: "Only a backup has it still. What later cleanups delete is archived when archive_days in \(policy.quoted) is more than 0.");
        ELSIF before_rows = 0 THEN
          RAISE NOTICE 'nothing of cleanup run % is in the archive', $1;
          RETURN;
        END IF;
        IF \(deleted) > before_rows + run.undone_rows THEN
          RAISE WARNING '% rows of cleanup run % are not in the archive: they stay deleted', \(deleted) - before_rows - run.undone_rows, $1;
        END IF;
        UPDATE \(runs) AS r
        SET status = 'interrupted', finished_at = clock_timestamp(), error = format('stopped, because run %s was undone', $1)
        WHERE r.status = 'running';

        before := (SELECT jsonb_object_agg(f.data_class, f.rows) FROM \(preview)() AS f);
        wanted := ARRAY(
          SELECT a.\(key) FROM \(archivedBlobs.archive) AS a
          WHERE a.\(archivedBlobs.run) = $1 AND a.\(key) IN (
            SELECT u.hash FROM \(unresolved) AS u
            UNION ALL
            SELECT l.hash FROM \(ledger) AS l
          )
        );
        -- The sweep must not forget where an object is that comes into use again.
        PERFORM pg_advisory_xact_lock(\(lockNamespace), k.bucket)
        FROM (
          SELECT DISTINCT \(objectBucket("a.\(key)")) AS bucket FROM \(archivedBlobs.archive) AS a
          WHERE a.\(archivedBlobs.run) = $1 AND a.\(archivedBlobs.generation) IS NOT NULL
          ORDER BY 1
        ) AS k;
        -- Errors have to come here, not at COMMIT. Who waits for long could be part of a deadlock with a client.
        SET CONSTRAINTS ALL IMMEDIATE;
        PERFORM set_config('lock_timeout', '100ms', true);
        FOR part IN
          SELECT c.data_class AS name, c.table_name AS qualified_name, c.other_columns AS others,
            min(c.entry) AS first_entry, max(c.entry) AS last_entry
          FROM \(archiveContents) AS c
          WHERE c.run_id = $1
          GROUP BY c.data_class, c.table_name, c.other_columns
          ORDER BY array_position(classes, c.data_class)
        LOOP
          CONTINUE WHEN EXISTS (
            SELECT FROM unnest(part.others) AS o (name)
            WHERE NOT EXISTS (
              SELECT FROM pg_attribute AS c
              WHERE c.attrelid = to_regclass(part.qualified_name) AND c.attname = o.name AND NOT c.attisdropped
            )
          );
          firsts := ARRAY[part.first_entry];
          lasts := ARRAY[part.last_entry];
          WHILE cardinality(firsts) > 0 LOOP
            first_entry := firsts[cardinality(firsts)];
            last_entry := lasts[cardinality(lasts)];
            firsts := trim_array(firsts, 1);
            lasts := trim_array(lasts, 1);
            BEGIN
              PERFORM \(names.qualified("undo_rows"))($1, part.name, part.qualified_name, first_entry, last_entry, part.others);
            EXCEPTION WHEN OTHERS THEN
              -- What is wrong with a row is a conflict; what is wrong with the moment or the server ends the undo.
              IF left(SQLSTATE, 2) IN ('40', '53', '57', '58') OR SQLSTATE IN ('XX001', 'XX002') THEN
                RAISE;
              ELSIF first_entry = last_entry THEN
                failed := failed || first_entry;
                reasons := reasons || CASE WHEN SQLSTATE = '55P03' THEN 'another transaction is using it: undo again when that has ended' ELSE SQLERRM END;
              ELSE
                -- By halves, until the rows that it is about are found.
                firsts := firsts || ARRAY[(first_entry + last_entry) / 2 + 1, first_entry];
                lasts := lasts || ARRAY[last_entry, (first_entry + last_entry) / 2];
              END IF;
            END;
          END LOOP;
        END LOOP;
        PERFORM set_config('lock_timeout', given, true);

        DELETE FROM \(archive) AS a WHERE a.run_id = $1;
        INSERT INTO \(archive) (run_id, data_class, archived_at, rows, bytes, external_rows, external_bytes)
        SELECT c.run_id, c.data_class, max(c.archived_at), count(*), sum(c.bytes), count(*) FILTER (WHERE c.is_external),
          coalesce(sum(c.bytes) FILTER (WHERE c.is_external), 0)
        FROM \(archiveContents) AS c
        WHERE c.run_id = $1
        GROUP BY c.run_id, c.data_class;
        SELECT coalesce(sum(a.rows), 0)::bigint, blob_bytes - coalesce(sum(a.bytes) FILTER (WHERE a.data_class = \(literal: blobs.plural)), 0)::bigint
        INTO left_rows, blob_bytes
        FROM \(archive) AS a
        WHERE a.run_id = $1;
        UPDATE \(runs) AS r
        SET undone_at = CASE WHEN left_rows < before_rows THEN clock_timestamp() ELSE r.undone_at END,
          undone_rows = r.undone_rows + before_rows - left_rows, undone_bytes = r.undone_bytes + blob_bytes
        WHERE r.id = $1;
        RAISE NOTICE 'of cleanup run %, % rows are back, % are not', $1, before_rows - left_rows, left_rows;

        -- Class by class: fewer rows of one do not make up for more of another. Nor do fewer of the rows that were here make
        -- up for those that are back, which the difference alone would not tell.
        SELECT coalesce(sum(greatest(
          f.rows - coalesce((before ->> f.data_class)::bigint, 0), least(coalesce(e.rows, 0), f.rows)
        )), 0)::bigint INTO expired
        FROM \(preview)() AS f
        LEFT JOIN \(names.qualified("undo_expired"))(wanted) AS e ON e.data_class = f.data_class
        WHERE f.data_class = ANY (classes);
        IF expired > 0 THEN
          UPDATE \(policy) AS p SET dry_run = true WHERE NOT p.dry_run;
          RAISE WARNING 'under the present policy % of these rows expire again: cleanups only count from now on', expired
            USING HINT = \(literal: "Change \(policy.quoted) so that they stay, see SELECT * FROM \(preview.quoted)(), then set dry_run to false.");
        END IF;
        FOREACH data_class IN ARRAY classes LOOP
          RETURN QUERY SELECT c.table_name, c.row_key, c.reason FROM \(names.qualified("undo_conflicts"))($1, data_class, failed, reasons) AS c;
        END LOOP;
      END
      """
    return """
      CREATE OR REPLACE FUNCTION \(undo)(run_id bigint) RETURNS TABLE (table_name text, row_key text, reason text)
      LANGUAGE plpgsql \(ownerRights)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(undo)(bigint) IS 'Brings back what a cleanup run has deleted and archived, in one transaction; returns the rows that it cannot bring back, which stay in the archive. Stops a cleanup that is running.';
      \(revoke("FUNCTION", "\(undo)(bigint)"))
      """
  }
}
