import Crypto
import Foundation
import SafeHTML

/// The status page: a report as one document for people. It works without a script, and needs nothing from elsewhere.
public struct StatusPage {
  let report: StatusReport

  /// Takes what the page shows.
  public init(_ report: StatusReport) {
    self.report = report
  }

  /// The headers of a response with the page, besides those that every response has.
  public static let headers: [(name: String, value: String)] = [
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", "\(policy); base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
  ]

  /// Nothing is loaded and nothing runs; the style sheet is allowed by its hash, as one that got in by mistake is not.
  private static let policy: String = {
    let hash = Data(SHA256.hash(data: Data(PageStyle.sheet.utf8))).base64EncodedString()
    return "default-src 'none'; style-src 'sha256-\(hash)'"
  }()

  private var sections: [any PageSection] {
    [
      HealthSection(report: report), StorageSection(report: report), NextRunSection(report: report),
      RunsSection(report: report), BlobsSection(report: report), BacklogSection(report: report),
      InstallationSection(report: report),
    ]
  }

  /// The document.
  public var html: HTML {
    let masthead = Masthead(report: report)
    return """
      <!DOCTYPE html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta http-equiv="Content-Security-Policy" content="\(Self.policy)">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <meta name="color-scheme" content="light dark">
      <meta name="robots" content="noindex">
      <title>\(masthead.verdict.title) · \(report.installation.database) · jam-retention</title>
      <style>\(raw: PageStyle.sheet)</style>
      </head>
      <body>
      \(masthead.html)\
      <main>
      \(HTML.joined(sections.map(\.html)))\
      </main>
      </body>
      </html>

      """
  }
}
