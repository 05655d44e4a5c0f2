import ArgumentParser
import RetentionRunner

struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Check the installation; exit 3 when a check fails.")
  @OptionGroup var options: DatabaseOptions

  func run() throws {
    let database = try options.session().database()
    let checks = try database.health().rows
    var isHealthy = true
    for check in checks {
      let ok = try check.bool("ok")
      isHealthy = isHealthy && ok
      print("\(ok ? "ok  " : "FAIL") \(try check.string("check_name")): \(try check.string("detail"))")
      if !ok { print("     \(try check.string("remedy"))") }
    }
    let drift = try database.verify().rows.count
    print("\(drift == 0 ? "ok  " : "FAIL") conservation law: \(drift) counts are wrong")
    if drift > 0 { print("     Run: jam-retention repair") }
    if !isHealthy || drift > 0 { throw ExitCode.findings }
  }
}
