import RetentionModel
import SafeSQL

/// What a cleanup would delete.
extension RetentionSchema {
  /// The preview's name for what is in the object store; no class has a space in its name.
  var externalFigure: String { "external \(blobs.plural)" }

  /// The preview's names for what goes into the archive and out of it.
  var archivedRowsFigure: String { "archived rows" }
  var archivedFigure: String { "archived \(blobs.plural)" }
  var purgedFigure: String { "purged \(blobs.plural)" }
  var purgedRowsFigure: String { "purged rows" }

  /// What a cleanup takes out of the archive: runs of which nothing has come after `cutoff`.
  func purgeable(_ cutoff: SQL) -> SQL {
    """
    SELECT a.* FROM \(archive) AS a
    WHERE a.run_id IN (SELECT e.run_id FROM \(archive) AS e GROUP BY e.run_id HAVING max(e.archived_at) < \(cutoff))
    """
  }

  var previewFunction: SQL {
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
      """
      \(table(tableName).columns(of: alias)),
        \(table(tableName).storedBytes(of: alias)) AS \(storedBytes(tableName))
      """
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
      changes AS MATERIALIZED (
        -- What is on its way to refcount, and what the rows above take away from it.
        SELECT c.hash, sum(c.delta)::bigint AS delta, max(c.put_at) AS put_at
        FROM (
          SELECT l.hash, l.delta, CASE WHEN l.is_put THEN l.recorded_at END AS put_at FROM \(ledger) AS l WHERE l.hash IS NOT NULL
          UNION ALL
          SELECT u.hash, u.refcount, NULL FROM \(unresolved) AS u
          UNION ALL
          -- Before a cleanup deletes \(comment: blobs.plural) it folds, and a fold that finds a row without a hash counts again.
          SELECT v.hash, v.expected - v.counted, NULL FROM \(names.qualified("verify_refcounts"))() AS v
          WHERE EXISTS (SELECT FROM \(ledger) AS l WHERE l.hash IS NULL)
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
      .joined(dying.map { one -> SQL in "(SELECT \(value(one.bytes)) FROM \(one.rows) AS d)" }, separator: "\n  + ")
    }
    figures.append(
      """
      SELECT \(literal: archivedRowsFigure)::text,
        CASE WHEN w.archives THEN
          \(sum { _ in "count(*)" })
        ELSE 0 END,
        CASE WHEN w.archives THEN (
          \(sum { "coalesce(sum(d.\($0)), 0)" })
        )::bigint ELSE 0 END, NULL, NULL
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
      LANGUAGE sql STABLE \(ownerRights) \(seesEveryRow)
      AS \(body.dollarQuoted());
      COMMENT ON FUNCTION \(function)(timestamptz) IS 'What a cleanup with this cutoff (NULL: the policy) would delete now. Changes nothing; works in a READ ONLY transaction and on a standby. bytes: of blobs their size, of other rows what their columns take on disk.';
      \(revoke("FUNCTION", "\(function)(timestamptz)"))
      """
  }
}
