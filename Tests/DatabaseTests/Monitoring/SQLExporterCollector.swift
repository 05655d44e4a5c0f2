import Testing
import Yams

/// A collector file of sql_exporter, read as that reads it.
struct SQLExporterCollector: Decodable {
  struct Metric: Decodable {
    var metric_name: String
    var type: String
    var help: String
    var key_labels: [String]?
    var values: [String]
    var query_ref: String
  }

  struct Query: Decodable {
    var query_name: String
    var query: String
  }

  var collector_name: String
  var metrics: [Metric]
  var queries: [Query]

  init(_ text: String) throws {
    self = try YAMLDecoder().decode(Self.self, from: text)
  }
}
