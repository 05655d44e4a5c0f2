extension RetentionSchema {
  private struct Alert {
    enum Severity: String { case critical, warning }

    var name: String
    var severity: Severity
    var expression: String
    /// How long it must be so before somebody is told.
    var duration: String?
    var summary: String
    var remedy: String
  }

  /// `monitoring/alerts.yml`: rules for Prometheus.
  var alertRules: MigrationFile {
    let rules = alerts.map { alert in
      """
            - alert: \(alert.name)
              expr: \(alert.expression.quotedAsJSON)
      \(alert.duration.map { "        for: \($0)\n" } ?? "")\
              labels:
                severity: \(alert.severity.rawValue)
              annotations:
                summary: \(alert.summary.quotedAsJSON)
                description: \(alert.remedy.quotedAsJSON)
      """
    }
    let header = yamlHeader([
      "Alert rules for Prometheus. A cleanup is expected every day; where it is not, tell the database:",
      "ALTER DATABASE … SET \(CleanupInterval.setting) = '7 days'.",
    ])
    return MigrationFile(
      path: "monitoring/alerts.yml",
      text: header + "groups:\n  - name: \(metricName("retention"))\n    rules:\n" + rules.joined(separator: "\n")
        + "\n"
    )
  }

  private var alerts: [Alert] {
    let health = metricName("health_ok")
    let runsTotal = metricName("cleanup_runs_total")
    return [
      Alert(
        name: "RetentionCleanupOverdue",
        severity: .critical,
        expression: "time() > (\(metricName("cleanup_overdue_timestamp_seconds")) > 0)",
        duration: "15m",
        summary: "No cleanup has completed for two intervals.",
        remedy: "Look at the scheduler and at the last rows of \(runs.quoted): jam-retention status."
      ),
      Alert(
        name: "RetentionCleanupFailed",
        severity: .warning,
        expression: "increase(\(runsTotal){status=~\"failed|refused\"}[2h]) > 0",
        summary: "A cleanup has ended as {{ $labels.status }}.",
        remedy: "Its error is in the last rows of \(runs.quoted): jam-retention status."
      ),
      // A deploy interrupts a run, too; the next one goes on with it.
      Alert(
        name: "RetentionCleanupInterrupted",
        severity: .warning,
        expression:
          "increase(\(runsTotal){status=\"interrupted\"}[2h]) > 0"
          + " unless ignoring (status) increase(\(runsTotal){status=~\"completed|partial\"}[2h]) > 0"
          + " unless ignoring (status) \(metricName("cleanup_running_seconds")) > 0",
        duration: "30m",
        summary: "A cleanup was interrupted, and none goes on with it.",
        remedy:
          "See whether the scheduler runs; what ended the run is in the last rows of \(runs.quoted): jam-retention status."
      ),
      Alert(
        name: "RetentionCleanupTakesLong",
        severity: .warning,
        expression: "\(metricName("cleanup_running_seconds")) > 12 * 3600",
        summary: "A cleanup has been running for {{ $value | humanizeDuration }}.",
        remedy:
          "Either its session is gone, then the next one goes on, or it works: see whether the batches of its row in \(runs.quoted) go up. max_duration in the policy limits it."
      ),
      Alert(
        name: "RetentionRefcountAnomaly",
        severity: .critical,
        expression: "increase(\(metricName("refcount_anomalies_total"))[1d]) > 0",
        summary: "A refcount would have gone below zero: counting was bypassed.",
        remedy: "Run jam-retention verify, then jam-retention repair. The hashes are in \(anomalies.quoted)."
      ),
      Alert(
        name: "RetentionTriggerDisabled",
        severity: .critical,
        expression: "\(metricName("counting_triggers_disabled")) > 0",
        duration: "1m",
        summary: "{{ $value }} counting triggers are missing, disabled or bypassed: references are not counted.",
        remedy:
          "Cleanups are refused meanwhile. jam-retention doctor names the triggers; enable them, then jam-retention repair."
      ),
      Alert(
        name: "RetentionLedgerBacklog",
        severity: .warning,
        expression:
          "\(metricName("reference_ledger_oldest_seconds")) > 2 * 86400 or \(metricName("reference_ledger_entries")) > 1000000"
          + " and deriv(\(metricName("reference_ledger_entries"))[6h]) > 0",
        duration: "15m",
        summary: "Reference changes wait for a fold for long, or become more and more.",
        remedy:
          "Call \(names.qualified("fold_references").quoted)() from a scheduler, and see what holds blob rows locked."
      ),
      Alert(
        name: "RetentionDeletionsStuck",
        severity: .warning,
        expression: "\(metricName("blob_deletions_oldest_seconds")) > 86400",
        duration: "15m",
        summary: "Objects have been waiting for their deletion for {{ $value | humanizeDuration }}.",
        remedy:
          "Run jam-retention sweep, and see what the object store answers: jam-retention doctor shows the last error."
      ),
      Alert(
        name: "RetentionCheckFailed",
        severity: .warning,
        expression: "\(health){check!~\"last success|triggers|ledger backlog|object deletions\"} == 0",
        duration: "15m",
        summary: "The check {{ $labels.check }} fails.",
        remedy: "jam-retention doctor, or the view \(names.qualified("health").quoted), says why and what to do."
      ),
      Alert(
        name: "RetentionMetricsMissing",
        severity: .warning,
        expression: "absent(\(metricName("policy_enabled")))",
        duration: "15m",
        summary: "Nobody tells the metrics of the retention.",
        remedy: "See whether the server, the textfile or the exporter that yields them is scraped."
      ),
    ]
  }
}
