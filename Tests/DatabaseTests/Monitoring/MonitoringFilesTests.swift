import EmbeddedPostgres
import EmbeddedSeaweed
import Foundation
import MigrationGenerator
import Postgres
import RetentionModel
import SafeSQL
import TestSupport
import Testing
import Yams

/// What is generated into `sql/monitoring`.
@Suite struct MonitoringFilesTests {
  private static let root = URL(filePath: #filePath).appending(path: "../../../..").standardized

  private func text(_ path: String, of model: RetentionModel = .jam) throws -> String {
    try #require(MigrationGenerator.files(for: model).first { $0.path == "monitoring/\(path)" }).text
  }

  private func expressions(inDashboard text: String) throws -> [String] {
    let dashboard = try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    let panels = try #require(dashboard["panels"] as? [[String: Any]])
    return try panels.flatMap { panel in
      try #require(panel["targets"] as? [[String: Any]]).map { try #require($0["expr"] as? String) }
    }
  }

  private func expressions(inRules text: String) throws -> [String] {
    let file = try #require(Yams.load(yaml: text) as? [String: Any])
    let groups = try #require(file["groups"] as? [[String: Any]])
    return try groups.flatMap { try #require($0["rules"] as? [[String: Any]]) }.map {
      try #require($0["expr"] as? String)
    }
  }

  @Test(
    "promtool takes the alert rules, and each fires where it must and nowhere else",
    .enabled("promtool is not installed") { try Promtool.isInstalled() }
  )
  func alertRules() throws {
    let rules = try text("alerts.yml")
    let checked = try Promtool.check(rules: rules)
    #expect(checked.status == 0 && checked.output.contains("10 rules found"), "\(checked.error)")
    let tests = try String(contentsOf: Self.root.appending(path: "Tests/Monitoring/alerts.test.yml"), encoding: .utf8)
    for name in rules.matches(of: /- alert: (\w+)/).map(\.1) { #expect(tests.contains(name), "\(name) is not tested") }
    // The rules that are tested are those of the generator.
    let folder = try TemporaryFolder()
    try folder.write("alerts.yml", rules)
    let local = tests.replacing("../../sql/monitoring/", with: "")
    #expect(local != tests)
    let result = try Promtool.run("test", "rules", folder.write("alerts.test.yml", local))
    #expect(result.status == 0, "\(result.output)\(result.error)")
  }

  @Test("Rules, dashboard and exporters speak of metrics that the view yields", arguments: ["jam", "hostile"])
  func names(model name: String) throws {
    let model = name == "jam" ? RetentionModel.jam : HostileModelTests.model(.immediate)
    let prefix = name == "jam" ? "jam_" : "Pr_fix_"
    let database = try TestDatabase(model: model)
    _ = try database.migrate()
    let view = ObjectNames(model).qualified("metrics")
    let known = Set(try database.connection.query("SELECT name FROM \(view)").rows.map { try $0.string("name") })
    let all =
      try expressions(inRules: text("alerts.yml", of: model))
      + expressions(inDashboard: text("dashboard.json", of: model))
    let metric = try Regex("\\b\(prefix)\\w+")
    #expect(all.count > 25)
    for expression in all {
      let used = expression.matches(of: metric).map { String(expression[$0.range]) }
      #expect(!used.isEmpty && known.isSuperset(of: used), "\(expression)")
    }
    let collector = try SQLExporterCollector(text("sql_exporter.collector.yml", of: model))
    #expect(Set(collector.metrics.map(\.metric_name)) == known)
    for query in collector.queries { #expect(try !database.connection.query("\(raw: query.query)").rows.isEmpty) }
    if try Promtool.isInstalled() {
      let dashboard = try expressions(inDashboard: text("dashboard.json", of: model)).enumerated().map {
        number,
        expression in
        "      - record: panel_\(number)\n        expr: '\(expression)'\n"
      }
      let rules = "groups:\n  - name: dashboard\n    rules:\n\(dashboard.joined())"
      #expect(try Promtool.check(rules: rules).status == 0)
      #expect(try Promtool.check(rules: text("alerts.yml", of: model)).status == 0)
    }
  }

  @Test("The panels of the dashboard stand side by side, none over another")
  func layout() throws {
    let dashboard = try #require(
      JSONSerialization.jsonObject(with: Data(text("dashboard.json").utf8)) as? [String: Any]
    )
    let panels = try #require(dashboard["panels"] as? [[String: Any]])
    var taken: Set<[Int]> = []
    for panel in panels {
      let place = try #require(panel["gridPos"] as? [String: Int])
      let (x, y, width, height) = try (
        #require(place["x"]), #require(place["y"]), #require(place["w"]), #require(place["h"])
      )
      #expect(x >= 0 && x + width <= 24)
      for column in x..<x + width {
        for row in y..<y + height { #expect(taken.insert([column, row]).inserted, "\(panel["title"] ?? "")") }
      }
    }
    #expect(taken.count == 24 * (1 + (taken.map { $0[1] }.max() ?? 0)), "there are gaps")
    #expect(Set(panels.map { $0["id"] as? Int }).count == panels.count)
  }

  /// A database in which figures differ from each other.
  private func filled() throws -> TestDatabase {
    let database = try TestDatabase()
    _ = try database.migrate()
    for number in 1...3 { try database.put(hash(number), age: "60 days") }
    try database.submit([hash(1), hash(7), hash(8)], age: "50 days")
    try database.submit([hash(2), hash(8)])
    _ = try database.retention.cleanup()
    try database.connection.execute(
      "UPDATE jam_preimages SET storage_class = 'glacier'; UPDATE jam_retention_policy SET reports_retention_days = 9"
    )
    try database.put(hash(9))
    return database
  }

  /// The view's samples by name and labels, without those that go with the clock.
  private func samples(_ database: TestDatabase) throws -> [String: Double] {
    let rows = try database.connection.query(
      "SELECT name, labels, value FROM jam_metrics WHERE name NOT LIKE '%oldest%'"
    ).rows
    return try Dictionary(
      uniqueKeysWithValues: rows.map { row in
        (try "\(row.string("name")){\(row.string("labels"))}", try row.double("value"))
      }
    )
  }

  @Test("The queries for sql_exporter yield what the view yields, each in one query")
  func sqlExporter() throws {
    let database = try filled()
    let collector = try SQLExporterCollector(text("sql_exporter.collector.yml"))
    var found: [String: Double] = [:]
    let results = try Dictionary(
      uniqueKeysWithValues: collector.queries.map { ($0.query_name, try database.connection.query("\(raw: $0.query)")) }
    )
    for metric in collector.metrics where !metric.metric_name.contains("oldest") {
      for row in try #require(results[metric.query_ref]).rows {
        let labels = try (metric.key_labels ?? []).map { "\($0)=\"\(try row.string($0))\"" }
        #expect(metric.values.count == 1)
        found["\(metric.metric_name){\(labels.joined(separator: ","))}"] = try row.double(metric.values[0])
      }
    }
    #expect(try found == samples(database))
    let types = try database.connection.query("SELECT DISTINCT name, type, help FROM jam_metrics").rows
    for row in types {
      let metric = try #require(collector.metrics.first { $0.metric_name == row["name"] })
      #expect(metric.type == row["type"] && metric.help == row["help"])
    }
  }

  private func contents(of file: String) -> String { (try? String(contentsOfFile: file, encoding: .utf8)) ?? "" }

  @Test(
    "postgres_exporter yields what the view yields",
    .enabled("prometheus-postgres-exporter is not installed") {
      try DebianProgram.locate("prometheus-postgres-exporter") != nil
    }
  )
  func postgresExporter() throws {
    let database = try filled()
    let folder = try TemporaryFolder()
    let queries = try folder.write("queries.yml", text("postgres_exporter.yml"))
    let port = try #require(FreePorts.find(1).first)
    let log = "\(folder.path)/log"
    let file = open(log, O_WRONLY | O_CREAT, 0o600)
    defer { close(file) }
    let exporter = try ChildProcess.start(
      [
        "env", "DATA_SOURCE_NAME=\(database.connectionString)",
        try #require(try DebianProgram.locate("prometheus-postgres-exporter")), "--disable-default-metrics",
        "--disable-settings-metrics", "--extend.query-path=\(queries)",
        "--web.listen-address=127.0.0.1:\(port)",
      ],
      directory: "/",
      output: file,
      error: file
    )
    defer {
      exporter.send(SIGKILL)
      _ = exporter.wait(until: .distantFuture)
    }
    var page = ""
    while page.isEmpty {
      try #require(exporter.identifier != nil, "\(contents(of: log))")
      page = try ChildProcess.run(["curl", "--silent", "http://127.0.0.1:\(port)/metrics"]).output
    }
    var found: [String: Double] = [:]
    for line in page.split(separator: "\n") where line.hasPrefix("jam_") && !line.contains("oldest") {
      let sample = try #require(line.wholeMatch(of: /(\w+)\{(.*)\} (\S+)/), "\(line)")
      // The exporter's own labels.
      let labels = sample.2.split(separator: ",").filter { !$0.hasPrefix("server=") && !$0.hasPrefix("datname=") }
      found["\(sample.1){\(labels.joined(separator: ","))}"] = Double(sample.3)
    }
    #expect(try found == samples(database), "\(contents(of: log))")
    for line in ["# TYPE jam_cleanup_runs_total counter", "# TYPE jam_health_ok gauge"] { #expect(page.contains(line)) }
  }
}
