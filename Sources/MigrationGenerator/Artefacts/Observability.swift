import RetentionModel
import SafeSQL

extension RetentionSchema {
  /// `080_observability.sql`: metrics and health.
  func observability() -> Artefact {
    Artefact(
      path: "080_observability.sql",
      kind: .repeatable,
      purpose: ["Views for monitoring: metrics for Prometheus, health checks with a remedy each."],
      locks: ["none on tables"],
      body: .joined([metricsView, healthView], separator: "\n\n")
    )
  }

  /// A metric's name may hold letters, digits, `_` and `:` only, and begins with no digit (Prometheus data model); a prefix
  /// may be anything.
  private func metricName(_ name: String) -> String {
    let allowed = names.identifier(name).name.unicodeScalars.map { scalar -> Character in
      scalar.isASCII && (scalar.properties.isAlphabetic || ("0"..."9").contains(Character(scalar)) || scalar == "_")
        ? Character(scalar) : "_"
    }
    return (allowed.first?.isNumber == true ? "_" : "") + String(allowed)
  }

  private var metricsView: SQL {
    let view = names.qualified("metrics")
    func metric(
      _ name: String,
      _ type: String,
      _ help: String,
      labels: SQL = "''::text",
      _ value: SQL,
      from source: SQL = ""
    ) -> SQL {
      "SELECT \(literal: metricName(name))::text AS name, \(literal: type)::text AS type, \(literal: help)::text AS help, \(labels) AS labels, (\(value))::double precision AS value\(source)"
    }
    let deleted = ([blobs.plural] + model.classes.reversed().map(\.name)).map { name in
      metric(
        "cleanup_deleted_\(name)",
        "counter",
        "Rows of class \(name) deleted by cleanups.",
        "SELECT coalesce(sum(r.\(Identifier("deleted_\(name)"))), 0) FROM \(runs) AS r WHERE NOT r.dry_run"
      )
    }
    let statuses: SQL = """
      \(metric("cleanup_runs_total", "counter", "Cleanup runs that have ended, by status.", labels: "format('status=\"%s\"', s.status)", "SELECT count(*) FROM \(runs) AS r WHERE r.status = s.status AND NOT r.dry_run", from: "\nFROM unnest(ARRAY['completed', 'partial', 'skipped', 'disabled', 'refused', 'failed', 'interrupted']) AS s (status)"))
      """
    let stored = [("rows", "blobs"), ("bytes", "bytes")].map { unit, column in
      metric(
        "\(blobs.plural)_\(unit)",
        "gauge",
        "Blobs by storage class: \(unit).",
        labels: "format('storage_class=\"%s\"', s.storage_class)",
        "s.\(Identifier(column))",
        from: " FROM \(storage) AS s"
      )
    }
    let last: SQL = "FROM \(runs) AS r WHERE r.status = 'completed' AND NOT r.dry_run"
    let metrics: [SQL] =
      [statuses] + deleted + [
        metric(
          "\(blobs.singular)_refcount_adjust_total",
          "counter",
          "Adjustments of refcount by triggers, folds and repairs.",
          "SELECT CASE WHEN q.is_called THEN q.last_value ELSE 0 END FROM \(adjustments) AS q"
        ),
        metric(
          "cleanup_last_success_timestamp_seconds",
          "gauge",
          "When the last completed cleanup ended; 0: never.",
          "SELECT coalesce(max(extract(epoch FROM r.finished_at)), 0) \(last)"
        ),
        metric(
          "cleanup_last_duration_seconds",
          "gauge",
          "How long the last completed cleanup took.",
          "coalesce((SELECT extract(epoch FROM r.finished_at - r.started_at) \(last) ORDER BY r.id DESC LIMIT 1), 0)"
        ),
        metric(
          "refcount_anomalies_total",
          "counter",
          "Refcounts that would have gone below zero.",
          "SELECT count(*) FROM \(names.qualified("refcount_anomalies"))"
        ),
        metric(
          "reference_ledger_entries",
          "gauge",
          "Ledger entries that wait for a fold.",
          "SELECT count(*) FROM \(ledger)"
        ),
        metric(
          "reference_ledger_oldest_seconds",
          "gauge",
          "Age of the oldest ledger entry.",
          "SELECT coalesce(extract(epoch FROM now() - min(l.recorded_at)), 0) FROM \(ledger) AS l"
        ),
        metric(
          "unresolved_references",
          "gauge",
          "References to blobs that are not here.",
          "SELECT coalesce(sum(u.refcount), 0) FROM \(unresolved) AS u"
        ),
        metric("blob_uploads", "gauge", "Objects that are being written.", "SELECT count(*) FROM \(uploads)"),
        metric(
          "blob_deletions_pending",
          "gauge",
          "Objects that the store has not deleted yet.",
          "SELECT count(*) FROM \(deletions)"
        ),
        metric(
          "blob_deletions_pending_bytes",
          "gauge",
          "Their bytes.",
          "SELECT coalesce(sum(d.size), 0) FROM \(deletions) AS d"
        ),
        metric(
          "blob_deletions_oldest_seconds",
          "gauge",
          "How long the first of them has waited.",
          "SELECT coalesce(extract(epoch FROM now() - min(d.queued_at)), 0) FROM \(deletions) AS d"
        ),
      ] + stored
    return """
      CREATE OR REPLACE VIEW \(view) AS
      \(SQL.joined(metrics, separator: "\nUNION ALL\n"));
      COMMENT ON VIEW \(view) IS 'Metrics in the form of Prometheus; counters come from tables, so they survive restarts.';
      """
  }

  private var healthView: SQL {
    let view = names.qualified("health")
    let indexRows = indexList.map { index -> SQL in
      "(\(literal: QualifiedName(names.schema, index.name).quoted), \(literal: index.name.name))"
    }
    return """
      CREATE OR REPLACE VIEW \(view) AS
      SELECT 'triggers'::text AS check_name,
        coalesce(pg_catalog.bool_and(t.state = 'enabled'), true) AS ok,
        coalesce(pg_catalog.string_agg(pg_catalog.format('%s on %s is %s', t.trigger_name, t.table_name, t.state), '; ')
          FILTER (WHERE t.state <> 'enabled'), 'all present and enabled') AS detail,
        'Apply 050_triggers.sql, ALTER TABLE … ENABLE TRIGGER or DROP SUBSCRIPTION; then repair the counts.'::text AS remedy
      FROM \(names.qualified("counting_triggers")) AS t
      UNION ALL
      SELECT 'indexes',
        coalesce(pg_catalog.bool_and(coalesce(i.indisvalid, false)), true),
        coalesce(pg_catalog.string_agg(e.index_name || CASE WHEN i.indexrelid IS NULL THEN ' is missing' ELSE ' is invalid' END, '; ')
          FILTER (WHERE i.indisvalid IS NOT TRUE), 'all present and valid'),
        'Apply 030_indexes.sql again.'
      FROM (VALUES
        \(SQL.joined(indexRows))
      ) AS e (qualified_name, index_name)
      LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid = pg_catalog.to_regclass(e.qualified_name)
      UNION ALL
      SELECT 'last success',
        coalesce(r.finished_at, p.installed_at) > pg_catalog.now() - interval '2 days' OR p.retention_days <= 0,
        coalesce('last completed cleanup: ' || r.finished_at::text, 'no completed cleanup yet'),
        \(literal: "Look at the latest rows of \(runs.quoted) and at the scheduler.")
      FROM \(policy) AS p
      LEFT JOIN LATERAL (
        SELECT max(c.finished_at) AS finished_at FROM \(runs) AS c WHERE c.status = 'completed' AND NOT c.dry_run
      ) AS r ON true
      UNION ALL
      SELECT 'ledger backlog',
        coalesce(min(l.recorded_at) > pg_catalog.now() - interval '2 days', true) AND count(*) < 10000000,
        count(*) || ' entries, the oldest from ' || coalesce(min(l.recorded_at)::text, 'never'),
        'Call the fold function, and see what holds blob rows locked.'
      FROM \(ledger) AS l
      UNION ALL
      SELECT 'object deletions',
        coalesce(min(d.queued_at) > pg_catalog.now() - interval '2 days', true),
        count(*) || ' objects wait, the first since ' || coalesce(min(d.queued_at)::text, 'never')
          || coalesce('; last error: ' || (
            SELECT e.last_error FROM \(deletions) AS e WHERE e.last_error IS NOT NULL ORDER BY e.next_attempt_at DESC LIMIT 1
          ), ''),
        'Run jam-retention sweep, and see what the object store answers.'
      FROM \(deletions) AS d
      UNION ALL
      SELECT 'policy',
        p.retention_days > 0,
        CASE WHEN p.retention_days > 0 THEN 'keeps ' || p.retention_days || ' days' ELSE 'the cleanup is disabled' END
          || CASE WHEN p.dry_run THEN ', dry run only' ELSE '' END,
        'UPDATE the policy row: retention_days.'
      FROM \(policy) AS p;
      COMMENT ON VIEW \(view) IS 'Checks that an operator wants to see green, each with what to do when it is not.';
      """
  }
}
