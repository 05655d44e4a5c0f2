import SafeSQL

/// One metric of `jam_metrics`: what the view yields, and what exporters, alert rules and dashboards are told of it.
struct Metric {
  enum Kind: String {
    case counter
    case gauge
  }

  /// A label and where its value comes from.
  struct Label {
    var name: String
    var value: SQL
    /// Whether the value comes from data and may be any text.
    var isFreeText = false
  }

  /// As Prometheus allows it: letters, digits and `_`.
  var name: String
  var kind: Kind
  var help: String
  var label: Label?
  /// An expression over a row of the source.
  var value: SQL
}

/// A query, and the metrics that each of its rows yields.
struct MetricSource {
  var from: SQL
  var metrics: [Metric]
}
