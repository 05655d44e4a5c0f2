import SafeSQL

extension RetentionSchema {
  /// The metrics that have no label; one look at the view yields all of them.
  private var plainMetrics: [Metric] { metrics.filter { $0.label == nil } }

  /// One row with a column for each of some metrics without a label.
  ///
  /// - Parameter column: what a metric's column is named.
  private func row(of metrics: [Metric], column: (Metric) -> String) -> SQL {
    let columns = metrics.map { metric -> SQL in
      "max(m.value) FILTER (WHERE m.name = \(literal: metric.name)) AS \(Identifier(column(metric)))"
    }
    return """
      SELECT
        \(SQL.joined(columns))
      FROM \(names.qualified("metrics")) AS m
      """
  }

  /// The rows of a source whose metrics have a label: that, and a column for each. Not from the view, which would compute
  /// all other metrics too.
  private func rows(of source: MetricSource, column: (Metric) -> String) -> SQL {
    let label = source.metrics.first?.label
    let columns = source.metrics.map { metric -> SQL in
      "(\(metric.value))::double precision AS \(Identifier(column(metric)))"
    }
    return """
      SELECT \(label?.value ?? "") AS \(Identifier(label?.name ?? "")),
        \(SQL.joined(columns))
      FROM \(source.from)
      """
  }

  private var labelledSources: [MetricSource] { metricSources.filter { $0.metrics.contains { $0.label != nil } } }

  private func yaml(block: SQL, indentation: Int) -> String {
    block.text.split(separator: "\n", omittingEmptySubsequences: false)
      .map { $0.isEmpty ? "\n" : String(repeating: " ", count: indentation) + $0 + "\n" }.joined()
  }

  /// `monitoring/sql_exporter.collector.yml`, for github.com/burningalchemist/sql_exporter.
  var sqlExporterCollector: MigrationFile {
    func entry(_ metric: Metric, query: String) -> String {
      """
        - metric_name: \(metric.name)
          type: \(metric.kind.rawValue)
          help: \(metric.help.quotedAsJSON)
      \(metric.label.map { "    key_labels: [\($0.name)]\n" } ?? "")\
          values: [\(metric.name)]
          query_ref: \(query)

      """
    }
    let name = metricName("retention")
    let sources = labelledSources.enumerated().map { (name: "\(name)_\($0 + 1)", source: $1) }
    let entries =
      plainMetrics.map { entry($0, query: name) }
      + sources.flatMap { query, source in source.metrics.map { entry($0, query: query) } }
    let queries =
      [(name, row(of: plainMetrics, column: \.name))] + sources.map { ($0, rows(of: $1, column: \.name)) }
    let text =
      yamlHeader([
        "A collector for sql_exporter (github.com/burningalchemist/sql_exporter): name it in collector_files. Its role needs what",
        "\(names.identifier("reader").quoted) may do.",
      ])
      + "collector_name: \(name)\nmetrics:\n" + entries.joined() + "queries:\n"
      + queries.map { "  - query_name: \($0)\n    query: |\n\(yaml(block: $1, indentation: 6))" }.joined()
    return MigrationFile(path: "monitoring/sql_exporter.collector.yml", text: text)
  }

  /// `monitoring/postgres_exporter.yml`, for the exporter of github.com/prometheus-community/postgres_exporter.
  ///
  /// It names a metric after the query and the column, with `_` between them.
  var postgresExporterQueries: MigrationFile {
    /// Cuts a name behind the `_` that `isLast` tells: the query's part and the column's.
    func cut(_ name: String, atLast isLast: Bool) -> (query: String, column: String) {
      let places = name.indices.dropFirst().dropLast().filter { name[$0] == "_" }
      guard let place = isLast ? places.last : places.first else {
        preconditionFailure("the name of metric \(name) has no _ inside")
      }
      return (String(name[..<place]), String(name[name.index(after: place)...]))
    }
    func entry(_ query: String, _ sql: SQL, label: Metric.Label?, _ metrics: [(column: String, metric: Metric)])
      -> String
    {
      let columns =
        (label.map { [($0.name, "LABEL", "What the values tell of.")] } ?? [])
        + metrics.map { ($0.column, $0.metric.kind.rawValue.uppercased(), $0.metric.help) }
      return "\(query):\n  query: |\n\(yaml(block: sql, indentation: 4))  metrics:\n"
        + columns.map {
          "    - \($0):\n        usage: \($1.quotedAsJSON)\n        description: \($2.quotedAsJSON)\n"
        }.joined()
    }
    let prefixes = plainMetrics.map { cut($0.name, atLast: false).query }
    let plain = prefixes.indices.filter { prefixes.firstIndex(of: prefixes[$0]) == $0 }.map { index -> String in
      let metrics = plainMetrics.filter { cut($0.name, atLast: false).query == prefixes[index] }
      let sql = row(of: metrics) { cut($0.name, atLast: false).column }
      return entry(prefixes[index], sql, label: nil, metrics.map { (cut($0.name, atLast: false).column, $0) })
    }
    let labelled = labelledSources.map { source in
      let sql = rows(of: source) { cut($0.name, atLast: true).column }
      return entry(
        source.metrics.first.map { cut($0.name, atLast: true).query } ?? "",
        sql,
        label: source.metrics.first?.label,
        source.metrics.map { (cut($0.name, atLast: true).column, $0) }
      )
    }
    let text =
      yamlHeader([
        "Queries for postgres_exporter (github.com/prometheus-community/postgres_exporter): --extend.query-path. Its role needs",
        "what \(names.identifier("reader").quoted) may do, and its connection the database that has the retention.",
      ]) + (plain + labelled).joined()
    return MigrationFile(path: "monitoring/postgres_exporter.yml", text: text)
  }
}
