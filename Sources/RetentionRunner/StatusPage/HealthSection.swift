import SafeHTML

/// What is wrong and what to do, then what is not wrong.
struct HealthSection: PageSection {
  static let id = "health"
  static let title = "Health"

  let report: StatusReport

  var content: HTML {
    answered(report.checks, orElse: "jam-retention doctor") { checks in
      """
      <ul class="checks">
      \(HTML.joined((checks.filter { !$0.isHealthy } + checks.filter(\.isHealthy)).map(item)))</ul>
      <p class="quiet">Not looked at here, because it reads every row: whether each count is right. \
      <code>jam-retention verify</code> tells.</p>

      """
    }
  }

  private func item(_ check: HealthCheck) -> HTML {
    let remedy: HTML = check.isHealthy ? "" : "<p class=\"remedy\"><b>Remedy.</b> \(check.remedy)</p>"
    return """
      <li class="\(check.isHealthy ? "good" : "bad")"><span class="mark">\(check.isHealthy ? "Pass" : "Fail")</span>\
      <div><b>\(Figure.name(check.name))</b> <span>\(check.detail)</span>\(remedy)</div></li>

      """
  }
}
