import RetentionModel
import SafeSQL

extension RetentionSchema {
  /// `080_observability.sql`: metrics and health.
  func observability() -> Artefact {
    Artefact(
      path: "080_observability.sql",
      kind: .repeatable,
      purpose: [
        "Views for monitoring: metrics for Prometheus, health checks with a remedy each. None of them reads a large table as a",
        "whole. And the triggers that add up what the counters tell.",
      ],
      locks: [
        locksOfViews,
        "then SHARE ROW EXCLUSIVE on \(runs.quoted) and \(anomalies.quoted) until COMMIT: a cleanup waits",
      ],
      // The views first: who reads them may take long, and a cleanup is not to wait for that.
      body: .joined([backlogFunction, healthView, metricsView, totalling], separator: "\n\n")
    )
  }

  // MARK: Metrics

  /// A metric's name may hold letters, digits, `_` and `:` only, and begins with no digit (Prometheus data model); a prefix
  /// may be anything.
  func metricName(_ name: String) -> String {
    let allowed = names.identifier(name).name.unicodeScalars.map { scalar -> Character in
      scalar.isASCII && (scalar.properties.isAlphabetic || ("0"..."9").contains(Character(scalar)) || scalar == "_")
        ? Character(scalar) : "_"
    }
    return (allowed.first?.isNumber == true ? "_" : "") + String(allowed)
  }

  /// Where the metrics come from, in the order in which the view yields them.
  var metricSources: [MetricSource] {
    [
      runTotals, totalsOfCleanups, runsNow, adjustmentTotal, triggerState, backlogFigures, uploadFigures,
      storageFigures,
      archiveFigures, windows, policyState, healthState,
    ]
  }

  var metrics: [Metric] { metricSources.flatMap(\.metrics) }

  private func counter(_ name: String, _ help: String, label: Metric.Label? = nil, _ value: SQL) -> Metric {
    Metric(name: metricName(name), kind: .counter, help: help, label: label, value: value)
  }

  private func gauge(_ name: String, _ help: String, label: Metric.Label? = nil, _ value: SQL) -> Metric {
    Metric(name: metricName(name), kind: .gauge, help: help, label: label, value: value)
  }

  private var runTotals: MetricSource {
    let statuses = finalStatuses.map { "(\(literal: $0))" as SQL }
    return MetricSource(
      from: """
        (VALUES \(SQL.joined(statuses, separator: ", "))) AS s (status)
        LEFT JOIN (SELECT t.counter, sum(t.value) AS value FROM \(totals) AS t GROUP BY t.counter) AS t
          ON t.counter = 'runs_' || s.status
        """,
      metrics: [
        counter(
          "cleanup_runs_total",
          "Cleanup runs that have ended, by status; dry runs do not count.",
          label: Metric.Label(name: "status", value: "s.status"),
          "coalesce(t.value, 0)"
        )
      ]
    )
  }

  private var totalsOfCleanups: MetricSource {
    func total(_ counter: String) -> SQL { "t.\(Identifier(counter))" }
    let deleted = ([blobs.plural] + model.classes.reversed().map(\.name)).map { ("deleted_\($0)", $0) }
    let columns = (deleted.map(\.0) + ["freed_bytes", "busy_rows", "busy_\(blobs.plural)", "batches", "anomalies"]).map
    {
      "coalesce(sum(c.value) FILTER (WHERE c.counter = \(literal: $0)), 0) AS \(Identifier($0))" as SQL
    }
    return MetricSource(
      from: """
        (
          SELECT
            \(SQL.joined(columns))
          FROM \(totals) AS c
        ) AS t
        """,
      metrics: deleted.map { column, name in
        counter("cleanup_deleted_\(name)", "Rows of class \(name) deleted by cleanups.", total(column))
      } + [
        counter(
          "cleanup_freed_bytes_total",
          "Bytes that cleanups have given up, of blobs that were deleted without an archive or purged from it.",
          total("freed_bytes")
        ),
        counter(
          "cleanup_busy_rows_total",
          "Expired rows left for a later run because another transaction had locked them.",
          total("busy_rows")
        ),
        counter(
          "cleanup_busy_\(blobs.plural)_total",
          "Blobs left for a later run because another transaction was using them.",
          total("busy_\(blobs.plural)")
        ),
        counter("cleanup_batches_total", "Batches that cleanups have committed.", total("batches")),
        counter("refcount_anomalies_total", "Refcounts that would have gone below zero.", total("anomalies")),
      ]
    )
  }

  /// The one rule of success: a run that has completed, and that deletes unless the policy makes every run a dry run. It is
  /// overdue when there was none for two intervals and a minute, since the installation where there is none at all. Without a policy no cleanup can run, and it is overdue all the same.
  private var lastSuccess: SQL {
    let interval: SQL =
      "coalesce(nullif(pg_catalog.current_setting(\(literal: CleanupInterval.setting), true), '')::interval, interval '1 day')"
    return """
      SELECT s.started_at, s.finished_at, coalesce(p.retention_days > 0, true) AS is_expected,
        coalesce(s.finished_at, p.installed_at, 'epoch') + 2 * \(interval) + interval '1 minute' AS overdue_at
      FROM (SELECT) AS always
      LEFT JOIN \(policy) AS p ON true
      LEFT JOIN LATERAL (
        SELECT e.started_at, e.finished_at
        FROM (
          (
            SELECT c.started_at, c.finished_at FROM \(runs) AS c
            WHERE c.status = 'completed' AND NOT c.dry_run
            ORDER BY c.finished_at DESC LIMIT 1
          )
          UNION ALL
          (
            SELECT c.started_at, c.finished_at FROM \(runs) AS c
            WHERE c.status = 'completed' AND c.dry_run AND p.dry_run
            ORDER BY c.id DESC LIMIT 1
          )
        ) AS e
        ORDER BY e.finished_at DESC LIMIT 1
      ) AS s ON true
      """
  }

  private var runsNow: MetricSource {
    MetricSource(
      from: """
        (
          \(lastSuccess)
        ) AS l
        CROSS JOIN (
          SELECT min(r.started_at) AS started_at FROM \(runs) AS r WHERE r.status = 'running'
        ) AS n
        """,
      metrics: [
        gauge(
          "cleanup_last_success_timestamp_seconds",
          "When the last completed cleanup ended; 0: never. Dry runs count where the policy makes every run one.",
          "coalesce(extract(epoch FROM l.finished_at), 0)"
        ),
        gauge(
          "cleanup_overdue_timestamp_seconds",
          "When a cleanup is overdue unless one completes before: after two intervals; 0: never, the cleanup is disabled.",
          "CASE WHEN l.is_expected THEN extract(epoch FROM l.overdue_at) ELSE 0 END"
        ),
        gauge(
          "cleanup_last_duration_seconds",
          "How long the last completed cleanup took.",
          "coalesce(extract(epoch FROM l.finished_at - l.started_at), 0)"
        ),
        gauge(
          "cleanup_running_seconds",
          "How long the cleanup that is recorded as running has lasted; 0: none. One that was killed stays until the next begins.",
          "coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - n.started_at), 0)"
        ),
      ]
    )
  }

  private var adjustmentTotal: MetricSource {
    MetricSource(
      from: "\(adjustments) AS q",
      metrics: [
        counter(
          "\(blobs.singular)_refcount_adjust_total",
          "Adjustments of refcount by triggers, folds and repairs.",
          "CASE WHEN q.is_called THEN q.last_value ELSE 0 END"
        )
      ]
    )
  }

  private var triggerState: MetricSource {
    MetricSource(
      from: """
        (SELECT count(*) AS disabled FROM \(names.qualified("counting_triggers")) AS t WHERE t.state <> 'enabled') AS t
        """,
      metrics: [
        gauge(
          "counting_triggers_disabled",
          "Triggers that counting relies on and that are missing, disabled or bypassed.",
          "t.disabled"
        )
      ]
    )
  }

  private var backlogFigures: MetricSource {
    func figure(_ expression: SQL, of queue: SQL) -> SQL { "max(\(expression)) FILTER (WHERE b.queue = \(queue))" }
    let age: SQL = "extract(epoch FROM pg_catalog.now() - b.oldest)"
    return MetricSource(
      from: """
        (
          SELECT \(figure("b.entries", of: "'reference ledger'")) AS ledger_entries,
            \(figure(age, of: "'reference ledger'")) AS ledger_age,
            \(figure("b.amount", of: "'unresolved references'")) AS unresolved,
            \(figure("b.entries", of: "'object deletions'")) AS deletions,
            \(figure("b.amount", of: "'object deletions'")) AS deletion_bytes,
            \(figure(age, of: "'object deletions'")) AS deletion_age
          FROM \(backlog)() AS b
        ) AS b
        """,
      metrics: [
        gauge(
          "reference_ledger_entries",
          "Ledger entries that wait for a fold; of a long ledger an estimate.",
          "b.ledger_entries"
        ),
        gauge("reference_ledger_oldest_seconds", "Age of the oldest ledger entry.", "coalesce(b.ledger_age, 0)"),
        gauge(
          "unresolved_references",
          "References to blobs that are not here; of very many an estimate.",
          "b.unresolved"
        ),
        gauge(
          "blob_deletions_pending",
          "Objects that the store has not deleted yet; of very many an estimate.",
          "b.deletions"
        ),
        gauge("blob_deletions_pending_bytes", "Their bytes.", "b.deletion_bytes"),
        gauge(
          "blob_deletions_oldest_seconds",
          "How long the first of them has waited.",
          "coalesce(b.deletion_age, 0)"
        ),
      ]
    )
  }

  private var uploadFigures: MetricSource {
    MetricSource(
      from: "(SELECT count(*) AS uploads FROM \(uploads)) AS u",
      metrics: [gauge("blob_uploads", "Objects that are being written.", "u.uploads")]
    )
  }

  private var storageFigures: MetricSource {
    let label = Metric.Label(name: "storage_class", value: "s.storage_class", isFreeText: true)
    return MetricSource(
      from: "\(storage) AS s",
      metrics: [
        gauge("\(blobs.plural)_rows", "Blobs by storage class: rows.", label: label, "s.blobs"),
        gauge("\(blobs.plural)_bytes", "Blobs by storage class: bytes.", label: label, "s.bytes"),
      ]
    )
  }

  private var archiveFigures: MetricSource {
    let label = Metric.Label(name: "data_class", value: "c.data_class")
    return MetricSource(
      from: """
        (VALUES \(SQL.joined(archivedTables.map { "(\(literal: $0.name))" }, separator: ", "))) AS c (data_class)
        LEFT JOIN (
          SELECT a.data_class, sum(a.rows) AS rows, sum(a.bytes) AS bytes FROM \(archive) AS a GROUP BY a.data_class
        ) AS a ON a.data_class = c.data_class
        """,
      metrics: [
        gauge(
          "archive_rows",
          "Rows in the archive, which an undo can bring back.",
          label: label,
          "coalesce(a.rows, 0)"
        ),
        gauge(
          "archive_bytes",
          "Bytes of these rows, those in the object store too.",
          label: label,
          "coalesce(a.bytes, 0)"
        ),
      ]
    )
  }

  private var windows: MetricSource {
    let windows = (model.classes.map(\.name) + [blobs.plural]).map { name -> SQL in
      "(\(literal: name), p.\(Identifier("\(name)_retention_days")))"
    }
    return MetricSource(
      from: """
        \(policy) AS p
        CROSS JOIN LATERAL (VALUES
          \(SQL.joined(windows))
        ) AS w (data_class, days)
        """,
      metrics: [
        gauge(
          "policy_retention_seconds",
          "How long a class is kept; 0 or less: the cleanup is disabled.",
          label: Metric.Label(name: "data_class", value: "w.data_class"),
          "86400 * CASE WHEN p.retention_days > 0 THEN coalesce(w.days, p.retention_days) ELSE p.retention_days END"
        )
      ]
    )
  }

  private var policyState: MetricSource {
    MetricSource(
      from: "\(policy) AS p",
      metrics: [
        gauge(
          "policy_enabled",
          "Whether a cleanup may delete: 0 when retention_days is 0 or less.",
          "(p.retention_days > 0)::integer"
        ),
        gauge(
          "policy_archive_seconds",
          "How long a cleanup keeps in the archive what it deletes; 0: not at all.",
          "86400 * p.archive_days"
        ),
        gauge("policy_dry_run", "Whether a cleanup that is not told only counts.", "p.dry_run::integer"),
      ]
    )
  }

  private var healthState: MetricSource {
    MetricSource(
      from: "\(health) AS h",
      metrics: [
        gauge(
          "health_ok",
          "Health checks: 1 as it should be, 0 not; the view of health says why and what to do.",
          label: Metric.Label(name: "check", value: "h.check_name"),
          "h.ok::integer"
        )
      ]
    )
  }

  /// What may stand between the quotes of a label's value. Source: Prometheus' text format.
  private func escaped(_ value: SQL) -> SQL {
    #"pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(\#(value), E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n')"#
  }

  private var metricsView: SQL {
    let view = names.qualified("metrics")
    let queries = metricSources.map { source -> SQL in
      let rows = source.metrics.map { metric -> SQL in
        let labels: SQL =
          metric.label.map { label in
            "pg_catalog.format('\(raw: label.name)=\"%s\"', \(label.isFreeText ? escaped(label.value) : label.value))"
          } ?? "''"
        return """
          (\(literal: metric.name), \(literal: metric.kind.rawValue), \(literal: metric.help), \(labels), (\(metric.value))::double precision)
          """
      }
      return """
        SELECT m.name, m.type, m.help, m.labels, m.value
        FROM \(source.from)
        CROSS JOIN LATERAL (VALUES
          \(SQL.joined(rows))
        ) AS m (name, type, help, labels, value)
        """
    }
    return """
      CREATE OR REPLACE VIEW \(view) AS
      \(SQL.joined(queries, separator: "\nUNION ALL\n"));
      COMMENT ON VIEW \(view) IS 'Metrics in the form of Prometheus; counters come from tables, so they survive restarts. A look takes milliseconds, however many rows the tables have.';
      """
  }

  // MARK: Health

  private var health: QualifiedName { names.qualified("health") }

  /// What to do about a counting trigger that is not enabled.
  var triggersRemedy: String {
    "Apply 050_triggers.sql, ALTER TABLE ... ENABLE TRIGGER or DROP SUBSCRIPTION; then repair the counts."
  }

  private var healthView: SQL {
    let indexRows = indexList.map { index -> SQL in
      "(\(literal: QualifiedName(names.schema, index.name).quoted), \(literal: index.name.name))"
    }
    return """
      CREATE OR REPLACE VIEW \(health) AS
      WITH backlog AS MATERIALIZED (
        SELECT b.queue, b.entries, b.oldest FROM \(backlog)() AS b
      )
      SELECT 'triggers'::text AS check_name,
        coalesce(pg_catalog.bool_and(t.state = 'enabled'), true) AS ok,
        coalesce(pg_catalog.string_agg(pg_catalog.format('%s on %s is %s', t.trigger_name, t.table_name, t.state), '; ')
          FILTER (WHERE t.state <> 'enabled'), 'all present and enabled') AS detail,
        \(literal: triggersRemedy)::text AS remedy
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
        l.overdue_at > pg_catalog.now() OR NOT l.is_expected,
        coalesce('last completed cleanup: ' || l.finished_at::text, 'no completed cleanup yet')
          || CASE WHEN l.overdue_at > pg_catalog.now() OR NOT l.is_expected THEN '' ELSE ', overdue since ' || l.overdue_at::text END,
        \(literal: "Look at the latest rows of \(runs.quoted) and at the scheduler.")
      FROM (
        \(lastSuccess)
      ) AS l
      UNION ALL
      SELECT 'ledger backlog',
        coalesce(b.oldest > pg_catalog.now() - interval '2 days', true) AND b.entries < 10000000,
        b.entries || ' entries, the oldest from ' || coalesce(b.oldest::text, 'never'),
        'Call the fold function, and see what holds blob rows locked.'
      FROM backlog AS b WHERE b.queue = 'reference ledger'
      UNION ALL
      SELECT 'object deletions',
        coalesce(b.oldest > pg_catalog.now() - interval '2 days', true),
        b.entries || ' objects wait, the first since ' || coalesce(b.oldest::text, 'never')
          || coalesce('; last error: ' || (
            SELECT e.last_error
            FROM (SELECT d.last_error, d.next_attempt_at FROM \(deletions) AS d ORDER BY d.id LIMIT 100) AS e
            WHERE e.last_error IS NOT NULL
            ORDER BY e.next_attempt_at DESC
            LIMIT 1
          ), ''),
        'Run jam-retention sweep, and see what the object store answers.'
      FROM backlog AS b WHERE b.queue = 'object deletions'
      UNION ALL
      SELECT 'policy',
        coalesce(p.retention_days > 0, false),
        CASE
          WHEN p.retention_days IS NULL THEN 'the policy has no row: every cleanup fails'
          WHEN p.retention_days > 0 THEN 'keeps ' || p.retention_days || ' days'
          ELSE 'the cleanup is disabled'
        END || CASE WHEN p.dry_run THEN ', dry run only' ELSE '' END,
        CASE
          WHEN p.retention_days IS NULL THEN \(literal: "INSERT INTO \(policy.quoted) DEFAULT VALUES, then set what it said before.")
          ELSE 'UPDATE the policy row: retention_days.'
        END
      FROM (SELECT) AS always
      LEFT JOIN \(policy) AS p ON true;
      COMMENT ON VIEW \(health) IS 'Checks that an operator wants to see green, each with what to do when it is not.';
      """
  }
}
