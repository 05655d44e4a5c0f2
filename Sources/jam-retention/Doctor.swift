import ArgumentParser
import RetentionRunner

struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Check the installation; exit 3 when a check fails.")
  @OptionGroup var options: DatabaseOptions

  func run() throws {
    let session = try options.session()
    let database = try session.database()
    var isHealthy = true
    func show(_ name: String, _ ok: Bool, _ detail: String, _ remedy: String) {
      isHealthy = isHealthy && ok
      let line = "\(ok ? "ok  " : "FAIL") \(name): \(detail)"
      session.format.show(
        ok ? line : "\(line)\n     \(remedy)",
        json: [
          ("check", .string(name)), ("ok", .boolean(ok)), ("detail", .string(detail)), ("remedy", .string(remedy)),
        ]
      )
    }
    for check in try database.health().rows {
      show(
        try check.string("check_name"),
        try check.bool("ok"),
        try check.string("detail"),
        try check.string("remedy")
      )
    }
    let drift = try database.verify().rows.count
    show("conservation law", drift == 0, "\(drift) counts are wrong", "Run: jam-retention repair")
    if !isHealthy { throw ExitCode.findings }
  }
}
