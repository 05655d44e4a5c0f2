import ArgumentParser
import RetentionRunner

struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Check the installation; exit 3 when a check fails."
  )
  @OptionGroup var options: Migrate.Options

  func run() throws {
    let database = try options.database.database()
    let checks = try Doctor(database: database, migrator: options.migrator(on: database.connection)).checks()
    for check in checks {
      print("\(check.isHealthy ? "ok  " : "FAIL") \(check.name): \(check.detail)")
      if !check.isHealthy { print("     \(check.remedy)") }
    }
    if checks.contains(where: { !$0.isHealthy }) { throw ExitCode.findings }
  }
}
