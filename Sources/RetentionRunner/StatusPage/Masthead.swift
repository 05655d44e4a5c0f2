import SafeHTML

/// The head of the page: whether all is well, and the figures that one looks for first.
struct Masthead {
  let report: StatusReport

  private var failing: [HealthCheck] { report.checks.value?.filter { !$0.isHealthy } ?? [] }

  /// What the page says in short.
  var verdict: (title: String, form: String, text: String) {
    switch report.checks {
    case .tookTooLong: return ("Health unknown", "bad", "The health checks took too long.")
    case .failed: return ("Health unknown", "bad", "The health checks could not be asked.")
    case .found(let checks):
      guard !failing.isEmpty else {
        return ("Healthy", "good", "All \(Figure.count(checks.count, "health check")) pass.")
      }
      let named = failing.prefix(3).map(\.name).joined(separator: ", ")
      let others = failing.count > 3 ? " and \(failing.count - 3) more" : ""
      return (
        "Needs attention: \(named)\(others)", "bad",
        "\(failing.count) of \(Figure.count(checks.count, "health check")) \(failing.count.of("fails", plural: "fail"))."
      )
    }
  }

  var html: HTML {
    let (title, form, text) = verdict
    let facts = report.installation
    return """
      <header>
      <p class="place">jam-retention <span class="quiet">·</span> database \(Figure.name(facts.database)) \
      <span class="quiet">·</span> schema \(Figure.name(facts.objects.schema.name))</p>
      <h1 class="\(form)">\(title)</h1>
      <p class="lead">\(text) As of \(Figure.time(facts.generatedAt)) UTC.</p>
      <dl class="key">
      \(HTML.joined(keyFigures.map { "<div><dt>\($0.title)</dt><dd>\($0.value) <small>\($0.detail)</small></dd></div>\n" }))\
      </dl>
      </header>

      """
  }

  private var keyFigures: [(title: String, value: HTML, detail: HTML)] {
    var figures: [(title: String, value: HTML, detail: HTML)] = []
    if let storage = report.storage.value {
      let blobs = Figure.sum(storage.map(\.rows))
      figures.append(("Stored", Figure.bytes(Figure.sum(storage.map(\.bytes))), "in \(Figure.count(blobs, "blob"))"))
    }
    if let expiries = report.expiries.value {
      let rows = Figure.sum(expiries.filter(\.isClass).map(\.rows))
      figures.append(
        (
          report.setting("dry_run") == "t" ? "A real run would delete" : "Next run deletes", "\(Figure.count(rows))",
          "\(rows.of("row")), frees \(Figure.bytes(expiries.freedBytes))"
        )
      )
    }
    if let run = report.runs.value?.last.first {
      figures.append(("Last run", "\(run.status)", "\(report.age(of: run.startedAt))"))
    }
    if let sizes = report.backlog.value?.sizes {
      figures.append(
        (
          "Waiting in the ledger", "\(Figure.count(sizes.ledgerEntries))",
          "\(sizes.ledgerEntries.of("entry", plural: "entries"))"
        )
      )
    }
    return figures
  }
}
