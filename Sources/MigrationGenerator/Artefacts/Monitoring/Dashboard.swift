extension RetentionSchema {
  private struct Panel {
    enum Kind: String { case stat, timeseries }

    struct Query {
      var expression: String
      var legend = ""
    }

    var title: String
    var kind: Kind
    var unit: String
    var width: Int
    var queries: [Query]
    var description = ""
    /// From which value on it is yellow and red; none: no colours.
    var limits: (yellow: Int, red: Int)?
  }

  private static let columns = 24
  private static let height = 7

  /// `monitoring/dashboard.json`: a dashboard for Grafana, in its classic model.
  var dashboard: MigrationFile {
    var x = 0
    var y = 0
    let placed = panels.enumerated().map { index, panel -> String in
      if x + panel.width > Self.columns {
        x = 0
        y += Self.height
      }
      defer { x += panel.width }
      return json(of: panel, number: index + 1, x: x, y: y)
    }
    let text = """
      {
        "description": \("\(MigrationFile.mark) from the retention model. Change a copy, not this file.".quotedAsJSON),
        "uid": \(metricName("retention").quotedAsJSON),
        "title": \("Retention of \(blobs.plural)".quotedAsJSON),
        "tags": ["postgresql", "retention"],
        "schemaVersion": 36,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-7d", "to": "now"},
        "templating": {
          "list": [
            {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
            {
              "name": "instance",
              "label": "Instance",
              "type": "query",
              "datasource": {"type": "prometheus", "uid": "${datasource}"},
              "query": {"query": "label_values(\(metricName("policy_enabled")), instance)", "refId": "instance"},
              "refresh": 2,
              "sort": 1,
              "multi": true,
              "includeAll": true,
              "allValue": ".*"
            }
          ]
        },
        "panels": [
      \(placed.joined(separator: ",\n"))
        ]
      }

      """
    return MigrationFile(path: "monitoring/dashboard.json", text: text)
  }

  private func json(of panel: Panel, number: Int, x: Int, y: Int) -> String {
    let targets = panel.queries.enumerated().map { index, query in
      let letter = String(Character(Unicode.Scalar(UInt8(ascii: "A") + UInt8(index))))
      return """
                {"refId": "\(letter)", "expr": \(query.expression.quotedAsJSON), "legendFormat": \(query.legend.quotedAsJSON)}
        """
    }
    let steps =
      panel.limits.map { limits in
        """
        {"color": "green", "value": null}, {"color": "yellow", "value": \(limits.yellow)}, {"color": "red", "value": \(limits.red)}
        """
      } ?? #"{"color": "text", "value": null}"#
    let mode = panel.kind == .stat ? #"{"mode": "thresholds"}"# : #"{"mode": "palette-classic"}"#
    return """
          {
            "id": \(number),
            "title": \(panel.title.quotedAsJSON),
            "description": \(panel.description.quotedAsJSON),
            "type": "\(panel.kind.rawValue)",
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "gridPos": {"x": \(x), "y": \(y), "w": \(panel.width), "h": \(Self.height)},
            "fieldConfig": {
              "defaults": {
                "unit": "\(panel.unit)",
                "min": 0,
                "color": \(mode),
                "thresholds": {"mode": "absolute", "steps": [\(steps)]}
              },
              "overrides": []
            },
            "targets": [
      \(targets.joined(separator: ",\n"))
            ]
          }
      """
  }

  private var panels: [Panel] {
    /// A metric of the chosen instances.
    func of(_ name: String, _ labels: String = "") -> String {
      "\(metricName(name)){instance=~\"$instance\"\(labels.isEmpty ? "" : ", \(labels)")}"
    }
    func stat(_ title: String, _ expression: String, unit: String = "short", limits: (Int, Int)?, _ description: String)
      -> Panel
    {
      Panel(
        title: title,
        kind: .stat,
        unit: unit,
        width: 4,
        queries: [Panel.Query(expression: expression, legend: "{{instance}}")],
        description: description,
        limits: limits
      )
    }
    func graph(
      _ title: String,
      unit: String = "short",
      width: Int = 12,
      _ queries: [(String, String)],
      _ description: String = ""
    )
      -> Panel
    {
      Panel(
        title: title,
        kind: .timeseries,
        unit: unit,
        width: width,
        queries: queries.map { Panel.Query(expression: $0, legend: $1) },
        description: description
      )
    }
    let deleted = ([blobs.plural] + model.classes.reversed().map(\.name)).map {
      ("increase(\(of("cleanup_deleted_\($0)"))[1d])", $0)
    }
    return [
      stat(
        "Since the last success",
        "time() - (\(of("cleanup_last_success_timestamp_seconds")) > 0)",
        unit: "s",
        limits: (100_000, 172_800),
        "Time since the last completed cleanup; no value: there was none."
      ),
      stat(
        "Last duration",
        of("cleanup_last_duration_seconds"),
        unit: "s",
        limits: nil,
        "How long the last completed cleanup took."
      ),
      stat(
        "Running for",
        of("cleanup_running_seconds"),
        unit: "s",
        limits: (21_600, 43_200),
        "0: no cleanup is running."
      ),
      stat(
        "Disabled triggers",
        of("counting_triggers_disabled"),
        limits: (1, 1),
        "Counting triggers that are missing, disabled or bypassed."
      ),
      stat(
        "Anomalies in a week",
        "increase(\(of("refcount_anomalies_total"))[7d])",
        limits: (1, 1),
        "Refcounts that would have gone below zero: counting was bypassed."
      ),
      stat(
        "Failed checks",
        "count by (instance) (\(of("health_ok")) == 0) or sum by (instance) (0 * \(of("health_ok")))",
        limits: (1, 1),
        "Of the view \(names.qualified("health").quoted)."
      ),
      graph(
        "Bytes by storage class",
        unit: "bytes",
        [(of("\(blobs.plural)_bytes"), "{{storage_class}} {{instance}}")]
      ),
      graph("Blobs by storage class", [(of("\(blobs.plural)_rows"), "{{storage_class}} {{instance}}")]),
      graph("Rows deleted in a day", deleted.map { ($0, "\($1) {{instance}}") }),
      graph(
        "Bytes freed in a day",
        unit: "bytes",
        [("increase(\(of("cleanup_freed_bytes_total"))[1d])", "{{instance}}")]
      ),
      graph(
        "Runs in a day, by status",
        [("increase(\(of("cleanup_runs_total"))[1d])", "{{status}} {{instance}}")]
      ),
      graph(
        "Left for a later run in a day",
        [
          ("increase(\(of("cleanup_busy_rows_total"))[1d])", "rows {{instance}}"),
          ("increase(\(of("cleanup_busy_\(blobs.plural)_total"))[1d])", "\(blobs.plural) {{instance}}"),
        ],
        "Because another transaction was using them."
      ),
      graph(
        "Waiting references",
        [
          (of("reference_ledger_entries"), "ledger entries {{instance}}"),
          (of("unresolved_references"), "unresolved {{instance}}"),
        ],
        "Ledger entries wait for a fold, unresolved references for their blob."
      ),
      graph(
        "Waiting since",
        unit: "s",
        [
          (of("reference_ledger_oldest_seconds"), "ledger {{instance}}"),
          (of("blob_deletions_oldest_seconds"), "object deletions {{instance}}"),
        ]
      ),
      graph(
        "Objects",
        [
          (of("blob_deletions_pending"), "to be deleted {{instance}}"),
          (of("blob_uploads"), "being written {{instance}}"),
        ]
      ),
      graph(
        "Adjustments of refcount a second",
        unit: "ops",
        [("rate(\(of("\(blobs.singular)_refcount_adjust_total"))[5m])", "{{instance}}")]
      ),
      graph(
        "Archive",
        unit: "bytes",
        [(of("archive_bytes"), "{{data_class}} {{instance}}")],
        "What an undo can bring back; it is purged after the days that the policy says."
      ),
      graph(
        "Retention windows",
        unit: "s",
        [(of("policy_retention_seconds"), "{{data_class}} {{instance}}")],
        "As the policy says."
      ),
    ]
  }
}
