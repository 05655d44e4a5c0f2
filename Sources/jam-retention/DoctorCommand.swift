import ArgumentParser
import RetentionRunner

struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Check the installation; exit 3 when a check fails."
  )
  @OptionGroup var options: Migrate.Options

  func run() throws {
    let session = try options.database.session()
    let database = try session.database()
    let checks = try Doctor(database: database, migrator: options.migrator(database, session)).checks()
    for check in checks {
      let line = "\(check.isHealthy ? "ok  " : "FAIL") \(check.name): \(check.detail)"
      session.format.show(
        check.isHealthy ? line : "\(line)\n     \(check.remedy)",
        json: [
          ("check", .string(check.name)), ("ok", .boolean(check.isHealthy)), ("detail", .string(check.detail)),
          ("remedy", .string(check.remedy)),
        ]
      )
    }
    if checks.contains(where: { !$0.isHealthy }) { throw ExitCode.findings }
  }
}
